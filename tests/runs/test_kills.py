"""A hundred SIGKILLs at random times: whatever was killed is resumed and ends as the run that nobody touched."""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

import hetrl
from hetrl.runs import run as runs
from hetrl.runs.csv_table import read
from hetrl.runs.folder import Folder

N_KILLS = 34
"""For each of three recipes."""
SIZES = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}", "run.frames=800",
    "run.checkpoint_every=40", "run.eval_every=120", "run.n_eval_episodes=3", "run.threads=1", "run.device=cpu",
]  # fmt: skip
CATEGORICAL = ["nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]"]
RECIPES = {
    "on_policy": ["happo", *CATEGORICAL, "nets.value.hidden=[8]", "data.frames=40"],
    "replay": [str(Path(__file__).parents[1] / "train" / "replay.yaml"), *CATEGORICAL],
    "recurrent": [
        "happo", "data.frames=40",
        "nets.actor={use: net/recurrent_policy, per: agent, hidden: [8], memory: 6, chunk: 5}",
        "nets.value={use: net/recurrent_value, hidden: [8], memory: 4, chunk: 5, normalize: true}",
    ],
}  # fmt: skip


def in_a_child(function, *given) -> int:
    """Return the number of a process that runs a function; it comes into being with everything imported."""
    number = os.fork()
    if not number:
        code = 1
        try:
            function(*given, quiet=True)
            code = 0
        finally:
            os._exit(code)
    return number


def ended(number: int, seconds: float) -> int | None:
    """Return a process's exit code, or kill it after some seconds and return None."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return None


def parts(tree, where=""):
    if isinstance(tree, dict | list | tuple):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from parts(value, f"{where}.{key}")
    else:
        yield where, tree


def refuse_difference(left: Folder, right: Folder) -> None:
    """Compare metrics and checkpoints bit for bit, but for python's generator, which draws names of files."""
    assert read(left.metrics) == read(right.metrics)
    states = [folder.load_checkpoint() for folder in (left, right)]
    for state in states:
        del state["hetrl"]["global"]["python"], state["loops"], state["callbacks"]
    for (where, one), (_, other) in zip(*map(parts, states), strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other, where


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="children are forked")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("name", RECIPES)
def test_a_hundred_kills(tmp_path, name, capsys):
    recipe = hetrl.load(RECIPES[name][0], *SIZES, *RECIPES[name][1:])
    start = time.monotonic()
    whole = Folder(tmp_path / "whole")
    assert ended(in_a_child(runs.train, recipe, whole.path), 120) == 0
    took = time.monotonic() - start
    chance, folder = random.Random(7), Folder(tmp_path / "run")
    n_kills = n_resumed = n_runs = n_halves = 0
    while n_kills < N_KILLS:
        if folder.checkpoint.exists():
            n_resumed += 1
            code = ended(in_a_child(runs.resume, folder.path), chance.uniform(0, 0.7 * took))
        else:
            shutil.rmtree(folder.path, ignore_errors=True)
            code = ended(in_a_child(runs.train, recipe, folder.path), chance.uniform(0, 0.7 * took))
        n_halves += any(path.name != "last.ckpt" for path in folder.path.glob("checkpoints/*"))
        assert code in (0, None)
        n_kills += code is None
        if folder.frames_saved() == recipe.run.frames:
            refuse_difference(whole, folder)
            shutil.rmtree(folder.path)
            n_runs += 1
    if folder.checkpoint.exists() and folder.frames_saved() < recipe.run.frames:
        assert ended(in_a_child(runs.resume, folder.path), 120) == 0
        refuse_difference(whole, folder)
        n_runs += 1
    with capsys.disabled():
        print(f"\n{name}: {n_kills} kills ({n_halves} while a checkpoint was written), {n_resumed} resumed, "
              f"{n_runs} whole runs, the same bit for bit")  # fmt: skip
    assert n_runs and n_resumed
