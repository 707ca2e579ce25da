"""Returns of chains beside HASAC's: the picture and figures of docs/details/soft_diffusion.md.

    python tests/benchmark/soft.py [RUNS]

``RUNS`` holds one folder for each run of the commands on that page, called ``TASK_SEED``. What their evaluations gave
goes into docs/data/soft_diffusion.csv, where other runs stay; the picture, docs/img/soft_returns.png, and the lines
that are printed are made from that file alone. HASAC's curves are not kept: a line is its mean of the last five.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from hetrl.report.curve import Curve, draw_panels, from_run

DOCS = Path(__file__).parents[2] / "docs"
TABLE = DOCS / "data" / "soft_diffusion.csv"
COLUMNS = ("task", "seed", "frames", "return")
HASAC = {
    "balance": (34.0, 36.1, 28.9, 36.7, 36.6),
    "gate": (2.00, 2.00, 1.99),
    "scout_and_carry": (1.92, 1.90, 1.96, 1.97, 1.99),
    "relay": (0.86, 0.79, 0.77),
    "navigation": (0.81, 0.89, 0.83),
}
"""Task -> HASAC's mean of the last five evaluations, each seed's: docs/results.md and docs/details/haqo_runs.md; seeds
3 and 4 by the commands of docs/details/soft_diffusion.md."""
LAST = 5


def kept():
    """Return the rows of the table."""
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8") as file:
        return [(row["task"], *(float(row[name]) for name in COLUMNS[1:])) for row in csv.DictReader(file)]


def measured(run):
    """Return the evaluations of a run."""
    task, seed = run.name.rsplit("_", 1)
    return [
        (task, int(seed), int(frames), round(float(value), 4))
        for frames, value in zip(*from_run(run, "eval/return"), strict=True)
    ]


def main():
    """Take up what runs there are, draw, and print where each ended."""
    rows = kept()
    for run in sorted(Path(sys.argv[1]).iterdir()) if len(sys.argv) > 1 else []:
        own = measured(run)
        rows = [row for row in rows if row[:2] != own[0][:2]] + own
    rows = sorted((task, int(seed), int(frames), value) for task, seed, frames, value in rows)
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    panels = {}
    for task, theirs in HASAC.items():
        seeds = sorted({row[1] for row in rows if row[0] == task})
        series = [np.array([row[2:] for row in rows if row[:2] == (task, seed)]).T for seed in seeds]
        if series:
            ends = series[0][0][[-LAST, -1]]
            panels[task] = [
                Curve("chain_hasac", series),
                Curve("hasac, where it ended", [(ends, np.full(2, value)) for value in theirs], recipe="hasac"),
            ]
            last = [each[1][-LAST:].mean() for each in series]
            print(f"{task}: {np.mean(last):.2f} ({', '.join(f'{value:.2f}' for value in last)}), seeds {seeds}")
    print(draw_panels(panels, DOCS / "img" / "soft_returns.png", ylabel="evaluation return, deterministic"))


if __name__ == "__main__":
    main()
