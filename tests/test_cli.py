"""The command line as a user meets it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from hetrl.runs.csv_table import read

TINY = [
    "task.n_envs=4", "task.horizon=7", "data.frames=40", "run.frames=120", "run.eval_every=80", "run.n_eval_episodes=3",
    "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "run.device=cpu",
]  # fmt: skip


def test_train_eval_plot_resume(hetrl, tmp_path):
    code, printed = hetrl("train", "happo", *TINY)
    assert code == 0
    run = tmp_path / "runs" / "happo_balance_seed0"
    for name in ("curve.png", "metrics.csv", "recipe.yaml", "versions.json", "checkpoints/last.ckpt"):
        assert (run / name).stat().st_size > 0
        assert name == "versions.json" or f"runs/happo_balance_seed0/{name}" in printed
    assert "Done: 120 frames" in printed
    assert {"frames", "return", "eval/return", "critic/value", "actors/agent_0/surrogate"} <= {
        name for row in read(run / "metrics.csv") for name in row
    }

    code, printed = hetrl("eval", str(run), "--episodes", "5")
    assert code == 0 and printed.startswith("5 episodes: return ")

    code, printed = hetrl("train", "--resume", str(run), "run.frames=160")
    assert code == 0 and "Done: 160 frames" in printed

    code, printed = hetrl("train", "happo", *TINY, "run.seed=1")
    code, printed = hetrl("plot", str(run), "runs/happo_balance_seed1", "--to", "both.png")
    assert code == 0 and (tmp_path / "both.png").stat().st_size > 10_000

    code, printed = hetrl("train", "happo", *TINY)
    assert code == 0 and "runs/happo_balance_seed0_2/" in printed  # never over an old run


def test_check_show_list_cp(hetrl, tmp_path):
    passes = "A run of 480,000 frames makes 75 passes over the phases, 6,400 rows each.\n"
    assert hetrl("check", "mappo") == (0, f"mappo: links. 3 phases, 13 steps, 3 agents.\n{passes}")
    code, printed = hetrl("check", "hasac", "task.n_envs=64")
    assert code == 0 and "A run of 100,032 frames makes 1,463 passes over the phases, 256 rows each." in printed
    code, printed = hetrl("show", "happo")
    assert code == 0 and "weight/importance_factor" in printed and "agent.observation [B, 16]" in printed
    code, printed = hetrl("list")
    assert code == 0 and "loss/clipped_surrogate" in printed and "\n  happo " in printed
    code, printed = hetrl("list", "scenario")
    assert code == 0 and "navigation" in printed and "lidar_range" in printed
    code, printed = hetrl("list", "vmas")
    assert code == 0 and "1 speaker: 3 -> continuous[5]; 1 listener: 11 -> continuous[2]" in printed
    code, printed = hetrl("list", "env")
    assert code == 0 and "env/cue_game" in printed and "hetrl list pettingzoo" in printed
    code, printed = hetrl("cp", "happo", "mine.yaml")
    assert code == 0 and (tmp_path / "mine.yaml").read_text().startswith("hetrl: 2")
    assert hetrl("check", "mine.yaml")[0] == 0
    code, printed = hetrl("cp", "happo", "mine.yaml")
    assert code == 2 and "mine.yaml exists" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "hapo"], "error no recipe 'hapo' is shipped, and there is no such file. Nearest: 'happo'."),
        (["train"], "error say which recipe to train"),
        (["check", "happo", "task.scenario=balence"], "no VMAS scenario 'balence'. Nearest: 'balance'."),
        (["check", "happo", "task.actions=discrete"], "net/gaussian_policy serves box actions, but agent"),
        (["train", "happo", "data.frames=100"], "data.frames = 100 must be a multiple of task.n_envs = 64"),
        (["list", "losses"], "no kind 'losses'. Nearest: 'loss'."),
        (["list", "petingzoo"], "no kind 'petingzoo'. Nearest: 'pettingzoo'."),
        (["eval", "nowhere"], "nowhere is no run"),
        (["plot", "nowhere"], "nowhere is no run"),
        (["train", "--resume", "nowhere"], "nowhere is no run"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(hetrl, tmp_path, words, message):
    code, printed = hetrl(*words)
    assert code == 2
    assert message in printed
    assert len(printed.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_taken_folder_is_refused_before_anything_is_written(hetrl, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    code, printed = hetrl("train", "happo", *TINY, "--folder", "mine")
    assert code == 2 and "mine exists and is no run" in printed
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-m", "hetrl.cli", "train", "happo", *TINY, "run.frames=1000000"],
        cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    metrics = tmp_path / "runs" / "happo_balance_seed0" / "metrics.csv"
    while not metrics.exists() or len(read(metrics)) < 4:
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    printed, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert "hetrl train --resume runs/happo_balance_seed0" in printed
    frames = int(printed.split("Stopped after ")[1].split()[0].replace(",", ""))
    assert frames == read(metrics)[-1]["frames"]
    assert (metrics.parent / "checkpoints" / "last.ckpt").exists()
