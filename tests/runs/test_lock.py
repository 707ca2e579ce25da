"""One folder, one writer: also across processes, and not a moment longer than the writer lives."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

import hetrl
from hetrl.errors import RunError
from hetrl.runs.folder import Folder
from hetrl.runs.lock import NAME, sole_writer
from hetrl.runs.regroup import regroup
from hetrl.runs.run import evaluate_run, resume, train
from hetrl.runs.seeds import resume_seeds, train_seeds

TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=80", "run.eval_every=40", "run.n_eval_episodes=3", "run.device=cpu",
]  # fmt: skip
# Lightning's advice for other kinds of training: a short epoch.
pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
HELD = r"^[^\n]* is being written by process {} on \S+ since 20\d\d-\d\d-\d\d [\d:+-]+; wait for it, or stop it\.$"


@pytest.fixture
def holder():
    """Return a function that starts a process which writes into a folder."""
    script = (
        "import sys, time, pathlib\nfrom hetrl.runs.lock import sole_writer\n"
        "with sole_writer(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    started = []

    def start(path):
        process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_everybody_who_writes_is_refused_and_who_reads_is_not(holder, tmp_path):
    recipe = hetrl.load("happo", *TINY)
    run = train(recipe, tmp_path / "run", quiet=True)
    assert not (run.path / NAME).exists()
    (tmp_path / "seeds").mkdir()
    writers = {
        "run": lambda: resume(run.path, "run.frames=120", quiet=True),
        "new": lambda: train(recipe, tmp_path / "new", quiet=True),
        "seeds": lambda: train_seeds(recipe, 1, tmp_path / "seeds"),
        "grouped": lambda: regroup(run.path, {"a": ["agent_0"], "b": ["agent_1"]}, {"a": "agent_0", "b": "agent_1"},
                                   tmp_path / "grouped"),
    }  # fmt: skip
    for name, write in writers.items():
        process = holder(tmp_path / name)
        with pytest.raises(RunError, match=HELD.format(process.pid)):
            write()
    assert evaluate_run(run.path).returns.shape == (3,) and Folder(run.path).frames_saved() == 80


def test_a_killed_writer_leaves_no_lock(holder, tmp_path):
    process = holder(tmp_path / "run")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / "run" / NAME).exists()  # the file stays; it is no lock
    assert train(hetrl.load("happo", *TINY), tmp_path / "run", quiet=True).frames_saved() == 80


def test_a_process_keeps_itself_out_too_and_clears_up(tmp_path):
    with sole_writer(tmp_path / "a" / "b"):
        with pytest.raises(RunError, match=HELD.format(os.getpid())), sole_writer(tmp_path / "a" / "b"):
            pass
        with pytest.raises(RunError, match="is being written by"), sole_writer(tmp_path / "a" / "b"):
            pass  # who was refused has not taken the lock's file away
    assert not (tmp_path / "a" / "b").exists()


def test_seeds_whose_parent_was_killed_are_left_alone(holder, tmp_path):
    recipe = hetrl.load("happo", *TINY)
    (tmp_path / "seeds" / "seed0").mkdir(parents=True)
    (tmp_path / "seeds" / "seeds.yaml").write_text(recipe.yaml())
    (tmp_path / "seeds" / "seed0" / "metrics.csv").write_text("frames\n40\n")
    process = holder(tmp_path / "seeds" / "seed0")
    with pytest.raises(RunError, match="seed0" + HELD.format(process.pid)[7:]):
        resume_seeds(tmp_path / "seeds")
    assert not (tmp_path / "seeds" / "seed0.old").exists()


def test_two_that_resume_at_once_are_one(tmp_path):
    """The table has every frame once."""
    folder = train(hetrl.load("happo", *TINY), tmp_path / "run", quiet=True)
    words = [sys.executable, "-m", "hetrl", "train", "--resume", str(folder.path), "run.frames=4000"]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [(process.communicate(timeout=120)[1], process.returncode) for process in both]
    refused = [text for text, code in said if code == 2]
    assert sorted(code for _, code in said) == [0, 2], said
    assert re.match("^error" + HELD.format(r"\d+")[1:].replace(r"$", r"\s*$"), refused[0]), refused
    rows = folder.metrics.read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == list(range(0, 4001, 40))


def test_a_disk_without_locks_is_said(tmp_path, monkeypatch):
    import errno

    from hetrl.runs import lock

    def ask(number):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_ask", ask)
    with pytest.warns(UserWarning, match="lies on a disk without locks"), sole_writer(tmp_path / "run"):
        time.sleep(0)
