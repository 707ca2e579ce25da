"""Several seeds side by side: none is lost with another, none goes on alone, nothing is overwritten."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import hetrl
from hetrl.errors import RecipeError, RunError
from hetrl.runs import launch, seeds
from hetrl.runs.board import GrowingTable, SeedsBoard
from hetrl.runs.csv_table import read
from hetrl.runs.folder import Folder, default_folder
from hetrl.runs.run import train
from hetrl.runs.seeds import Outcome, resume_seeds, train_seeds
from hetrl.runs.seeds_folder import SeedsFolder

TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=80", "run.eval_every=40", "run.n_eval_episodes=3", "run.device=cpu",
]  # fmt: skip
# Lightning's advice for other kinds of training: a short epoch.
pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")

STAND_IN = """
import pathlib, signal, sys, time
run, what = pathlib.Path(sys.argv[1]), sys.argv[2]
run.mkdir(exist_ok=True)
rows = ["frames,return", "40,1.5"]
if what == "waits":
    signal.signal(signal.SIGTERM, lambda *given: sys.exit(0))
    (run / "begun").touch()
    time.sleep(60)
if what == "fails":
    (run / "recipe.yaml").touch()
    print("error the simulator fell over")
    sys.exit(1)
(run / "metrics.csv").write_text("\\n".join([*rows, "80,2.5", ""]))
(run / "checkpoints").mkdir()
(run / "checkpoints" / "last.ckpt").write_text("80")
"""


@pytest.fixture
def stand_ins(monkeypatch):
    """Let seeds be small programs: what each does is chosen by its number."""

    def choose(**what):
        def command(words, wandb):
            run = words[words.index("--folder" if "--folder" in words else "--resume") + 1]
            return [sys.executable, "-c", STAND_IN, run, what.get(os.path.basename(run), "ends")]  # noqa: PTH119

        monkeypatch.setattr(seeds, "command_line", command)
        monkeypatch.setattr(launch, "_POLL", 0.01)

        def frames(folder):
            return int(folder.checkpoint.read_text()) if folder.checkpoint.exists() else 0

        monkeypatch.setattr(Folder, "frames_saved", frames)

    return choose


def test_seeds_lie_side_by_side(stand_ins, tmp_path, capsys):
    stand_ins()
    outcome = train_seeds(hetrl.load("happo", *TINY, "run.seed=3"), 3, tmp_path / "runs", at_once=2)
    assert outcome.done == [3, 4, 5] and not outcome.stopped and not outcome.failed
    assert [path.name for path in SeedsFolder(tmp_path / "runs").runs.values()] == ["seed3", "seed4", "seed5"]
    assert hetrl.load(tmp_path / "runs" / "seeds.yaml").run.seed == 3
    lines = [line for line in capsys.readouterr().out.splitlines() if "done" in line]
    assert sorted(lines) == [f"seed {seed}  done  80 frames  return 2.5" for seed in (3, 4, 5)]


def test_a_failing_seed_does_not_lose_the_others(stand_ins, tmp_path, capsys):
    stand_ins(seed1="fails")
    outcome = train_seeds(hetrl.load("happo", *TINY), 3, tmp_path / "runs", at_once=1)
    assert outcome.done == [0, 2] and outcome.failed == {1: "error the simulator fell over"}
    assert "seed 1  failed" in capsys.readouterr().out
    message = r"^1 of 3 seeds failed \(1: error the simulator fell over\)\. What they printed is in .*/seed\*\.log\.$"
    with pytest.raises(RunError, match=message):
        outcome.refuse_failures()
    stand_ins()
    again = resume_seeds(tmp_path / "runs")
    assert again.done == [0, 1, 2]
    assert "seed 1 has no checkpoint and starts again." in capsys.readouterr().out
    again.refuse_failures()


def test_what_a_seed_without_a_checkpoint_had_is_kept(stand_ins, tmp_path, capsys):
    stand_ins(seed0="fails")
    runs = tmp_path / "runs"
    train_seeds(hetrl.load("happo", *TINY), 2, runs)
    for kept in ("seed0.old", "seed0.old2"):
        (runs / "seed0" / "thesis.tex").write_text(kept)
        assert resume_seeds(runs).failed and (runs / kept / "thesis.tex").read_text() == kept
        assert f"starts again. What it had is kept in {runs}/{kept}." in capsys.readouterr().out
    assert list(SeedsFolder(runs).runs) == [0, 1]


def test_a_crash_before_a_stop_is_a_failure(stand_ins, tmp_path, monkeypatch, capsys):
    stand_ins(seed0="fails", seed1="waits")
    end = SeedsBoard.end

    def stop_after(board, seed, ending):
        end(board, seed, ending)
        if seed == 0:
            while not (tmp_path / "runs" / "seed1" / "begun").exists():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(SeedsBoard, "end", stop_after)
    outcome = train_seeds(hetrl.load("happo", *TINY), 3, tmp_path / "runs", at_once=2)
    assert outcome.failed == {0: "error the simulator fell over"} and outcome.stopped == [1, 2]
    printed = capsys.readouterr().out
    assert "seed 0  failed" in printed and "seed 1  stopped" in printed


def test_a_stop_reaches_every_seed_once_and_starts_no_more(stand_ins, tmp_path):
    stand_ins(seed0="waits", seed1="waits")
    begun = [tmp_path / "runs" / name / "begun" for name in ("seed0", "seed1")]

    def stop():
        while not all(path.exists() for path in begun):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop, daemon=True).start()
    previous = signal.getsignal(signal.SIGINT)
    outcome = train_seeds(hetrl.load("happo", *TINY), 3, tmp_path / "runs", at_once=2)
    assert outcome.stopped == [0, 1, 2] and not outcome.failed and not outcome.done
    assert not list((tmp_path / "runs" / "seed2").iterdir())
    assert signal.getsignal(signal.SIGINT) is previous


def test_refuses_what_is_there(stand_ins, tmp_path):
    stand_ins()
    recipe = hetrl.load("happo", *TINY)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match=r"mine exists and is no folder of seeds; choose another --folder\.$"):
        train_seeds(recipe, 2, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    with pytest.raises(RunError, match=r"mine is no folder of seeds \(it has no seeds\.yaml\)"):
        resume_seeds(tmp_path / "mine")
    train_seeds(recipe, 1, tmp_path / "runs")
    with pytest.raises(RunError, match=r"holds seeds already; continue them with --resume .*/runs, or choose another"):
        train_seeds(recipe, 1, tmp_path / "runs")
    with pytest.raises(RunError, match=r"^every seed in .*/runs is finished \(80 frames\); add some with --seeds"):
        resume_seeds(tmp_path / "runs")
    with pytest.raises(RunError, match=r"data\.frames is 40 there and 80 here"):
        resume_seeds(tmp_path / "runs", "data.frames=80")
    assert resume_seeds(tmp_path / "runs", count=2).done == [0, 1]


def test_a_recipe_that_does_not_link_writes_nothing(tmp_path):
    with pytest.raises(RecipeError, match="serves box actions"):
        train_seeds(hetrl.load("happo", *TINY, "nets.actor.use=net/gaussian_policy"), 2, tmp_path / "runs")
    assert not list(tmp_path.iterdir())


def test_several_runs_have_one_process_each(tmp_path):
    recipe = hetrl.load("happo", "run.devices=2")
    with pytest.raises(
        RecipeError, match=r"^run\.devices = 2 with run\.nodes = 1: of several runs each is one process;"
    ):
        train_seeds(recipe, 2, tmp_path / "seeds")
    assert not (tmp_path / "seeds").exists()


def test_seeds_go_on_in_one_process_each(stand_ins, tmp_path):
    train_seeds(hetrl.load("happo", *TINY), 1, tmp_path / "runs")
    with pytest.raises(RecipeError, match=r"^run\.devices = 2 .*: of several runs each is one process;"):
        resume_seeds(tmp_path / "runs", "run.devices=2", count=2)
    assert list(SeedsFolder(tmp_path / "runs").runs) == [0]


def test_seeds_have_a_folder_of_their_own_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    recipe = hetrl.load("happo", "run.seed=4")
    assert str(default_folder(recipe, seeds=True)) == "runs/happo_balance"
    (tmp_path / "runs" / "happo_balance").mkdir(parents=True)
    assert str(default_folder(recipe, seeds=True)) == "runs/happo_balance_2"
    assert str(default_folder(recipe)) == "runs/happo_balance_seed4"


def test_reasons_are_said_once():
    outcome = Outcome(SeedsFolder("runs/x"), done=[3], failed={0: "no GPU", 1: "no GPU", 2: ""})
    with pytest.raises(RunError, match=r"^3 of 4 seeds failed \(0, 1: no GPU; 2: no message\)\."):
        outcome.refuse_failures()


def test_a_growing_table_is_read_where_it_has_grown(tmp_path):
    path = tmp_path / "metrics.csv"
    table = GrowingTable(path)
    table.read()
    assert table.figures() == "starting"
    path.write_text("frames,eval/return\n0,1\n")
    table.read()
    assert table.figures() == "0 frames  eval/return 1"
    with path.open("a") as file:
        file.write("40,\n80,2\n120,7")  # the last one is not complete
    table.read()
    assert table.figures() == "80 frames  eval/return 2"
    rewritten = tmp_path / "metrics.part"
    rewritten.write_text("frames,eval/return,return\n0,1,\n40,,\n80,2,\n120,,5\n")
    rewritten.replace(path)
    table.read()
    assert table.figures() == "120 frames  return 5  eval/return 2"
    path.write_text("frames,eval/return,return\n0,1,3\n")  # cut back to a checkpoint
    table.read()
    assert table.figures() == "0 frames  return 3  eval/return 1"


def test_frames_come_from_the_checkpoint(tmp_path):
    assert Folder(tmp_path).frames_saved() == 0
    train(hetrl.load("happo", *TINY), tmp_path / "run", quiet=True)
    assert Folder(tmp_path / "run").frames_saved() == 80
    (tmp_path / "run" / "checkpoints" / "last.ckpt").write_text("no")
    with pytest.raises(RunError, match="cannot be read as a checkpoint"):
        Folder(tmp_path / "run").frames_saved()


def command(*words, **more):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-m", "hetrl.cli", "train", *words], env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, **more,
    )  # fmt: skip


@pytest.mark.slow
def test_a_seed_is_the_run_that_it_would_be_alone(tmp_path):
    child = command("happo", *TINY, "run.threads=1", "--seeds", "2", "--folder", "both", cwd=tmp_path)
    printed, _ = child.communicate(timeout=300)
    assert child.returncode == 0 and "Seeds: 2 done." in printed, printed
    assert (tmp_path / "both" / "curve.png").stat().st_size > 10_000
    train(hetrl.load("happo", *TINY, "run.threads=1", "run.seed=1"), tmp_path / "alone", quiet=True)
    assert read(tmp_path / "both" / "seed1" / "metrics.csv") == read(tmp_path / "alone" / "metrics.csv")
    assert read(tmp_path / "both" / "seed0" / "metrics.csv") != read(tmp_path / "alone" / "metrics.csv")


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_in_each_and_resume_goes_on(tmp_path):
    child = command("happo", *TINY, "run.frames=1000000", "--seeds", "3", "--at-once", "2", cwd=tmp_path)
    tables = [tmp_path / "runs" / "happo_tabular_game" / f"seed{seed}" / "metrics.csv" for seed in (0, 1)]
    while not all(path.exists() and len(read(path)) > 3 for path in tables):
        assert child.poll() is None
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    printed, _ = child.communicate(timeout=120)
    assert child.returncode == 0, printed
    assert "Seeds: 3 stopped." in printed and "hetrl train --resume runs/happo_tabular_game" in printed
    reached = [Folder(path.parent).frames_saved() for path in tables]
    assert reached == [read(path)[-1]["frames"] for path in tables] and min(reached) > 0
    frames = max(reached) + 40
    child = command("--resume", "runs/happo_tabular_game", f"run.frames={frames}", cwd=tmp_path)
    printed, _ = child.communicate(timeout=300)
    assert child.returncode == 0 and "Seeds: 3 done." in printed, printed
    assert [Folder(tables[0].parent.parent / f"seed{seed}").frames_saved() for seed in range(3)] == [frames] * 3
