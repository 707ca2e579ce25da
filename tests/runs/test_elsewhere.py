"""What other systems have not got, or write otherwise: tested by taking it away here."""

import os
import signal
import subprocess
import sys
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest

import hetrl
from hetrl.errors import RecipeError
from hetrl.recipe import read
from hetrl.recipe.shipped import shipped
from hetrl.runs import launch, parent
from hetrl.runs.folder import default_folder
from hetrl.train import signals
from hetrl.train.signals import TakenSignals

GAME = "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}"


@pytest.mark.parametrize("words", [("happo", "task=task/vmas_navigation"), ("happo_mpe",), ("happo_mujoco",)])
def test_names_are_found_where_paths_have_backslashes(monkeypatch, words):
    expected = hetrl.load(*words)
    there = {str(PureWindowsPath(*name.split("/"))): path for name, path in shipped().items()}
    monkeypatch.setattr(read, "recipes", lambda: there)
    assert hetrl.load(*words) == expected


def test_a_task_may_be_typed_with_a_backslash():
    assert hetrl.load("happo", "task=task\\vmas_navigation") == hetrl.load("happo", "task=task/vmas_navigation")
    with pytest.raises(RecipeError, match=r"^task: no section 'task/navigation' is shipped\. Nearest: 'task/vmas_navi"):
        hetrl.load("happo", "task=task\\navigation")


def test_names_of_what_is_shipped_have_slashes(monkeypatch):
    def backslashes(path, *other):
        return PureWindowsPath(*Path(path).parts[len(Path(*other).parts) :])

    monkeypatch.setattr(Path, "relative_to", backslashes)
    assert "task/gate" in shipped() and not [name for name in shipped() if "\\" in name]


def test_signals_that_are_not_there_are_not_taken(monkeypatch):
    present = {name: getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIG_IGN", "SIG_DFL")}
    before = signal.getsignal(signal.SIGTERM)
    few = SimpleNamespace(**present, signal=signal.signal, getsignal=signal.getsignal)
    monkeypatch.setattr(signals, "signal", few)
    taken = TakenSignals()
    taken.take(lambda number, frame: None)
    assert set(taken._previous) == {signal.SIGINT, signal.SIGTERM}
    taken.give_back()
    assert signal.getsignal(signal.SIGTERM) == before


def test_cores_are_counted_where_nobody_says_which_ones(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert launch.n_cores() == os.cpu_count()


def test_a_seed_is_kept_out_of_the_terminals_ctrl_c(monkeypatch):
    assert launch.alone() == {"start_new_session": True}
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 512, raising=False)
    assert launch.alone() == {"creationflags": 512}


def test_a_seed_is_asked_to_stop_with_ctrl_break_where_there_is_one(monkeypatch, tmp_path):
    sent = []
    process = SimpleNamespace(poll=lambda: None, send_signal=sent.append)
    seed = launch.SeedProcess(0, tmp_path, [], process)
    seed.interrupt()
    monkeypatch.setattr(signal, "CTRL_BREAK_EVENT", 1, raising=False)
    seed.interrupt()
    assert sent == [signal.SIGTERM, 1]


def test_a_child_whose_parent_is_gone_gets_the_signal_where_a_kill_would_end_it_at_once(monkeypatch):
    raised = []
    monkeypatch.setattr(parent, "os", SimpleNamespace(read=lambda number, size: b"", name="nt", kill=None))
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    parent._wait_for_end_of_input()
    assert raised == [signal.SIGTERM]


def test_a_folder_has_a_name_that_every_system_takes(monkeypatch):
    from hetrl.runs import folder

    monkeypatch.setattr(folder, "task_name", lambda task: 'dm:cheetah/"run"?')
    assert default_folder(hetrl.load("happo", GAME)) == Path("runs") / "happo_dm_cheetah__run___seed0"


def test_no_text_is_read_or_written_in_the_systems_encoding(tmp_path):
    """A run, an evaluation, a picture's folder: python itself would say so."""
    words = [GAME, "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]",
             "data.frames=40", "run.frames=40", "run.eval_every=40", "run.n_eval_episodes=2"]  # fmt: skip
    script = (
        "import sys, pathlib, warnings\n"
        "import hetrl\n"
        "from hetrl.runs import run\n"
        "warnings.filterwarnings('error', category=EncodingWarning, module='hetrl')\n"
        "folder = run.train(hetrl.load('happo', *sys.argv[2:]), pathlib.Path(sys.argv[1]), quiet=True)\n"
        "run.resume(folder.path, 'run.frames=80', quiet=True)\n"
        "run.evaluate_run(folder.path)\n"
    )
    command = [sys.executable, "-X", "warn_default_encoding", "-c", script, str(tmp_path / "run"), *words]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "EncodingWarning" in line and "/hetrl/" in line]


def test_every_file_of_the_package_that_opens_text_says_its_encoding():
    rule = ["--isolated", "--preview", "--select", "PLW1514", "--output-format", "concise", "--no-cache"]
    command = [sys.executable, "-m", "ruff", "check", *rule, str(Path(hetrl.__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
