"""One case of the fuzzer: what a seed stands for, and whether what came of it is one of the ways it may end."""

import functools
import json
import logging
import os
import platform
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import lightning as L
import torch
from fuzz import lines
from fuzz.mutations import Tree, mutated, mutated_text, override, places
from fuzz.values import SECRET
from fuzz.watch import HangError, empty_folder, watched

import hetrl
from hetrl.errors import HetrlError
from hetrl.recipe.check import check
from hetrl.recipe.check.warnings import warnings_of
from hetrl.recipe.read import load
from hetrl.recipe.shipped import shipped
from hetrl.team import Team
from hetrl.train.build import make_env

MOST_LETTERS = 1200
"""Of an error's line."""
_SMALL = {"hidden": [4], "horizon": 5, "epochs": 1, "minibatches": 1, "n_envs": 2, "capacity": 64, "batch": 8,
          "warmup": 8, "memory": 4, "delay": 2, "chunk": 2, "n_sample_steps": 2, "n_steps": 2}  # fmt: skip
_SECRET = "a secret of this machine"


@dataclass
class Figures:
    """How many cases ended in which way, and those that ended in none of them."""

    ends: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def sweep(seeds: Iterable[int]) -> Figures:
    """Run the cases of some seeds."""
    figures = Figures()
    os.environ[SECRET] = _SECRET
    torch.set_num_threads(1)
    _warm_up()
    for seed in seeds:
        try:
            figures.ends[_run(seed)] += 1
        except (Exception, HangError):
            figures.ends["failed"] += 1
            figures.failures.append(
                f"seed {seed}: pytest tests/fuzz --fuzz-seed={seed}\n{''.join(traceback.format_exc(limit=-12))}"
            )
    return figures


@functools.cache
def _warm_up() -> None:
    """Import the simulators, which look for libraries and ask for the machine's name."""
    platform.processor()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for name in _names():
        _team(load(small(name)))


def _run(seed: int) -> str:
    """Run one case and return how it ended.

    Raises:
        Exception: whatever it raised that is no error of hetrl's, or an AssertionError that says what it did.
        HangError: it took too long.
    """
    rng = Random(seed)
    names = _names()
    tree, other = small(rng.choice(names)), small(rng.choice(names))
    kind = rng.choices(["tree", "text", "override", "line"], [60, 10, 20, 10])[0]
    with empty_folder() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "line":
            words = lines.line(rng, small("happo"), names, _text(tree))
            return f"line {words[0]}: {_watched_line(words, folder)}"
        given, overrides = _input(rng, kind, tree, other, folder)
        with watched() as found:
            ended, recipe = _recipe(given, overrides, train=rng.random() < 0.2)
        left = [path.name for path in folder.iterdir() if path.name != "mine.yaml"]
        assert not found and not left, f"it did what it should not: {found} {left}"
        if recipe is not None:
            _hold(recipe)
    return f"{kind}: {ended}"


def _watched_line(words: list[str], folder: Path) -> str:
    before = sorted(folder.iterdir())
    with watched(folder) as found:
        ended = lines.run(words)
    assert not found, f"hetrl {words}: it did what it should not: {found}"
    if words[0] not in ("train", "cp"):
        assert sorted(folder.iterdir()) == before, f"hetrl {words}: it wrote {sorted(folder.iterdir())}"
    return ended


def _input(rng: Random, kind: str, tree: Tree, other: Tree, folder: Path) -> tuple[Any, list[str]]:
    """Return what is loaded, and with which overrides."""
    if kind == "override":
        return tree, [override(rng, tree) for _ in range(rng.choice([1, 1, 2]))]
    if kind == "tree":
        return mutated(rng, tree, other), []
    file = folder / "mine.yaml"
    file.write_text(mutated_text(rng, _text(tree)), encoding="utf-8")
    return file, []


def _recipe(given: Any, overrides: list[str], train: bool) -> tuple[str, hetrl.Recipe | None]:
    """Return how far a recipe comes, and the recipe if it links."""
    stage = "load"
    try:
        recipe = load(given, *overrides)
        stage = "check"
        check(recipe)
        stage = "link"
        hetrl.link(recipe, _team(recipe))
        if not (train and _cheap(recipe)):
            return "links", recipe
        stage = "train"
        module, data = recipe.build()
        quiet = dict.fromkeys(["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False)
        trainer = L.Trainer(accelerator="cpu", max_epochs=1, limit_train_batches=2, **quiet)
        trainer.fit(module, data)
    except HetrlError as error:
        text = str(error)
        assert text.isprintable(), f"not one line of letters: {text[:2000]!r}"
        assert 10 < len(text) <= MOST_LETTERS, f"{len(text)} letters: {text[:2000]!r}"
        assert _SECRET not in text, f"it tells a secret: {text!r}"
        return f"refused by {stage}", None
    return "trains", recipe


def _hold(recipe: hetrl.Recipe) -> None:
    """Check what is promised of a recipe that links: its text makes it again, and its warnings are lines."""
    text = recipe.yaml()
    assert _SECRET not in text, "it holds a secret"
    Path("again.yaml").write_text(text, encoding="utf-8")
    again = load("again.yaml")
    Path("again.yaml").unlink()
    assert repr(again.tree) == repr(recipe.tree), f"what is saved is another recipe: {recipe.tree} {again.tree}"
    for line in warnings_of(recipe):
        assert line.isprintable() and len(line) <= MOST_LETTERS, repr(line)


def _cheap(recipe: hetrl.Recipe) -> bool:
    """Whether two batches of a recipe are little work."""
    parts = {word: value for word, value in recipe.tree.items() if word not in ("run", "about", "hetrl")}
    parts["data"] = {word: value for word, value in parts["data"].items() if word not in ("capacity", "warmup")}
    counts = [container[key] for container, key in places(parts) if type(container[key]) is int]
    sizes = [recipe.run.threads or 1, recipe.data.arguments.get("warmup", 0) / 20, *counts]
    return max(sizes) <= 100 and recipe.run.eval_every is None and not recipe.run.compile


_TEAMS: dict[str, Team] = {}


def _team(recipe: hetrl.Recipe) -> Team:
    key = repr((recipe.task.name, recipe.task.arguments))
    if key not in _TEAMS:
        _TEAMS[key] = make_env(recipe, torch.device("cpu"), 0, n_envs=1).team
    return _TEAMS[key]


# ----- what is mutated


@functools.cache
def _names() -> list[str]:
    return [name for name in shipped() if not name.startswith("task/")]


def small(name: str) -> Tree:
    """Return a shipped recipe's tree with small numbers, as a copy."""
    return json.loads(_small(name))


@functools.cache
def _small(name: str) -> str:
    tree = load(name).tree
    for container, key in places(tree):
        if key in _SMALL and container[key] is not None:
            container[key] = _SMALL[key]
    tree["data"] |= {"frames": 8} if "frames" in tree["data"] else {}
    tree["run"] |= {"frames": 16, "eval_every": None, "threads": 1, "device": "cpu"}
    return json.dumps(tree)


def _text(tree: Tree) -> str:
    return load(tree).yaml()
