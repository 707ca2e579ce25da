"""Runs in two processes and their folders: what is saved by whom, and what goes on; see ``ranks_lives.py``."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hetrl.ranks import Rank
from hetrl.runs.folder import Folder
from hetrl.train.checkpoint_file import read
from hetrl.train.rank_files import of_process

SCRIPT = Path(__file__).with_name("ranks_lives.py")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")


@pytest.fixture(scope="module")
def lives(tmp_path_factory):
    """Return the folder of all runs, and how the processes of each ended."""
    folder = tmp_path_factory.mktemp("lives")
    words = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])}
    ran = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, env={**os.environ, **words})
    assert ran.returncode == 0, ran.stderr[-3000:]
    return folder, json.loads(ran.stdout.splitlines()[-1])


def equal(one, other):
    """Say whether two trees of tensors and primitives are the same, bit for bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def state(folder, number):
    """Return what a process has saved, but for what differs by name."""
    path = Folder(folder).checkpoint
    found = of_process(read(path), path, Rank(number, 2))
    del found["hetrl"]["ranks"], found["hetrl"]["recipe"], found["callbacks"], found["loops"]
    return found


def table(folder):
    return Folder(folder).metrics.read_text()


def test_two_go_on_bit_for_bit(lives):
    folder, ended = lives
    assert ended["two_on_2"] == [[0, ""], [0, ""]]
    for number in range(2):
        assert equal(state(folder / "replay", number), state(folder / "two_on_2", number))
    assert table(folder / "replay") == table(folder / "two_on_2")


@pytest.mark.parametrize(
    ("name", "n_ranks", "line"),
    [
        ("two_on_1", 1, "the checkpoint is of 2 processes and goes on in one process: weights, optimisers, "),
        ("alone_on_2", 2, "the checkpoint is of one process and goes on in 2 processes: weights, optimisers, "),
    ],
)
def test_another_number_goes_on_with_what_can_be_kept(lives, name, n_ranks, line):
    folder, ended = lives
    assert [code for code, _ in ended[name]] == [0] * n_ranks
    said = [text for _, text in ended[name]]
    assert said[0].startswith(line) and said[0].endswith("begin anew.") and not any(said[1:])
    assert Folder(folder / name).frames_saved() == Folder(folder / name).frames_logged() == 120


def rings(folder, n_ranks):
    """Return the rewards that lie in the replay of each process, ``[T, N, n]``."""
    path = Folder(folder).checkpoint
    found = (of_process(read(path), path, Rank(number, n_ranks)) for number in range(n_ranks))
    return [next(each["Collection"]["source"]["ring"]["steps"][group]["reward"] for group in
            each["Collection"]["source"]["observation"]) for each in found]  # fmt: skip


def test_what_replay_has_stored_is_dealt_out(lives):
    """The ring has 25 steps of 4 environments. 20 were there before, and ten have come: the first five are gone."""
    folder, _ = lives
    before, after = torch.cat(rings(folder / "two", 2), 1), rings(folder / "two_on_1", 1)[0]
    assert before.shape[:2] == (20, 4) and after.shape[:2] == (25, 4)
    slots = range(5, 20)
    assert torch.equal(after[slots], before[slots])
    before, after = rings(folder / "alone", 1)[0], torch.cat(rings(folder / "alone_on_2", 2), 1)
    assert torch.equal(after[slots], before[slots])


def test_a_signal_to_one_stops_both_after_the_same_batch(lives):
    folder, ended = lives
    assert ended["stopped"] == [[0, ""], [0, ""]]
    assert ended["stopped_on"] == [[0, ""], [0, ""]]
    for number in range(2):
        assert equal(state(folder / "whole", number), state(folder / "stopped", number))


def test_where_one_is_killed_the_run_ends_with_a_line_and_a_good_checkpoint(lives):
    folder, ended = lives
    assert ended["killed"] == [
        [2, "one of the 2 processes of this run is gone: it has said why, unless it was killed. The last checkpoint is "
            "whole; go on with hetrl train --resume RUN."],
        [-9, ""],
    ]  # fmt: skip
    assert ended["killed_first"] == [[-9, ""], [2, ""]]
    assert ended["killed_on"] == [[0, ""], [0, ""]]
    for number in range(2):
        assert equal(state(folder / "whole", number), state(folder / "killed", number))


def test_files_of_processes_that_no_checkpoint_names_are_gone(lives):
    folder, _ = lives
    for name, n_files in (("two_on_2", 2), ("two_on_1", 0)):
        assert len(list((folder / name / "checkpoints" / "ranks").glob("*"))) == n_files


# ----- the command line, which starts the other process itself


def started(folder, *words):
    command = [
        sys.executable,
        "-m",
        "hetrl",
        "train",
        "happo",
        *TINY,
        "--devices",
        "2",
        "--folder",
        str(folder),
        *words,
    ]
    words = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2]), "COLUMNS": "200"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **words}
    )


TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.eval_every=null", "run.device=cpu", "run.checkpoint_every=40",
]  # fmt: skip


@pytest.mark.slow
def test_the_command_line_trains_in_two_and_says_so_once(tmp_path):
    process = started(tmp_path / "run", "run.frames=160")
    printed = process.communicate()[0]
    assert process.returncode == 0, printed
    assert printed.count("Done: 160 frames.") == 1 and "Initializing distributed" not in printed
    assert Folder(tmp_path / "run").frames_saved() == Folder(tmp_path / "run").frames_logged() == 160


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="children are looked up in /proc")
def test_the_command_line_says_where_the_other_was_killed(tmp_path):
    folder = Folder(tmp_path / "run")
    process = started(folder.path, "run.frames=4000000")
    while not folder.checkpoint.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 2
    assert printed.splitlines()[-1].startswith("error one of the 2 processes of this run is gone: it has said why, un")
    assert folder.frames_saved() > 0
