"""Killed while it writes a checkpoint, or on a full disk: what lies there is whole, and the run goes on bit for bit."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import hetrl
from hetrl.runs.run import train

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked")
SCRIPT = Path(__file__).with_name("forked.py")
GAME = "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}"
RUN = ["run.checkpoint_every=40", "run.eval_every=null", "run.device=cpu", "run.threads=1", "nets.actor.hidden=[8]"]
REPLAY = ["data.capacity=240", "data.batch=8", "data.warmup=40", "data.frames=40", "nets.q.hidden=[8]"]
RECURRENT = [
    "nets.actor={use: net/recurrent_policy, per: agent, hidden: [8], memory: 6, chunk: 5}",
    "nets.value={use: net/recurrent_value, hidden: [8], memory: 4, chunk: 5, normalize: true}",
]
RECIPES = {
    "on-policy": ["happo", GAME, "nets.actor.use=net/categorical_policy", "nets.value.hidden=[8]", *RUN,
                  "data.frames=40"],
    "replay": ["hasac", "task.n_envs=4", "task.horizon=7", *REPLAY, *RUN],
    "recurrent": ["happo", "task.n_envs=4", "task.horizon=7", "data.frames=40", *RUN, *RECURRENT],
}  # fmt: skip


def forked(what, folder, number, words):
    """Run the script and return what it found, and what its lives said."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), what, str(folder), str(number), *words], capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def killed_and_whole(name, number, frames, place):
    """Kill a run so often while it writes, let it end, and compare it with one that nobody killed."""
    words = [*RECIPES[name], f"run.frames={frames}"]
    found, said = forked("kills", place / "killed", number, words)
    assert found["hit"] == number and "Traceback" not in said and "said" not in said, (found, said)
    whole = train(hetrl.load(*words), place / "whole", quiet=True)
    one, other = (torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)
                  for path in (whole.path, place / "killed"))  # fmt: skip
    for checkpoint in (one, other):  # as in test_resume: names of files are drawn from it, and objects listed as found
        del checkpoint["hetrl"]["global"]["python"]
        checkpoint["Collection"]["source"].pop("env")
    for part in ("state_dict", "optimizer_states", "hetrl", "Collection"):
        assert same(one[part], other[part]), part
    assert whole.metrics.read_bytes() == (place / "killed" / "metrics.csv").read_bytes()
    return found


def test_killed_while_it_writes(tmp_path):
    killed_and_whole("on-policy", 4, 1000, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_killed_often_while_it_writes(name, tmp_path):
    found = killed_and_whole(name, 25, 2400, tmp_path)
    print(f"{name}: {found['hit']} of {found['kills']} kills hit a write; all resumed bit for bit")


def test_a_full_disk_is_one_line_and_spoils_nothing(tmp_path):
    """Files of at most 1, 4, 16, ... kB: recipe, checkpoint, what TensorBoard writes."""
    found, said = forked("full", tmp_path / "run", 16, [*RECIPES["on-policy"], "run.frames=120"])
    assert found["codes"][-1] == 0 and set(found["codes"][:-1]) == {2} and len(found["codes"]) > 3
    lines = said.splitlines()
    assert len(lines) == len(found["codes"]) - 1
    assert all(line.endswith(" cannot be written: File too large; make room, and try again.") for line in lines), said


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="no file system of its own")
@pytest.mark.parametrize("size", [4, 8, 12, 16, 20, 24, 40, 80, 96, 140, 212])
def test_a_small_disk_is_one_line_and_spoils_nothing(size, tmp_path):
    """A file system of so many kB, in a name space of its own."""
    words = [sys.executable, str(SCRIPT), "full", str(tmp_path / "disk" / "run"), "1", *RECIPES["on-policy"]]
    script = f'mount -t tmpfs -o size={size}k none {tmp_path / "disk"} || exit 77; exec "$@"'
    (tmp_path / "disk").mkdir()
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *words, "run.frames=400", "run.eval_every=40"],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1", "UNLIMITED": "1"},
    )  # fmt: skip
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("mounting is not allowed here")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["codes"] == [2], done.stdout
    assert len(done.stderr.splitlines()) == 1 and "cannot be written: No space left on device" in done.stderr
