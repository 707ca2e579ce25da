"""The pictures of docs/results.md, from run folders.

    python tests/benchmark/pictures.py RUNS docs/img

``RUNS`` holds one folder for each run of the commands in docs/results.md, named
``{NAME,peer,simultaneous}_{balance,navigation}_{seed}`` (NAME a recipe below), and those of docs/details/order.md,
``game{0.3,0.05}_{random_permutation,simultaneous}_{seed}``.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from hetrl.report.curve import Curve, draw_panels, from_run

HERE = Path(__file__).parent
TASKS = ("balance", "navigation")
ON_POLICY = ("happo", "hatrpo", "haa2c", "mappo")
OFF_POLICY = ("hasac", "masac", "hatd3", "haddpg")


def seeds(runs: Path, stem: str, metric: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the series of every seed of a run."""
    return [from_run(folder, metric) for folder in sorted(runs.glob(f"{stem}_[0-9]"))]


def benchmarl(task: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return BenchMARL's training return against frames, as we measured it, for every seed."""
    found = []
    for path in sorted((HERE / "peer" / "curves").glob(f"benchmarl_mappo_{task}_*.csv")):
        with path.open() as file:
            rows = list(csv.DictReader(file))
        values = [[float(row["frames"]), float(row["collection_episode_reward_mean"])] for row in rows]
        frames, returns = np.array(values).T
        found.append((frames, returns))
    return found


def smooth(series: tuple[np.ndarray, np.ndarray], window: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return the running mean over ``window`` batches."""
    frames, values = series
    return frames[window - 1 :], np.convolve(values, np.ones(window) / window, "valid")


def main() -> None:
    """Draw them all."""
    runs, folder = Path(sys.argv[1]), Path(sys.argv[2])
    own = {
        task: [Curve(name.upper(), seeds(runs, f"{name}_{task}", "eval/return")) for name in ON_POLICY]
        for task in TASKS
    }
    draw_panels(own, folder / "learning.png", ylabel="evaluation return, deterministic")
    off = {
        f"{task}, off-policy": [
            Curve(name.upper(), seeds(runs, f"{name}_{task}", "eval/return")) for name in OFF_POLICY
        ]
        for task in TASKS
    }
    draw_panels(off, folder / "off_policy.png", ylabel="evaluation return, deterministic")
    draw_panels({"HAPPO on VMAS balance": [own["balance"][0]]}, folder / "happo.png", ylabel="evaluation return")
    peers = {
        f"{task}, BenchMARL's settings, 4 epochs": [
            Curve("hetrl MAPPO", [smooth(series) for series in seeds(runs, f"peer_{task}", "return")]),
            Curve("BenchMARL 1.5.2 MAPPO", [smooth(series) for series in benchmarl(task)]),
        ]
        for task in TASKS
    }
    draw_panels(peers, folder / "benchmarl.png", ylabel="training return, mean of 5 batches")
    games = {
        f"HATRPO in the game, radius {radius}": [
            Curve(label, seeds(runs, f"game{radius}_{name}", "return"))
            for label, name in (("in turn", "random_permutation"), ("at once", "simultaneous"))
        ]
        for radius in ("0.3", "0.05")
    }
    tasks = {
        f"HAPPO on {task}": [
            Curve(label, seeds(runs, f"{name}_{task}", "eval/return"))
            for label, name in (("in turn", "happo"), ("at once", "simultaneous"))
        ]
        for task in TASKS
    }
    draw_panels(games, folder / "order_game.png", ylabel="return")
    draw_panels(tasks, folder / "order_vmas.png", ylabel="evaluation return, deterministic")
    for title, curves in {**own, **off, **peers, **games, **tasks}.items():
        for curve in curves:
            last = [values[-5:].mean() for _, values in curve.series]
            print(f"{title}: {curve.name}: last five points {np.mean(last):.3g}, seeds {np.round(last, 3).tolist()}")


if __name__ == "__main__":
    main()
