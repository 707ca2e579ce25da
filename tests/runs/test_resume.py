"""A run that was killed and resumed ends where it would have ended, bit for bit (on the CPU)."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import hetrl
from hetrl.errors import RunError
from hetrl.runs import run as runs
from hetrl.runs.csv_table import read
from hetrl.runs.folder import Folder

TINY = [
    "task.n_envs=4", "task.horizon=7", "data.frames=40", "run.frames=400", "run.checkpoint_every=40",
    "run.eval_every=120", "run.n_eval_episodes=3", "run.threads=1", "nets.actor.hidden=[8]",
]  # fmt: skip
ON_POLICY = ["nets.value.hidden=[8]"]

RECURRENT = [  # episodes of 7 steps, batches of 10, chunks of 5
    "nets.actor={use: net/recurrent_policy, per: agent, hidden: [8], memory: 6, chunk: 5}",
    "nets.value={use: net/recurrent_value, hidden: [8], memory: 4, chunk: 5, normalize: true}",
]

REPLAY = str(Path(__file__).parents[1] / "train" / "replay.yaml")
OFF_POLICY = ["nets.q.hidden=[8]", "data.capacity=240", "data.batch=32", "data.warmup=80", "data.updates=2"]
"""A warm-up of 80 frames, and a ring that 400 frames go around (as in the file, whose actors skip samples too)."""


def sizes(name: str) -> list[str]:
    return [*TINY, *{"hasac": OFF_POLICY, REPLAY: []}.get(name, ON_POLICY)]


def recipe(name: str, *more: str):
    return hetrl.load(name, *sizes(name), *more)


def same(left, right, where: str = "") -> None:
    """Compare two trees of tensors and primitives bit for bit."""
    assert type(left) is type(right), where
    if isinstance(left, dict):
        assert list(left) == list(right), where
        for key in left:
            same(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), where
        for index, pair in enumerate(zip(left, right, strict=True)):
            same(*pair, f"{where}[{index}]")
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right) or (left.isnan() & right.isnan()).all(), where
    else:
        assert left == right, where


def state(folder: Folder) -> dict:
    checkpoint = folder.load_checkpoint()
    # Libraries draw file names from python's global generator; nothing in training does.
    del checkpoint["hetrl"]["global"]["python"]
    # The simulator's objects are listed in the order in which they are found, which a restored one may change; that it
    # continues bit for bit shows in everything else, five collections later.
    del checkpoint["Collection"]["source"]["env"]
    return {key: checkpoint[key] for key in ("state_dict", "optimizer_states", "hetrl", "Collection")}


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("happo", ["task.scenario=navigation"]),
        ("mappo", ["nets.actor.use=net/squashed_gaussian_policy", "update.actors.steps.entropy_bonus.coef=0.01"]),
        ("happo", ["task.actions=discrete", "nets.actor.use=net/categorical_policy", "task.scenario=simple_spread"]),
        ("happo", RECURRENT),
        (REPLAY, []),
        ("hasac", []),
    ],
    ids=["happo_navigation", "mappo_squashed", "happo_discrete", "happo_recurrent", "replay", "hasac"],
)
def test_resumes_bit_for_bit(tmp_path, name, more):
    whole = runs.train(recipe(name, *more), tmp_path / "whole", quiet=True)
    half = runs.train(recipe(name, *more, "run.frames=200"), tmp_path / "half", quiet=True)
    assert half.load_checkpoint()["hetrl"]["frames"] == 200
    resumed = runs.resume(half.path, "run.frames=400", quiet=True)
    same(state(whole), state(resumed))
    assert [row["frames"] for row in read(resumed.metrics)] == [row["frames"] for row in read(whole.metrics)]


@pytest.mark.parametrize(
    ("name", "more"), [("happo", []), ("happo", RECURRENT), (REPLAY, [])], ids=["rows", "recurrent", "replay"]
)
def test_a_killed_run_resumes_bit_for_bit(tmp_path, name, more):
    more = [*more, "update.actors.optim.lr={linear: [1e-3, 0.0]}"]
    whole = runs.train(recipe(name, *more), tmp_path / "whole", quiet=True)
    script = (
        "import sys, hetrl\nfrom pathlib import Path\nfrom hetrl.runs import run\n"
        "run.train(hetrl.load(*sys.argv[2:]), Path(sys.argv[1]), quiet=True)\n"
    )
    folder = Folder(tmp_path / "killed")
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script, str(folder.path), name, *sizes(name), *more],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while not folder.checkpoint.exists():
        assert child.poll() is None
        time.sleep(0.005)
    time.sleep(random.SystemRandom().uniform(0, 0.5))
    child.send_signal(signal.SIGKILL)
    child.wait()
    reached = folder.load_checkpoint()["hetrl"]["frames"]
    if reached < 400:
        runs.resume(folder.path, quiet=True)
    same(state(whole), state(folder))
    frames = [row["frames"] for row in read(folder.metrics)]
    assert frames == sorted(set(frames)) == [row["frames"] for row in read(whole.metrics)]


def test_checkpoints_hold_tensors_and_primitives_only(tmp_path):
    folder = runs.train(recipe("happo", "run.frames=40"), tmp_path / "run", quiet=True)
    checkpoint = torch.load(folder.checkpoint, weights_only=True)
    assert checkpoint["hetrl"]["frames"] == 40


def test_refuses_what_is_not_this_run(tmp_path):
    folder = runs.train(recipe("happo", "run.frames=40"), tmp_path / "run", quiet=True)
    with pytest.raises(RunError, match=r"of another recipe: task.scenario is 'balance' there and 'wheel' here"):
        runs.resume(folder.path, "task.scenario=wheel", "run.frames=80", quiet=True)
    with pytest.raises(RunError, match="is finished"):
        runs.resume(folder.path, quiet=True)
    with pytest.raises(RunError, match="holds this run already"):
        runs.train(recipe("happo", "run.frames=40"), folder.path, quiet=True)
    with pytest.raises(RunError, match=r"another recipe \(run.seed differs\)"):
        runs.train(recipe("happo", "run.frames=40", "run.seed=1"), folder.path, quiet=True)
    with pytest.raises(RunError, match="is no run"):
        runs.resume(tmp_path, quiet=True)
