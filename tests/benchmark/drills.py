"""Football drills, several recipes beside each other: what docs/football.md is to get.

    python tests/benchmark/drills.py                              the table, from what is kept
    python tests/benchmark/drills.py RUNS [PATTERN ...]           train what is missing, such as 'hasac_*_0'

A run is called ``RECIPE_DRILL_SEED`` and trained in ``RUNS``. Its last policies then play 1,000 episodes without the
shaping, deterministic and drawn, and their rates of goals go to docs/data/drills.csv, from which alone the table is
made. Several may work on one folder.
"""

import csv
import fnmatch
import sys
from pathlib import Path

import hetrl
from hetrl.runs.folder import Folder

TABLE = Path(__file__).parents[2] / "docs" / "data" / "drills.csv"
COLUMNS = ("recipe", "drill", "seed", "frames", "deterministic", "drawn")
DRILLS = {
    "pass_and_shoot": "pass and shoot",
    "run_pass_and_shoot": "run, pass and shoot",
    "three_against_one": "three against one",
}
OFF_POLICY = ("task.n_envs=16", "data.save=false")
RECIPES = {
    "happo": ("nets.actor.initial_std=0.6",),
    "hasac": OFF_POLICY,
    "chain_hasac": OFF_POLICY,
    "haqo_gaussian": OFF_POLICY,
    "haqo": OFF_POLICY,
}
"""Recipe -> its words; all else is as shipped."""
SEEDS = (0, 1, 2)
FRAMES, EPISODES = 300_000, 1_000


def kept():
    """Return the rows of the table."""
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8") as file:
        return [tuple(row[name] for name in COLUMNS) for row in csv.DictReader(file)]


def keep(row):
    """Add a row, behind those that others may be adding."""
    rows = [row] if TABLE.exists() else [COLUMNS, row]
    with TABLE.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def train(runs, recipe, drill, seed):
    """Train a run, keep its rates of goals, and return them: deterministic and drawn."""
    words = (f"task=task/football_{drill}", *RECIPES[recipe], f"run.frames={FRAMES}", f"run.seed={seed}")
    words = (*words, f"run.eval_every={FRAMES // 10}", "run.n_eval_episodes=100")
    run = hetrl.train(recipe, *words, folder=runs / f"{recipe}_{drill}_{seed}", quiet=True)
    rates = [
        run.evaluate("task.shaping=0", "task.n_envs=100", episodes=EPISODES, stochastic=drawn).returns.mean().item()
        for drawn in (False, True)
    ]
    keep((recipe, drill, seed, run.frames, *(round(rate, 3) for rate in rates)))
    return rates


def missing(runs, patterns):
    """Return the runs that nobody has finished or taken, a seed of all before the next one."""
    done = {tuple(row[:3]) for row in kept()}
    for seed in SEEDS:
        for recipe in RECIPES:
            for drill in DRILLS:
                name = f"{recipe}_{drill}_{seed}"
                wanted = not patterns or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
                if wanted and (recipe, drill, str(seed)) not in done and not Folder(runs / name).path.exists():
                    yield recipe, drill, seed


def table():
    """Return the table's lines: the mean over seeds, each seed's, and the mean with drawn actions."""
    lines = ["| | " + " | ".join(DRILLS.values()) + " |", "|---" * (1 + len(DRILLS)) + "|"]
    for recipe in RECIPES:
        cells = []
        for drill in DRILLS:
            rows = sorted(row for row in kept() if row[:2] == (recipe, drill))
            fixed, drawn = ([float(row[column]) for row in rows] for column in (4, 5))
            each = ", ".join(f"{rate:.2f}" for rate in fixed)
            mean = f"{sum(fixed) / len(fixed):.2f} ({each}); drawn {sum(drawn) / len(drawn):.2f}" if rows else "not run"
            cells.append(mean)
        lines.append(f"| `{recipe}` | " + " | ".join(cells) + " |")
    return lines


def main():
    """Train what is asked for, and print the table."""
    if len(sys.argv) > 1:
        runs = Path(sys.argv[1])
        while (found := next(missing(runs, sys.argv[2:]), None)) is not None:
            print(*found, *train(runs, *found), flush=True)
    print("\n".join(table()))


if __name__ == "__main__":
    main()
