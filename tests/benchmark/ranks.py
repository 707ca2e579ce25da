"""What a batch costs on one process and on two that share its environments: processor time of each process.

    python tests/benchmark/ranks.py ["RECIPE [key=value ...]" ...]

Recipes as they are shipped, or with the words that follow one, without evaluations. A process that has imported
everything forks the one, and then the two; the batches after the first few count. Medians, in milliseconds of the
processor, simulator and all.
"""

import json
import logging
import os
import socket
import sys
import time
import warnings
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import lightning as L
import torch

import hetrl

RECIPES = ("happo", "mappo", "hatrpo", "hasac", "happo task.n_envs=512 data.frames=51200")
_WARM, _BATCHES = 2, {"hasac": 300}
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


class Clock(L.Callback):
    """Notes the processor time at which each batch ends."""

    def __init__(self):
        self.at = []

    def on_train_batch_end(self, *given):
        """Note it."""
        self.at.append((time.process_time(), time.perf_counter()))


def train(recipe, n_ranks):
    """Return the processor and the wall time of a batch, in milliseconds."""
    name, *words = recipe.split()
    n_batches = _BATCHES.get(name, 8)
    module, data = hetrl.build(
        hetrl.load(name, *words, "run.eval_every=null", "run.device=cpu", f"run.devices={n_ranks}")
    )
    clock = Clock()
    strategy = "ddp" if n_ranks > 1 else "auto"
    trainer = L.Trainer(max_epochs=-1, accelerator="cpu", devices=n_ranks, strategy=strategy, callbacks=[clock],
                        limit_train_batches=n_batches + _WARM, **QUIET)  # fmt: skip
    trainer.fit(module, data)
    spans = [
        [1e3 * (b - a) for a, b in zip(one, other, strict=True)]
        for one, other in zip(clock.at[_WARM:], clock.at[_WARM + 1 :], strict=False)
    ]
    return [median(each) for each in zip(*spans, strict=True)]


def forked(recipe, number, n_ranks, port, file):
    """Train in another process; what it took is left in a file."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if n_ranks > 1:
            os.environ |= {"LOCAL_RANK": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        file.write_text(json.dumps(train(recipe, n_ranks)))
        code = 0
    finally:
        os._exit(code)


def main():
    """Measure, and print a row for each recipe."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    print("| recipe | one process ms | each of two ms | ratio | on the clock |\n|---|---|---|---|---|")
    for recipe in sys.argv[1:] or RECIPES:
        found = {}
        with TemporaryDirectory() as folder:
            for n_ranks in (1, 2):
                files = [Path(folder) / f"{n_ranks}-{number}" for number in range(n_ranks)]
                pids = [forked(recipe, number, n_ranks, port, file) for number, file in enumerate(files)]
                for pid in pids:
                    os.waitpid(pid, 0)
                each = [json.loads(file.read_text()) for file in files]
                found[n_ranks] = [sum(values) / n_ranks for values in zip(*each, strict=True)]
        (one, wall), (two, wall_two) = found[1], found[2]
        print(f"| {recipe} | {one:.3g} | {two:.3g} | {two / one:.2f} | {wall_two / wall:.2f} |", flush=True)


if __name__ == "__main__":
    main()
