"""Teams of 128 that learn: the picture and the figures of docs/large_teams.md, from run folders or the kept table.

    python tests/benchmark/crowd.py [RUNS]

``RUNS`` holds one folder for each run of the commands on that page, called ``ARM_SEED``, such as ``happo_own_0``. What
their evaluations gave goes into docs/data/crowd.csv, where other runs stay; the picture, docs/img/crowd.png, and the
lines that are printed are made from that file alone.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from hetrl.report.curve import Curve, draw, from_run

DOCS = Path(__file__).parents[2] / "docs"
TABLE = DOCS / "data" / "crowd.csv"
COLUMNS = ("arm", "seed", "frames", "return")
ARMS = {
    "happo_own": "HAPPO, everybody's own advantage",
    "hasac": "HASAC, mean-field critic",
    "omdpg": "OMDPG, mean-field critic",
}


def kept():
    """Return the rows of the table."""
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8") as file:
        return [
            (row["arm"], int(row["seed"]), int(row["frames"]), float(row["return"])) for row in csv.DictReader(file)
        ]


def measured(run):
    """Return the evaluations of a run: the mean of the agents' own returns, whatever the team's reward is."""
    arm, seed = run.name.rsplit("_", 1)
    each = [from_run(run, f"eval/return/agent_{place}") for place in range(128)]
    means = np.mean([values for _, values in each], 0)
    return [
        (arm, int(seed), int(frames), round(float(mean), 4)) for frames, mean in zip(each[0][0], means, strict=True)
    ]


def main():
    """Take up what runs there are, draw, and print where each ended."""
    rows = kept()
    for run in sorted(Path(sys.argv[1]).iterdir()) if len(sys.argv) > 1 else []:
        own = measured(run)
        rows = [row for row in rows if row[:2] != own[0][:2]] + own
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *sorted(rows)])
    curves = []
    for arm, name in ARMS.items():
        seeds = sorted({row[1] for row in rows if row[0] == arm})
        series = [np.array([row[2:] for row in sorted(rows) if row[:2] == (arm, seed)]).T for seed in seeds]
        if series:
            curves.append(Curve(name, [tuple(each) for each in series], recipe=arm.split("_")[0]))
            print(name, ", ".join(f"{each[1][0]:.2f} -> {each[1][-1]:.2f} at {each[0][-1]:,.0f}" for each in series))
    draw(curves, DOCS / "img" / "crowd.png", ylabel="evaluation return, mean of 128 agents")


if __name__ == "__main__":
    main()
