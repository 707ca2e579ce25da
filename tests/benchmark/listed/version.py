"""Which results belong together: those of one resolved recipe, trained by code that gives the same numbers.

A commit says little: most change no number, and ten hours of runs must not be lost to one about the documentation. So
code is told by what it does. The *probe* of a recipe is a training of some hundred frames, with everything that the
recipe says but its sizes, and what it logs at the end. A change of a formula, of a default or of the order of draws
shows there, also when it comes with another version of a package; a change that leaves the numbers alone does not.
"""

import hashlib
import json
import math
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hetrl
from hetrl.recipe.schema import Recipe
from hetrl.runs.csv_table import read
from hetrl.runs.run import train

RUN = ("seed", "eval_every", "n_eval_episodes", "eval_drawn")
"""Words of ``run`` that a result depends on; ``frames`` as well where a schedule runs by them."""
ALONE = ["run.device=cpu", "run.threads=1", "run.seed=0", "run.n_eval_episodes=1", "run.eval_drawn=false"]
SIZES = {
    "data/on_policy": ["task.n_envs=4", "data.frames=40", "run.frames=80", "run.eval_every=80"],
    "data/replay": [
        "task.n_envs=4", "data.capacity=2000", "data.batch=64", "data.warmup=80", "run.frames=100",
        "run.eval_every=100",
    ],
}  # fmt: skip
HORIZON = ["task.horizon=10"]
"""Short: a robot that falls about is chaotic, and so is a policy behind many steps of Adam."""
TOLERANCE = 5e-3
"""Of a value. Two machines round differently: *measured*, without the wider instructions of one, 1e-5 for most recipes
and 2e-3 for trust regions of 17 agents. Another formula or another draw is further away."""
DIGITS = 6
Probe = Mapping[str, float]


def fingerprint(recipe: Recipe) -> str:
    """Return twelve letters that two recipes share only if they say the same; ``about`` and most of ``run`` aside."""
    tree = {word: value for word, value in recipe.tree.items() if word not in ("about", "run")}
    tree["run"] = {word: getattr(recipe.run, word) for word in RUN}
    text = json.dumps(tree, sort_keys=True)
    if '"linear": [' in text:
        text += f" over {recipe.run.frames} frames"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def probe(recipe: Recipe) -> dict[str, float]:
    """Train a recipe for a moment, on one thread and with seed 0, and return the last value of all that it logs."""
    small = hetrl.load(recipe, *SIZES[recipe.data.name], *HORIZON, *ALONE)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = read(train(small, Path(folder) / "run", quiet=True).metrics)
    latest = {name: value for row in rows for name, value in row.items()}
    return {name: float(f"{value:.{DIGITS}g}") for name, value in latest.items() if math.isfinite(value)}


def apart(one: Probe, other: Probe) -> str | None:
    """Return in words where two probes differ first; nothing where they do not."""
    for name in {**one, **other}:
        if name not in one or name not in other:
            return f"only one of them logs {name}"
        here, there = one[name], other[name]
        if abs(here - there) > TOLERANCE * max(abs(here), abs(there), 1e-3):
            return f"{name} is {there:.6g} there and {here:.6g} here"
    return None


def digest(found: Probe) -> str:
    """Return eight letters for a probe, by which the list can accept it; of its values to three digits."""
    text = json.dumps({name: f"{value:.2e}" for name, value in sorted(found.items())})
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def as_json(value: Any) -> str:
    """Return a value on one line."""
    return json.dumps(value, sort_keys=True)
