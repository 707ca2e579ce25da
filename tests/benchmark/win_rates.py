"""Win rates of battles in docs/battles.md, from run folders or from the table that is kept.

    python tests/benchmark/win_rates.py [RUNS]

``RUNS`` holds folders called ``RECIPE_MAP_SEED``, such as ``qmix_2s3z_0``; the shares of battles that their evaluations
won are written into docs/data/battles.csv, where those of other runs stay. The picture, docs/img/battles.png, and the
table that is printed are made from that file alone.
"""

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hetrl.report.curve import Curve, draw_panels, from_run

DOCS = Path(__file__).parents[2] / "docs"
TABLE = DOCS / "data" / "battles.csv"
METRIC = "eval/info/won"
COLUMNS = ("recipe", "map", "seed", "frames", "won")
MAPS = ("3m", "2s3z", "3s5z")
RECIPES = ("mappo", "happo", "qmix", "vdn", "hasac", "omdpg")
"""In the order in which they are drawn; others come behind."""
LAST = 3
"""Evaluations at the end of a run over which the printed rate is averaged."""
Row = tuple[str, str, int, int, float]


def kept() -> list[Row]:
    """Return the rows of the table."""
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8") as file:
        return [
            (row["recipe"], row["map"], int(row["seed"]), int(row["frames"]), float(row["won"]))
            for row in csv.DictReader(file)
        ]


def measured(run: Path) -> Iterator[Row]:
    """Yield the evaluations of a run."""
    recipe, battle, seed = run.name.rsplit("_", 2)
    for frames, won in zip(*from_run(run, METRIC), strict=True):
        yield recipe, battle, int(seed), int(frames), round(float(won), 4)


def place(row: Row) -> tuple[int, int, Row]:
    """Return what sorts rows as they are drawn."""
    recipe, battle = row[:2]
    return [*MAPS, battle].index(battle), [*RECIPES, recipe].index(recipe), row


def main() -> None:
    """Take up what runs there are, draw, and print."""
    rows = kept()
    for run in sorted(Path(sys.argv[1]).iterdir()) if len(sys.argv) > 1 else []:
        if (run / "metrics.csv").exists():
            own = list(measured(run))
            rows = [row for row in rows if not own or row[:3] != own[0][:3]] + own
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *sorted(rows)])
    found: dict[str, dict[str, dict[int, list[tuple[int, float]]]]] = defaultdict(lambda: defaultdict(dict))
    for recipe, battle, seed, frames, won in sorted(rows, key=place):
        found[battle][recipe].setdefault(seed, []).append((frames, won))
    panels = {}
    for battle, recipes in found.items():
        panels[battle] = [
            Curve(recipe, [(np.array(points, dtype=float)[:, 0], np.array(points)[:, 1]) for points in seeds.values()])
            for recipe, seeds in recipes.items()
        ]
        for recipe, seeds in recipes.items():
            rates = [float(np.mean([won for _, won in points[-LAST:]])) for points in seeds.values()]
            frames = min(points[-1][0] for points in seeds.values())
            print(f"| `{recipe}` | {battle} | {frames:,} | {', '.join(f'{rate:.2f}' for rate in rates)} |")
    print(draw_panels(panels, DOCS / "img" / "battles.png", ylabel="battles won", ylim=(-0.03, 1.03)))


if __name__ == "__main__":
    main()
