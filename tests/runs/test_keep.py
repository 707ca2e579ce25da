"""Checkpoints that stay beside the last one: the best evaluations', and one after every so many frames."""

import pytest

import hetrl
from hetrl.errors import RecipeError, RunError
from hetrl.recipe.keep import Keep
from hetrl.runs import run as runs
from hetrl.runs.csv_table import read

TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=400", "run.eval_every=80", "run.n_eval_episodes=3", "run.device=cpu",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, Keep()),
        ("best", Keep(best=1)),
        ("best:3", Keep(best=3)),
        ("every:1e5", Keep(every=100_000)),
        ("every:500,best", Keep(1, 500)),
        ("best:2, every:1e3", Keep(2, 1000)),
    ],
)
def test_how_it_is_written(text, expected):
    assert Keep.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "best:0", "best:1.5", "every", "every:x", "every:inf", "best,best", "worst", "best:"]
)
def test_what_it_does_not_say(text):
    with pytest.raises(RecipeError, match=r"^run.keep says best, best:3 \(the three best evaluations\), every:1e5 "):
        Keep.parse(text)


def test_the_best_needs_evaluations():
    with pytest.raises(RecipeError, match=r"^run.keep: the best of what\? Say run.eval_every=\.\.\. as well\.$"):
        hetrl.load("happo", *TINY, "run.keep=best", "run.eval_every=null")
    assert hetrl.load("happo", *TINY, "run.keep=every:80", "run.eval_every=null").run.keep == "every:80"


def kept(folder):
    return {path.name for path in folder.checkpoint.parent.iterdir()} - {"last.ckpt", "previous.ckpt"}


def scores(folder):
    return {int(row["frames"]): row["eval/return"] for row in read(folder.metrics)[1:] if "eval/return" in row}


def test_the_best_and_every_so_many_frames_stay(tmp_path):
    folder = runs.train(hetrl.load("happo", *TINY, "run.keep=best:2,every:150"), tmp_path / "run", quiet=True)
    found = scores(folder)
    ranked = sorted(found, key=lambda frames: (-found[frames], frames))
    assert kept(folder) == {
        *(f"best-{frames}.ckpt" for frames in ranked[:2]), "frames-160.ckpt", "frames-320.ckpt",
    }  # fmt: skip
    assert folder.load_checkpoint("best")["hetrl"]["frames"] == ranked[0]
    for name in ("160", "frames-160", "frames-160.ckpt"):
        assert folder.load_checkpoint(name)["hetrl"]["frames"] == 160
    assert folder.named("last") == folder.checkpoint
    with pytest.raises(RunError, match=r"run has no checkpoint 'besst'\."):
        folder.load_checkpoint("besst")
    with pytest.raises(RunError, match=r"run has no checkpoint '\.\./last'\."):
        folder.load_checkpoint("../last")


def test_a_run_that_is_resumed_keeps_what_an_uninterrupted_one_does(tmp_path):
    whole = runs.train(hetrl.load("happo", *TINY, "run.keep=best:2"), tmp_path / "whole", quiet=True)
    half = runs.train(hetrl.load("happo", *TINY, "run.keep=best:2", "run.frames=240"), tmp_path / "half", quiet=True)
    runs.resume(half.path, "run.frames=400", quiet=True)
    assert kept(half) == kept(whole) and scores(half) == scores(whole)


def test_a_run_goes_on_from_what_was_kept(tmp_path):
    """With the rows up to there, and to where it was before, bit for bit."""
    folder = runs.train(hetrl.load("happo", *TINY, "run.keep=every:160"), tmp_path / "run", quiet=True)
    before, rows = folder.load_checkpoint()["state_dict"], read(folder.metrics)
    runs.resume(folder.path, checkpoint="160", quiet=True)
    after = folder.load_checkpoint()["state_dict"]
    assert read(folder.metrics) == rows and all((before[name] == after[name]).all() for name in before)


def test_without_it_there_is_no_best(tmp_path):
    folder = runs.train(hetrl.load("happo", *TINY, "run.frames=80"), tmp_path / "run", quiet=True)
    assert not kept(folder)
    with pytest.raises(RunError, match=r"run has kept no best checkpoint; train with run.keep=best \(--keep best\)\.$"):
        folder.load_checkpoint("best")
