"""Two arms and one choice, learned: the picture and figures of docs/environments/fork.md.

    python tests/benchmark/fork.py [RUNS]

``RUNS`` holds one folder for each run of the commands on that page, called ``RECIPE_VARIANT_SEED``. What their
evaluations gave goes into docs/data/fork.csv, where other runs stay; the picture, docs/img/fork.png, and the lines that
are printed are made from that file alone. Of the runs themselves it is also printed where their first rudders lead.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import torch

from hetrl.report.curve import Curve, draw_panels, from_run
from hetrl.runs.restored import restored

DOCS = Path(__file__).parents[2] / "docs"
TABLE = DOCS / "data" / "fork.csv"
COLUMNS = ("recipe", "variant", "seed", "frames", "drawn_return")
VARIANTS = {
    "team": "one network for both",
    "choices3": "one network, three choices",
    "agent": "a network for each",
    "together": "one network, the same arm is paid",
}
RECIPES = ("chain_hasac", "hasac")
BEST = {"team": {"the best Gaussian": 0.1416, "the best": 0.5}}
"""Variant that is drawn -> what policies can earn: tests/env/scenario/test_fork.py."""
LAST = 5
PLACES = {"lower arm": (-0.85, -0.35), "bow": (-0.35, 0.35), "upper arm": (0.35, 0.85)}
"""Where a rudder leads with one choice -> from which to which; the banks take the others."""


@torch.no_grad()
def shares(run, count=20_000):
    """Return the share of each boat's first rudders that leads to each place."""
    _, linked, env = restored(run)
    generator, seen = torch.Generator().manual_seed(0), env.start()["agents"][:1].expand(count, -1, -1)
    found = {}
    for boat in linked.team.agents:
        policy = linked.policy((boat,))
        rudder = policy.draw(seen[:, boat.index], policy.noise((count,), generator)).squeeze(-1)
        inside = {place: ((rudder > low) & (rudder < high)).float().mean() for place, (low, high) in PLACES.items()}
        inside["banks"] = 1 - sum(inside.values())
        found[boat.name] = ", ".join(f"{place} {share:.2f}" for place, share in inside.items())
    return found


def kept():
    """Return the rows of the table."""
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [(row["recipe"], row["variant"], int(row["seed"]), int(row["frames"]), float(row["drawn_return"]))
            for row in rows]  # fmt: skip


def measured(run):
    """Return the evaluations of a run, of drawn actions."""
    recipe, variant, seed = run.name.rsplit("_", 2)
    return [
        (recipe, variant, int(seed), int(frames), round(float(value), 4))
        for frames, value in zip(*from_run(run, "eval/drawn_return"), strict=True)
    ]


def main():
    """Take up what runs there are, draw, and print where each ended."""
    rows = kept()
    for run in sorted(Path(sys.argv[1]).iterdir()) if len(sys.argv) > 1 else []:
        own = measured(run)
        rows = [row for row in rows if row[:3] != own[0][:3]] + own
        if own[0][1] != "choices3":  # there a first rudder is not the last word
            print(run.name, shares(run))
    rows.sort()
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    panels = {}
    for variant, title in VARIANTS.items():
        curves = []
        for recipe in RECIPES:
            seeds = sorted({row[2] for row in rows if row[:2] == (recipe, variant)})
            series = [np.array([row[3:] for row in rows if row[:3] == (recipe, variant, seed)]).T for seed in seeds]
            if series:
                curves.append(Curve(recipe, series, recipe=recipe))
                last = [each[1][-LAST:].mean() for each in series]
                print(f"{title}, {recipe}: {', '.join(f'{value:.2f}' for value in last)}, seeds {seeds}")
        if curves and variant in BEST:
            ends = curves[0].series[0][0][[0, -1]]
            lines = [
                Curve(name, [(ends, np.full(2, value))] * len(curves[0].series))
                for name, value in BEST[variant].items()
            ]
            panels[title] = [*curves, *lines]
    print(draw_panels(panels, DOCS / "img" / "fork.png", ylabel="share of episodes paid, drawn actions"))


if __name__ == "__main__":
    main()
