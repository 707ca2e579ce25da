"""The picture of docs/details/recurrent.md, from run folders.

    python tests/benchmark/memory.py RUNS docs/img

``RUNS`` holds one folder for each run of the commands on that page, named ``{recurrent,chunk1,forward}_cue_{0,1,2}``.
"""

import sys
from pathlib import Path

import numpy as np

from hetrl.report.curve import Curve, draw_panels, from_run

ARMS = {
    "recurrent": "recurrent, chunks of 20 steps",
    "chunk1": "recurrent, chunks of 1 step",
    "forward": "feed-forward",
}


def main() -> None:
    """Draw it, and print where the runs ended."""
    runs, folder = Path(sys.argv[1]), Path(sys.argv[2])
    curves = [
        Curve(name, [from_run(run, "eval/return") for run in sorted(runs.glob(f"{arm}_cue_[0-9]"))])
        for arm, name in ARMS.items()
    ]
    title = "3 cues, answered 10 steps later; chance is 1/3"
    draw_panels({title: curves}, folder / "recurrent.png", ylabel="evaluation return, deterministic")
    for curve in curves:
        last = [values[-5:].mean() for _, values in curve.series]
        print(f"{curve.name}: last five points {np.mean(last):.3g}, seeds {np.round(last, 3).tolist()}")


if __name__ == "__main__":
    main()
