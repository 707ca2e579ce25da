"""Whatever asks a run to stop gets its last batch, a checkpoint and one calm line; no process outlives its parent."""

import os
import signal
import subprocess
import sys
import threading
import time

import lightning as L
import pytest

import hetrl
from hetrl import cli
from hetrl.report import curve
from hetrl.runs import run as runs
from hetrl.runs.folder import Folder
from hetrl.runs.launch import SeedProcess, StopSignals
from hetrl.train.signals import STOPS

TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=160", "run.eval_every=null", "run.checkpoint_every=160", "run.device=cpu",
]  # fmt: skip
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these signals are POSIX's")


class Sends(L.Callback):
    """Sends signals to its own process, after the second batch's phases and before its checkpoint."""

    def __init__(self, *signals: str) -> None:
        self.signals = signals

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if batch_idx == 1:
            for name in self.signals:
                os.kill(os.getpid(), getattr(signal, name))


def handlers():
    return [signal.getsignal(getattr(signal, name)) for name in STOPS if hasattr(signal, name)]


@pytest.mark.parametrize(
    "signals",
    [("SIGINT",), ("SIGTERM",), ("SIGTERM", "SIGTERM"), ("SIGHUP", "SIGHUP"), ("SIGUSR1", "SIGTERM", "SIGUSR1")],
    ids="_".join,
)
def test_the_batch_is_finished_and_saved(tmp_path, signals):
    before = handlers()
    folder = runs.train(hetrl.load("happo", *TINY), tmp_path / "run", callbacks=[Sends(*signals)], quiet=True)
    assert folder.frames_saved() == folder.frames_logged() == 80
    assert handlers() == before
    assert runs.resume(folder.path, quiet=True).frames_saved() == 160


def test_under_slurm_its_signal_writes_nothing_that_resume_would_not_read(tmp_path, monkeypatch):
    for name, value in {"JOB_ID": "1", "NTASKS": "2", "JOB_NAME": "train", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    folder = runs.train(hetrl.load("happo", *TINY), tmp_path / "run", callbacks=[Sends("SIGUSR1")], quiet=True)
    assert folder.frames_saved() == 80
    assert [path.name for path in folder.path.rglob("*.ckpt")] == ["last.ckpt"]


def test_a_closed_terminal_does_not_stop_what_nohup_started(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        folder = runs.train(hetrl.load("happo", *TINY), tmp_path / "run", callbacks=[Sends("SIGHUP")], quiet=True)
        with StopSignals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert folder.frames_saved() == 160 and not stop.asked


def test_it_trains_in_a_thread(tmp_path):
    before, ended = handlers(), []

    def train() -> None:
        ended.append(runs.train(hetrl.load("happo", *TINY), tmp_path / "run", quiet=True).frames_saved())
        with StopSignals():
            ended.append("seeds")

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert ended == [160, "seeds"] and handlers() == before


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Return a function that runs a command and returns (exit code, lines printed)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", ["hetrl", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), (printed.out + printed.err).splitlines()

    return run


def test_a_second_ctrl_c_is_one_line_and_130(command, monkeypatch, tmp_path):
    train, before = runs.train, handlers()

    def sends(*given, **named):
        return train(*given, **named | {"callbacks": [Sends("SIGINT", "SIGINT")]})

    monkeypatch.setattr(runs, "train", sends)
    code, lines = command("train", "happo", *TINY, "run.checkpoint_every=40", "--folder", "run")
    assert code == 130
    assert lines[-1] == "Interrupted. A run goes on from its last checkpoint: hetrl train --resume RUN."
    assert not [line for line in lines if "Traceback" in line]
    assert Folder(tmp_path / "run").frames_saved() == 40 and handlers() == before


def test_ctrl_c_in_the_closing_summary_leaves_what_it_said_first(command, monkeypatch):
    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(curve, "draw_runs", interrupted)
    code, lines = command("train", "happo", *TINY, "--folder", "run")
    assert code == 130
    assert lines[-2].startswith("Done: 160 frames.") and lines[-1].startswith("Interrupted. ")


def test_what_nobody_foresaw_keeps_its_traceback_and_says_whom_to_tell(command, monkeypatch):
    monkeypatch.setattr(curve, "draw_runs", lambda *given: 1 / 0)
    code, lines = command("train", "happo", *TINY, "--folder", "run")
    assert code == 1
    assert lines[-2] == "ZeroDivisionError: division by zero" and any(line.startswith("Traceback") for line in lines)
    assert lines[-1] == (
        "error this is a bug of hetrl, or of a package that the recipe names; please report it, with the lines above."
    )


# ----- a parent that is gone

PARENT = """
import subprocess, sys, time
from hetrl.runs.parent import followed
given, environment = followed(by_kernel=sys.argv[1] == "kernel")
child = subprocess.Popen([sys.executable, "-c", sys.argv[2], sys.argv[3]], stdin=given, env=environment)
time.sleep(60)
"""
CHILD = """
import pathlib, signal, sys, time
from hetrl.runs.parent import follow_parent
folder = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *given: sys.exit((folder / "told").touch()))
follow_parent()
(folder / "begun").touch()
time.sleep(60)
"""


def wait_for(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["kernel", "pipe"])
def test_a_child_is_told_when_its_parent_is_killed(tmp_path, how):
    if how == "kernel" and sys.platform != "linux":
        pytest.skip("Linux alone tells")
    parent = subprocess.Popen([sys.executable, "-c", PARENT, how, CHILD, str(tmp_path)])
    wait_for((tmp_path / "begun").exists)
    time.sleep(0.1)
    assert not (tmp_path / "told").exists()
    parent.kill()
    parent.wait()
    wait_for((tmp_path / "told").exists, 5.0)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the pipe is closed already, and that tells")
def test_a_child_that_comes_too_late_does_not_begin(monkeypatch):
    from hetrl.errors import RunError
    from hetrl.runs import parent

    monkeypatch.setattr(parent, "_PR_SET_PDEATHSIG", 2)  # asks, and sets nothing: pytest has a parent of its own
    monkeypatch.setenv("HETRL_PARENT", "1" if os.getppid() != 1 else "2")
    with pytest.raises(RunError, match=r"^the process that started this seed is gone; continue with hetrl train --res"):
        parent.follow_parent()
    assert "HETRL_PARENT" not in os.environ


def test_a_second_ctrl_c_ends_the_seeds_at_once(tmp_path):
    (tmp_path / "seed0").mkdir()
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    )
    seed = SeedProcess(0, tmp_path / "seed0", [sys.executable, "-c", stubborn])
    with StopSignals() as stop:
        seed.start(1)
        stop.running.append(seed)
        wait_for(lambda: seed.last_words() == "1")
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        time.sleep(0.2)
        assert not seed.ended
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: seed.ended, 5.0)
    assert seed.process.returncode == -signal.SIGKILL and seed.ending(False) == "stopped"


@pytest.mark.slow
def test_seeds_whose_parent_is_killed_save_and_are_resumed(tmp_path):
    words = [sys.executable, "-m", "hetrl", "train"]
    more = ["run.frames=1000000000", "run.checkpoint_every=1000000", "--seeds", "2", "--at-once", "2"]
    parent = subprocess.Popen([*words, "happo", *TINY, *more, "--folder", "both"], cwd=tmp_path)
    folders = [Folder(tmp_path / "both" / f"seed{seed}") for seed in (0, 1)]
    wait_for(lambda: all(folder.metrics.exists() and folder.frames_logged() for folder in folders), 120)
    parent.kill()
    parent.wait()
    wait_for(lambda: all(folder.checkpoint.exists() for folder in folders), 20)
    time.sleep(3)
    reached = [folder.frames_logged() for folder in folders]
    time.sleep(1)
    assert reached == [folder.frames_logged() for folder in folders] == [folder.frames_saved() for folder in folders]
    frames = max(reached) + 80
    subprocess.run([*words, "--resume", "both", f"run.frames={frames}"], cwd=tmp_path, check=True)
    assert [folder.frames_saved() for folder in folders] == [frames, frames]
    assert all(value.isfinite().all() for value in folders[0].load_checkpoint()["state_dict"].values())
