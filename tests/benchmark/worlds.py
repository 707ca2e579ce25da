"""Curves of the environments of others in docs/worlds.md, from run folders or from the tables that are kept.

    python tests/benchmark/worlds.py [RUNS]

``RUNS`` holds a folder for each world, called as below; its returns are written into docs/data/worlds.csv, where those
of the other worlds stay. The picture, docs/img/worlds.png, is drawn from that table alone.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hetrl.report.curve import Curve, draw_panels, from_run

DOCS = Path(__file__).parents[2] / "docs"
TABLE = DOCS / "data" / "worlds.csv"
WORLDS = {
    "multiwalker": "multiwalker: HASAC",
    "pursuit": "pursuit: HAPPO",
    "zombies": "knights, archers, zombies: HAPPO",
    "foraging": "level-based foraging: HAPPO",
    "warehouse": "multi-robot warehouse: HAPPO",
    "pistonball": "pistonball, from images: HAPPO",
}
"""Folder -> what is above its picture."""
METRICS = {"return": "drawn, while training", "eval/return": "deterministic"}
POINTS = 100
"""Batches are averaged to about so many points of a curve."""


def thinned(frames: np.ndarray, values: np.ndarray) -> Iterator[tuple[float, float]]:
    """Yield means over as many neighbouring batches as leave :data:`POINTS`."""
    parts = min(POINTS, len(frames))
    for some, their in zip(np.array_split(frames, parts), np.array_split(values, parts), strict=True):
        yield float(some[-1]), float(their.mean())


def read() -> list[tuple[str, str, float, float]]:
    """Return the rows of the table: world, metric, frames, return."""
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8") as file:
        return [
            (row["world"], row["metric"], float(row["frames"]), float(row["value"])) for row in csv.DictReader(file)
        ]


def measured(run: Path) -> Iterator[tuple[str, str, float, float]]:
    """Yield the rows of a run."""
    for metric in METRICS:
        try:
            frames, values = from_run(run, metric)
        except Exception as error:  # a run without evaluations
            print(f"{run}: {error}")
            continue
        points = thinned(frames, values) if metric == "return" else zip(frames, values, strict=True)
        yield from ((run.name, metric, float(at), float(value)) for at, value in points)


def main() -> None:
    """Take up what runs there are, and draw."""
    rows = read()
    for run in [Path(sys.argv[1]) / world for world in WORLDS] if len(sys.argv) > 1 else []:
        if (run / "metrics.csv").exists():
            rows = [row for row in rows if row[0] != run.name] + list(measured(run))
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("world", "metric", "frames", "value"))
        table.writerows((world, metric, round(at), round(value, 4)) for world, metric, at, value in rows)
    panels = {}
    for world, title in WORLDS.items():
        found = {
            metric: np.array([row[2:] for row in rows if row[:2] == (world, metric)], dtype=float) for metric in METRICS
        }
        curves = [Curve(METRICS[metric], [(each[:, 0], each[:, 1])]) for metric, each in found.items() if len(each)]
        if curves:
            panels[title] = curves
            first, last = found["return"][0, 1], found["return"][-5:, 1].mean()
            print(f"{world}: drawn return {first:.3g} in the first batch, {last:.3g} in the last ones")
    print(draw_panels(panels, DOCS / "img" / "worlds.png", ylabel="return of an episode"))


if __name__ == "__main__":
    main()
