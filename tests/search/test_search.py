"""Searches: drawn, told, pruned, cut off and continued. Most with small programs in the place of runs."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from unittest.mock import Mock

import pytest
from rich.console import Console

from hetrl import cli
from hetrl.errors import DependencyError, RecipeError, RunError
from hetrl.runs import launch
from hetrl.runs.board import SeedsBoard
from hetrl.runs.csv_table import read
from hetrl.runs.folder import Folder
from hetrl.runs.place import RunPlace
from hetrl.search import trials
from hetrl.search.found import Found
from hetrl.search.search import resume_search, search
from hetrl.search.search_folder import SearchFolder, SearchWords

pytest.importorskip("optuna")
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the programs below listen to SIGTERM"),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running"),
]
TINY = (
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=360", "run.eval_every=40", "run.n_eval_episodes=3", "run.device=cpu",
)  # fmt: skip
RATE, EPOCHS = "update.actors.optim.lr", "update.actors.epochs"
STAND_IN = """
import math, os, pathlib, signal, sys, time
run, held, told = pathlib.Path(sys.argv[1]), sys.argv[2] == "held", []
signal.signal(signal.SIGTERM, lambda *given: told.append(1))
checkpoint, table, words = run / "checkpoints" / "last.ckpt", run / "metrics.csv", run / "recipe.yaml"
if not checkpoint.exists():
    checkpoint.parent.mkdir(parents=True)
    words.write_text(sys.argv[3])
    table.write_text("frames,return,eval/return\\n0,,1000.0\\n")  # untrained, and told to nobody
given = dict(word.rsplit("=", 1) for word in words.read_text().split("\\n"))
rate = float(given["update.actors.optim.lr"])
score = 1 - (math.log10(rate) + 3) ** 2
begun = int(checkpoint.read_text()) if checkpoint.exists() else 0
print("from", begun, flush=True)
if rate > 0.05:
    print("a line", flush=True)
    sys.exit("error a loss became NaN")
for frames in range(begun + 40, 361, 40):
    with table.open("a") as file:
        file.write(f"{frames},1,{score * frames}\\n")
    checkpoint.write_text(str(frames))
    until = time.monotonic() + 60
    while held and frames == 80 and not told and time.monotonic() < until:
        time.sleep(0.01)
    if told:
        break
"""


@pytest.fixture
def stand_ins(monkeypatch):
    """Let runs be small programs, which score best where the rate is 0.001 and fail where it is above 0.05.

    Those that are held stay at 80 frames until they are told to stop.
    """

    def choose(*held):
        def command(words, wandb):
            run = words[words.index("--folder" if "--folder" in words else "--resume") + 1]
            kind = "held" if Path(run).name in held else "free"
            return [sys.executable, "-I", "-S", "-c", STAND_IN, run, kind, "\n".join(words[1:-3])]

        monkeypatch.setattr(trials, "command_line", command)

    monkeypatch.setattr(launch, "_POLL", 0.01)
    frames = lambda folder: int(folder.checkpoint.read_text()) if folder.checkpoint.exists() else 0  # noqa: E731
    monkeypatch.setattr(Folder, "frames_saved", frames)
    choose()
    return choose


def words(count, high="1e-2", **more):
    return SearchWords("happo", TINY, (f"{RATE}=log:1e-5:{high}", f"{EPOCHS}=int:1:3"), count, **more)


def params(found):
    return [each.params for each in found.study.get_trials()]


def counts(found):
    return [len(found.trials(state)) for state in ("COMPLETE", "PRUNED", "RUNNING", "FAIL")]


def written(folder, number):
    return (folder.run(number) / "metrics.csv").stat().st_mtime_ns


def stop_when(monkeypatch, so):
    """Send this process Ctrl-C at the first look at which something is so."""
    update, sent = SeedsBoard.update, []

    def look(board, running):
        update(board, running)
        if not sent and so(running):
            sent.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(SeedsBoard, "update", look)


# ----- to the end


def test_a_search_finds_the_rate_and_its_trials_are_runs(stand_ins, tmp_path, capsys):
    found = search(words(20, prune="none"), tmp_path / "found", RunPlace(at_once=1))
    assert counts(found) == [20, 0, 0, 0]
    assert 3e-4 < found.best.params[RATE] < 3e-3
    assert found.best.value == max(each.value for each in found.study.get_trials())
    run = Folder(tmp_path / "found" / f"trial{found.best.number}")
    assert run.frames_saved() == 360 and read(run.metrics)[-1]["eval/return"] == found.best.value
    assert list(found.best.intermediate_values) == list(range(40, 361, 40))
    values = [each.value for each in found.study.get_trials()]
    assert median(values[10:]) > median(values[:10])  # ten are drawn at random, the others near what was good
    printed = capsys.readouterr().out
    assert printed.count("  done  360 frames  return 1  eval/return") == 20 and "trial 3 lr=" in printed


def test_pruned_trials_stop_with_a_checkpoint(stand_ins, tmp_path, capsys):
    lagging = (1, 3, 4, 5, 6, 7)  # behind the best, from the third on behind the best third
    stand_ins(*(f"trial{number}" for number in lagging))
    found = search(words(8), tmp_path / "found", RunPlace(at_once=1))
    assert [each.number for each in found.trials("PRUNED")] == list(lagging) and counts(found) == [2, 6, 0, 0]
    for each in found.trials("PRUNED"):
        assert Folder(found.folder.run(each.number)).frames_saved() == 80 and each.value < found.best.value
    assert capsys.readouterr().out.count("  pruned  80 frames") == 6
    with pytest.raises(RunError, match=r"all 8 trials in .*/found have ended; add some with --trials above that\.$"):
        resume_search(tmp_path / "found")


def test_with_median_the_first_five_are_whole(stand_ins, tmp_path):
    stand_ins("trial5", "trial7")
    found = search(words(8, prune="median"), tmp_path / "found", RunPlace(at_once=1))
    states = [each.state.name for each in found.study.get_trials()]
    assert states[:5] == ["COMPLETE"] * 5 and states[5] == states[7] == "PRUNED" and states[6] == "COMPLETE"


def test_less_is_better_where_it_is_said(stand_ins, tmp_path):
    found = search(words(4, prune="none", minimize=True), tmp_path / "found", RunPlace(at_once=2))
    assert found.best.value == min(each.value for each in found.study.get_trials())


def test_failures_are_told_and_others_take_their_place(stand_ins, tmp_path, capsys):
    found = search(words(6, "1e1", prune="none"), tmp_path / "found", RunPlace(at_once=2))
    done, _, _, failed = counts(found)
    assert failed >= 1 and done + failed == 6
    assert found.failures == {"error a loss became NaN": [each.number for each in found.trials("FAIL")]}
    assert "  a line\n  error a loss became NaN\n" in capsys.readouterr().out
    before = [each.number for each in found.trials("COMPLETE")]
    again = resume_search(tmp_path / "found", place=RunPlace(at_once=2))
    assert len(again.study.get_trials()) == 6 + failed
    assert [each.number for each in again.trials("COMPLETE")][:done] == before


def test_a_recipe_between_the_ends_that_does_not_link_fails_alone(stand_ins, tmp_path, capsys):
    asked = SearchWords("happo", TINY, (f"{RATE}=1e-4:1e-3", "data.frames=int:40:44"), 5, prune="none")
    found = search(asked, tmp_path / "found", RunPlace(at_once=1))
    bad = [each for each in found.study.get_trials() if each.params["data.frames"] % 4]
    assert bad and found.trials("FAIL") == bad and len(found.trials("COMPLETE")) == 5 - len(bad)
    assert "data.frames" in bad[0].user_attrs["said"] and "  failed  data.frames" in capsys.readouterr().out


def test_jobs_of_submitit(stand_ins, tmp_path):
    pytest.importorskip("submitit")
    found = search(words(2, prune="none"), tmp_path / "found", RunPlace("submitit-local", at_once=2))
    assert counts(found) == [2, 0, 0, 0]


def test_on_a_terminal_what_has_ended_leaves_the_board_as_a_line(tmp_path):
    told = io.StringIO()
    with SeedsBoard(Console(file=told, force_terminal=True, width=100), {}, {}, folds=True) as board:
        for number in (0, 1):
            board.add(f"trial {number}", tmp_path / f"trial{number}", 80)
        (tmp_path / "trial0").mkdir()
        (tmp_path / "trial0" / "metrics.csv").write_text("frames,return\n80,2.5\n")
        board.end("trial 0", lambda finished: "done" if finished else "stopped")
        assert told.getvalue().count("trial 0  done  80 frames  return 2.5") == 1
        told.truncate(0)
    last = told.getvalue()
    assert "trial 1" in last and "waiting" in last and "trial 0" not in last


# ----- cut off and continued


def test_twelve_trials_cut_off_go_on_as_if_they_had_not_been(stand_ins, tmp_path, monkeypatch):
    whole = search(words(12, prune="none"), tmp_path / "whole", RunPlace(at_once=1))
    stand_ins("trial5")
    with monkeypatch.context() as patch:
        sixth = Folder(tmp_path / "cut" / "trial5")
        stop_when(patch, lambda running: sixth.frames_saved() == 80)
        cut = search(words(12, prune="none"), tmp_path / "cut", RunPlace(at_once=1))
    assert counts(cut) == [5, 0, 1, 0]
    before = {each.number: written(cut.folder, each.number) for each in cut.trials("COMPLETE")}
    stand_ins()
    again = resume_search(tmp_path / "cut", place=RunPlace(at_once=1))
    assert counts(again) == [12, 0, 0, 0] and params(again) == params(whole)
    assert [each.values for each in again.study.get_trials()] == [each.values for each in whole.study.get_trials()]
    assert before == {number: written(again.folder, number) for number in before}  # what was whole is not run twice
    begun = [(again.folder.run(number).with_suffix(".log")).read_text().split("\n")[:-1] for number in range(12)]
    assert begun[:5] + begun[6:] == [["from 0"]] * 11 and begun[5] == ["from 0", "from 80"]


@pytest.mark.parametrize(
    ("prune", "state", "log"), [("none", "COMPLETE", "from 0\nfrom 80\n"), ("halving", "PRUNED", "from 0\n")]
)
def test_a_killed_search_is_told_from_its_folders(prune, state, log, stand_ins, tmp_path, monkeypatch):
    """Killed before it could tell of one that ended and one that had come half way, while it wrote a line."""
    with monkeypatch.context() as patch:
        patch.setattr(trials.Trials, "look", lambda *given: None)  # nobody is told
        search(words(2, prune=prune), tmp_path / "found", RunPlace(at_once=1))
    folder = SearchFolder(tmp_path / "found")
    half = Folder(folder.run(1))
    half.checkpoint.write_text("80")
    half.metrics.write_text("".join(half.metrics.read_text().splitlines(keepends=True)[:4]))
    with folder.journal.open("a") as file:
        file.write('{"op_code":6,"worker_')
    assert counts(Found.of(folder)) == [0, 0, 2, 0]
    found = resume_search(tmp_path / "found", trials=3, place=RunPlace(at_once=1))
    first, second, _ = found.study.get_trials()
    assert first.state.name == "COMPLETE" and list(first.intermediate_values) == list(range(40, 361, 40))
    assert second.state.name == state and list(second.intermediate_values)[:2] == [40, 80]
    assert not found.trials("RUNNING")
    logs = [folder.run(number).with_suffix(".log").read_text() for number in (0, 1)]
    assert logs == ["from 0\n", log]  # of what lags behind the first one nothing is started


def test_a_search_killed_before_its_first_trial_begins_again(stand_ins, tmp_path, monkeypatch):
    for nothing in ("no journal", "an empty one"):
        path = tmp_path / nothing
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("hetrl.search.search.begun_study", Mock(side_effect=KeyboardInterrupt))
            search(words(2, prune="none"), path, RunPlace(at_once=2))
        if nothing == "an empty one":
            (path / "journal.log").touch()
            with pytest.raises(RunError, match=r"^no trial has been begun in .*one; hetrl search --resume .*one\.$"):
                Found.of(SearchFolder(path))
        assert counts(resume_search(path, place=RunPlace(at_once=2))) == [2, 0, 0, 0]


def test_more_trials_may_be_asked_for_again_and_again(stand_ins, tmp_path):
    found = search(words(2, prune="none"), tmp_path / "found", RunPlace(at_once=2))
    for count in (3, 5):
        before = params(found)
        found = resume_search(tmp_path / "found", trials=count, place=RunPlace(at_once=2))
        assert counts(found) == [count, 0, 0, 0] and params(found)[: len(before)] == before
    assert json.loads((tmp_path / "found" / "search.json").read_text())["trials"] == 5


# ----- refused


def test_what_does_not_link_at_the_ends_is_named_and_nothing_is_written(tmp_path):
    bad = SearchWords("happo", TINY, (f"{RATE}=log:1e-4:1e-3", "update.actors.steps.clipped_surrogate.clp=0.1:0.3"), 3)
    with pytest.raises(RecipeError, match=r"^4 of 4 combinations .* nothing was started\. .* 'clp'\. Nearest: 'clip'"):
        search(bad, tmp_path / "found")
    with pytest.raises(RecipeError, match=r"epochs must be a whole number above 0, not 1\.0"):
        search(SearchWords("happo", TINY, (f"{EPOCHS}=1:3",), 3), tmp_path / "found")
    with pytest.raises(RecipeError, match=r"'run\.seed' is varied twice"):
        search(SearchWords("happo", TINY, ("run.seed=1,2", "run.seed=3,4"), 3), tmp_path / "found")
    with pytest.raises(RecipeError, match=r"^--metric eval/return: run\.eval_every is null, so nothing is evaluated"):
        search(SearchWords("happo", (*TINY, "run.eval_every=null"), ("run.seed=1,2",), 3), tmp_path / "found")
    with pytest.raises(RunError, match=r"--at-once 8: what has ended teaches the next"):
        search(words(3), tmp_path / "found", RunPlace("slurm", {"time": 5}))
    assert not list(tmp_path.iterdir())


def test_a_misspelt_metric_ends_it_at_the_first_evaluation(stand_ins, tmp_path):
    stand_ins("trial0")
    with pytest.raises(RunError, match=r"^--metric eval/retrun: .*/trial0 does not log it\. Nearest: 'eval/return'\."):
        search(words(5, metric="eval/retrun"), tmp_path / "found", RunPlace(at_once=1))
    assert Folder(tmp_path / "found" / "trial0").frames_saved() < 360
    assert not (tmp_path / "found" / "trial1").exists()


def test_folders_that_are_taken_or_no_search(stand_ins, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match=r"mine exists and is no search; choose another --folder\.$"):
        search(words(2), tmp_path / "mine")
    with pytest.raises(RunError, match=r"mine is no search \(it has no search\.json\)\.$"):
        resume_search(tmp_path / "mine")
    search(words(1, prune="none"), tmp_path / "found", RunPlace(at_once=1))
    with pytest.raises(RunError, match=r"holds a search already; go on with hetrl search --resume .*/found, or choose"):
        search(words(2), tmp_path / "found")
    (tmp_path / "found" / "journal.log").write_text("what\nis this\n")
    with pytest.raises(RunError, match=r"journal\.log is no journal of Optuna's"):
        resume_search(tmp_path / "found")
    (tmp_path / "found" / "search.json").write_text('{"recipe": ')
    with pytest.raises(RunError, match=r"search\.json does not hold what hetrl wrote"):
        resume_search(tmp_path / "found")


def test_a_missing_package_is_named(stand_ins, monkeypatch, tmp_path):
    found = search(words(6, prune="none"), tmp_path / "found", RunPlace(at_once=2))
    with (
        monkeypatch.context() as patch,
        pytest.raises(DependencyError, match=r"^importances need scikit-learn: "),
    ):
        patch.setitem(sys.modules, "sklearn", None)
        found.importances()
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(DependencyError, match=r"^hetrl search needs Optuna: pip install 'hetrl\[search\]'\.$"):
        search(words(2), tmp_path / "other")
    assert not (tmp_path / "other").exists()


# ----- what was found


@pytest.fixture
def ask(monkeypatch, capsys, tmp_path):
    """Return a function that calls ``hetrl search`` and returns the exit code and what it printed, out and err."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["hetrl", "search", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out, printed.err

    return run


def test_best_prints_words_for_train_and_draws(stand_ins, ask, tmp_path):
    given = ["happo", *TINY, "--vary", f"{RATE}=log:1e-5:1e-2", "--vary", f"{EPOCHS}=int:1:3", "--prune", "none"]
    code, out, _ = ask(*given, "--trials", "4", "--folder", "found", "--at-once", "2")
    assert code == 0 and "Trials: 4 done." in out and "  hetrl search found --best\n" in out
    best = Found.of(SearchFolder(tmp_path / "found")).best
    code, out, err = ask("found", "--best")
    quoted = " ".join(f"'{word}'" if any(letter in word for letter in "[{") else word for word in TINY)
    assert code == 0
    assert out == f"happo {quoted} {RATE}={best.params[RATE]} {EPOCHS}={best.params[EPOCHS]}\n"
    assert f"The best of 4 is trial {best.number}: eval/return {best.value:.4g}." in err
    assert "No picture: 4 trials have trained to the end, and importances need 6; more with --trials" in err
    assert not (tmp_path / "found" / "importances.png").exists()
    code, out, _ = ask("--resume", "found", "--trials", "12", "--at-once", "2")
    assert code == 0 and "Trials: 12 done." in out
    code, _, err = ask("found", "--best")
    assert code == 0 and "found/importances.png" in err
    assert (tmp_path / "found" / "importances.png").read_bytes()[:4] == b"\x89PNG"
    importances = Found.of(SearchFolder(tmp_path / "found")).importances()
    assert next(iter(importances)) == RATE and importances[RATE] > 0.8  # the epochs change nothing
    assert sum(importances.values()) == pytest.approx(1)


def test_where_all_are_alike_no_word_matters(stand_ins, tmp_path):
    found = search(words(6, prune="none", metric="return"), tmp_path / "found", RunPlace(at_once=2))
    with pytest.raises(RunError, match=r"^what was varied makes no difference to the return of 6 trials\.$"):
        found.importances()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "say which recipe to search for"),
        (["happo"], "say what to search for, --vary update.actors.optim.lr=log:1e-4:1e-3"),
        (["happo", "--vary", "run.seed=1,2"], "say how many trials there shall be, --trials 50."),
        (["happo", "--vary", "run.seed=1,2", "--trials", "2", "--prune", "medain"], "Nearest: 'median'."),
        (["hapo", "--vary", "run.seed=1,2", "--trials", "2"], "Nearest: 'happo'."),
        (["--best"], "say which search to ask, hetrl search FOLDER --best."),
        (["x", "--best", "--trials", "3"], "--best asks a search; leave out --trials."),
        (["x", "--best"], "x is no search"),
        (["--resume", "x", "--vary", "a=1:2"], "--resume goes on with the search as it is; leave out --vary."),
        (["happo", "--resume", "x"], "leave out a recipe."),
        (["--resume", "x", "--slurm", "time=4"], "--slurm goes with --on slurm."),
    ],
)
def test_what_the_command_line_refuses(ask, given, said, tmp_path):
    code, _, err = ask(*given)
    assert code == 2 and said in err and not list(tmp_path.iterdir())


# ----- real runs


@pytest.mark.slow
def test_twelve_real_trials_killed_and_resumed(tmp_path):
    command = [sys.executable, "-m", "hetrl", "search"]
    vary = ["--vary", f"{RATE}=log:1e-4:1e-1", "--vary", f"{EPOCHS}=int:1:3", "--trials", "12", "--folder", "found"]
    killed = subprocess.Popen([*command, "happo", *TINY, *vary], cwd=tmp_path, stdout=subprocess.DEVNULL)
    folder = SearchFolder(tmp_path / "found")

    def ended():
        found = Found.of(folder) if folder.journal.exists() and folder.journal.stat().st_size else None
        return [] if found is None else [each.number for each in found.study.get_trials() if each.state.is_finished()]

    until = time.monotonic() + 900
    while len(ended()) < 4:
        assert killed.poll() is None and time.monotonic() < until
        time.sleep(0.2)
    killed.kill()
    killed.wait()
    before = {number: written(folder, number) for number in ended()}
    while any((folder.run(number) / ".lock").exists() for number in range(12)):  # they save and end
        time.sleep(0.2)
    done = subprocess.run([*command, "--resume", "found"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Trials: " in done.stdout
    found = Found.of(folder)
    assert [each.number for each in found.study.get_trials()] == list(range(12))
    assert len(found.trials("COMPLETE")) + len(found.trials("PRUNED")) == 12
    assert before == {number: written(folder, number) for number in before}
    pruned = [Folder(folder.run(each.number)) for each in found.trials("PRUNED")]
    assert pruned and all(0 < run.frames_saved() < 360 for run in pruned)
    subprocess.run([*command[:-1], "train", "--resume", str(pruned[0].path)], cwd=tmp_path, check=True)
    assert pruned[0].frames_saved() == 360  # it is a run like any other
    best = subprocess.run([*command, "found", "--best"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert best.stdout.startswith("happo ") and f"{RATE}=" in best.stdout
