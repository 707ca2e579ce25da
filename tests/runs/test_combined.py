"""Combinations in one folder: checked before anything is written, run together, continued where unfinished."""

import sys

import pytest

import hetrl
from hetrl import cli
from hetrl.errors import RecipeError, RunError
from hetrl.recipe.combinations import combinations
from hetrl.report import page
from hetrl.runs import launch, local, seeds
from hetrl.runs.combined import resume_combinations, train_combinations
from hetrl.runs.combined_folder import CombinedFolder
from hetrl.runs.folder import Folder
from hetrl.runs.launch import SeedProcess
from hetrl.runs.local import LocalProcesses
from hetrl.runs.several import flat, run_folders

TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=80", "run.eval_every=40", "run.n_eval_episodes=3", "run.device=cpu",
]  # fmt: skip
STAND_IN = """
import pathlib, sys
run = pathlib.Path(sys.argv[1])
(run / "recipe.yaml").write_text("x")
frames = 40 if run.parent.name.endswith("frames=40") else 80
(run / "metrics.csv").write_text(f"frames,return\\n{frames},2.5\\n")
if (run.parent.parent / "fails").exists() and run.parent.name.endswith("5e-4"):
    print("some line\\nerror the simulator fell over")
    sys.exit(1)
(run / "checkpoints").mkdir(exist_ok=True)
(run / "checkpoints" / "last.ckpt").write_text("80")
"""


@pytest.fixture
def stand_ins(monkeypatch):
    def command(words, wandb):
        return [
            sys.executable,
            "-c",
            STAND_IN,
            words[words.index("--folder" if "--folder" in words else "--resume") + 1],
        ]

    monkeypatch.setattr(seeds, "command_line", command)
    monkeypatch.setattr(launch, "_POLL", 0.01)
    frames = lambda folder: int(folder.checkpoint.read_text()) if folder.checkpoint.exists() else 0  # noqa: E731
    monkeypatch.setattr(Folder, "frames_saved", frames)


def rates():
    return combinations(["happo", "mappo"], TINY, [], ["update.actors.optim.lr=1e-4,5e-4"])


def test_combinations_are_folders_of_seeds_in_one(stand_ins, tmp_path, capsys):
    found = train_combinations(rates(), 2, tmp_path / "all", at_once=2)
    assert {name: each.done for name, each in found.each.items()} == {
        "happo_lr=1e-4": [0, 1], "happo_lr=5e-4": [0, 1], "mappo_lr=1e-4": [0, 1], "mappo_lr=5e-4": [0, 1],
    }  # fmt: skip
    assert "happo_lr=1e-4 seed 0  done  80 frames  return 2.5" in capsys.readouterr().out
    folder = CombinedFolder(tmp_path / "all")
    assert folder.about["mappo_lr=5e-4"] == "mappo, lr=5e-4"
    assert flat([tmp_path / "all"]) == [tmp_path / "all" / name for name in found.each]
    saved = hetrl.load(folder.combinations["mappo_lr=5e-4"].recipe)
    assert [phase["optim"]["lr"] for phase in saved.tree["update"] if phase["phase"] == "actors"] == [5e-4]
    with pytest.raises(RunError, match=r"^everything in .*/all is finished; add seeds with --seeds"):
        resume_combinations(tmp_path / "all", "run.eval_every=20")
    with pytest.raises(RecipeError, match=r"of several runs each is one process"):
        resume_combinations(tmp_path / "all", "run.devices=2", count=3)
    assert hetrl.load(folder.combinations["mappo_lr=5e-4"].recipe) == saved  # what was refused has written nothing
    assert list(folder.combinations["mappo_lr=5e-4"].runs) == [0, 1]
    with pytest.raises(RunError, match=r"holds seeds already"):
        train_combinations(rates(), 2, tmp_path / "all")
    assert resume_combinations(tmp_path / "all", count=3).each["mappo_lr=1e-4"].done == [0, 1, 2]
    with pytest.raises(RunError, match=r"all holds combinations; name a run in it, as in .*all/happo_lr=1e-4"):
        page.write(tmp_path / "all", tmp_path / "page.html")


def test_only_what_failed_is_started_again(stand_ins, tmp_path, capsys):
    other, original = tmp_path / "all", CombinedFolder.write

    def marks(self, about):
        original(self, about)
        (self.path / "fails").touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CombinedFolder, "write", marks)
        found = train_combinations(rates()[:2], 1, other)
    assert found.each["happo_lr=1e-4"].done == [0] and found.each["happo_lr=5e-4"].failed
    printed = capsys.readouterr().out
    assert "  some line\n  error the simulator fell over\n" in printed
    with pytest.raises(RunError, match=r"^happo_lr=5e-4: 1 of 1 seeds failed \(0: error the simulator fell over\)"):
        found.refuse_failures()
    (other / "fails").unlink()
    before = (other / "happo_lr=1e-4" / "seed0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    again = resume_combinations(other)
    again.refuse_failures()
    assert again.each["happo_lr=5e-4"].done == [0]
    assert (other / "happo_lr=1e-4" / "seed0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


def test_all_that_cannot_be_trained_are_named_and_nothing_is_written(tmp_path):
    bad = combinations(["happo"], TINY, [], ["data.frames=40,-1,40.5"])
    with pytest.raises(RecipeError) as error:
        train_combinations(bad, 1, tmp_path / "all")
    said = str(error.value)
    assert said.startswith("2 of 3 combinations cannot be trained, and nothing was started. happo, frames=-1: ")
    assert " happo, frames=40.5: " in said and "frames=40:" not in said
    assert not list(tmp_path.iterdir())


def test_each_is_done_after_its_own_frames(stand_ins, tmp_path, capsys):
    several = combinations(["happo"], TINY[:-4] + TINY[-3:], [], ["run.frames=40,80"])
    found = train_combinations(several, 1, tmp_path / "all", at_once=1)
    assert all(each.done == [0] for each in found.each.values())
    assert "frames=40 seed 0  done  40 frames" in capsys.readouterr().out
    (tmp_path / "all" / "happo_frames=80" / "seed0" / "checkpoints" / "last.ckpt").write_text("40")
    again = resume_combinations(tmp_path / "all")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["happo_frames=80"]
    assert again.each["happo_frames=80"].done == [0]


def test_another_folder_and_a_damaged_table_are_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match=r"mine exists and is no folder of combinations; choose another --folder\.$"):
        train_combinations(rates(), 1, tmp_path / "mine")
    for text in ("a line\n", "../../home\tx\n"):
        (tmp_path / "mine" / "combinations.txt").write_text(text)
        with pytest.raises(RunError, match=r"has a line that is not 'folder, tab, what it is'"):
            run_folders([tmp_path / "mine"])


def refused(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["hetrl", "train", *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    return " ".join(capsys.readouterr().err.split())


def test_what_does_not_go_together_is_refused(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    ask = lambda *words: refused(monkeypatch, capsys, *words)  # noqa: E731
    assert "--on and --slurm go with --seeds, several recipes, --task or --vary." in ask("happo", "--on", "slurm")
    assert "--on slrum: there is local, slurm, submitit-local." in ask("happo", "--seeds", "2", "--on", "slrum")
    assert "--slurm goes with --on slurm." in ask("happo", "--seeds", "2", "--slurm", "time=5")
    assert "--slurm time: write partition=gpu,time=240." in ask("happo", "--seeds", "2", "--slurm", "time")
    words = ["happo", "--seeds", "2", "--on", "slurm", "--slurm", "partition=gpu"]
    assert "say how many minutes a job may take, --slurm time=240" in ask(*words)
    assert "--task and --vary do not go with --resume" in ask("--resume", "x", "--task", "balance")
    assert "--init goes with one recipe on one task" in ask("happo", "mappo", "--init", "x")
    assert "no recipe 'hapo' is shipped" in ask("happo", "hapo")
    assert not list(tmp_path.iterdir())


def test_gpus_are_dealt_out_and_it_is_said(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(local, "visible_gpus", lambda: ["2", "5"])
    monkeypatch.setattr(local, "n_cores", lambda: 16)
    assert LocalProcesses(1, None, False).at_once == 16
    here = LocalProcesses(1, None, True)
    assert here.at_once == 2
    assert here.gpus.about(2) == "2 GPUs: at most 1 run on each at once, 2 in all (--at-once sets how many)."
    assert here.gpus.about(5) == "2 GPUs: at most 3 runs on each at once, 5 in all (--at-once sets how many)."
    prints = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); import time; time.sleep({})"
    processes = []
    for number, seconds in enumerate((60, 0, 60)):
        (tmp_path / f"seed{number}").mkdir()
        each = SeedProcess(number, tmp_path / f"seed{number}", [sys.executable, "-c", prints.format(seconds)])
        here.start(each)
        processes.append(each)
        while not each.last_words() or (not seconds and not each.ended):
            pass
    for each in processes:
        each.interrupt(at_once=True)
        each.process.wait()
    assert [each.last_words() for each in processes] == ["2", "5", "5"]  # the second had ended
