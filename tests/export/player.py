"""Plays an exported folder in a process that can import neither torch nor hetrl.

    python tests/export/player.py FOLDER

It reads pickled triples from its input (what agents see, their masks, whose episode has ended) and answers each with
what they do.
"""

import pickle
import sys
from pathlib import Path

KEPT_OUT = ("torch", "hetrl", "tensordict", "torchrl", "lightning", "onnx", "onnxscript")


class Refuse:
    """Finds none of the packages that are not needed."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in KEPT_OUT:
            raise ImportError(f"{name} is not here")


def main() -> None:
    sys.meta_path.insert(0, Refuse())
    sys.path.insert(0, str(Path(sys.argv[1]).resolve()))
    from play import Players

    team = Players()
    with sys.stdin.buffer as asked, sys.stdout.buffer as answered:
        while True:
            try:
                seen, masks, ended = pickle.load(asked)
            except EOFError:
                return
            if ended is not None:
                team.reset(ended)
            pickle.dump({name: team[name](own, masks.get(name)) for name, own in seen.items()}, answered)
            answered.flush()


if __name__ == "__main__":
    main()
