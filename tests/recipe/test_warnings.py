"""What links and yet trains nothing, or is never looked at: one line each; and what cannot be cut is refused."""

import pytest

from hetrl import cli
from hetrl.errors import RecipeError
from hetrl.recipe.check import check
from hetrl.recipe.check.warnings import warnings_of
from hetrl.recipe.read import load
from hetrl.recipe.shipped import shipped

NAMES = [name for name in shipped() if not name.startswith("task/")]
ONE_ROW = ["task.n_envs=1", "data.frames=1", "update.actors.minibatches=1", "update.critic.minibatches=1"]


def lines(name, *overrides):
    recipe = load(name, *overrides)
    check(recipe)
    return warnings_of(recipe)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_recipes_have_none(name):
    assert lines(name) == []


@pytest.mark.parametrize(
    ("recipe", "overrides", "line"),
    [
        ("happo", ["update.critic.every=76"],
         "update.critic.every = 76: the run has 75 samples, so that the phase never runs; write a smaller one, or more "
         "run.frames."),
        ("hasac", ["update.critic.every=5851"],
         "update.critic.every = 5851: the run has 5850 samples, so that the phase never runs; write a smaller one, or "
         "more run.frames."),
        ("happo", ["update.actors.optim.lr=0"],
         "update.actors.optim.lr is 0 throughout: 'actor' never changes; write more, or drop the phase."),
        ("happo", ["update.critic.optim.lr={linear: [0, 0.0]}"],
         "update.critic.optim.lr is 0 throughout: 'value' never changes; write more, or drop the phase."),
        ("happo", ["update.critic.steps.huber_value.coef=0"],
         "update.critic: every loss has coef: 0: 'value' never changes; write more, or drop the phase."),
        ("hasac", ["data.warmup=100_000", "run.eval_every=null"],
         "data.warmup = 100000 is not below run.frames = 100000: the run is over before its first update, and nothing "
         "is trained; write more run.frames, or a shorter warm-up."),
        ("happo", ["run.frames=100", "run.eval_every=null"],
         "run.frames = 100 is less than one collection, data.frames = 6400: the run is that one."),
        ("hasac", ["run.frames=15", "data.warmup=0", "data.batch=16", "run.eval_every=null"],
         "run.frames = 15 is less than one collection, task.n_envs = 16: the run is that one."),
        ("happo", ONE_ROW,
         "data: a batch is one row, of which estimate/standardize makes an advantage of 0; the policies learn nothing "
         "from it. Write more data.frames."),
        ("hasac", ["nets.q.target.every=5851"],
         "nets.q.target.every = 5851: 'q' is trained 5850 times, so that its slow copy never moves; write a smaller "
         "one, or more run.frames."),
        ("happo", ["run.eval_every=480_001"],
         "run.eval_every = 480001 is beyond the run's 480000 frames: only the untrained policies are evaluated; write "
         "a smaller one, or null."),
        ("happo", ["run.checkpoint_every=1e6"],
         "run.checkpoint_every = 1000000 is beyond the run's 480000 frames: there is no checkpoint before its end; "
         "write a smaller one."),
    ],
)  # fmt: skip
def test_a_line_each(recipe, overrides, line):
    assert lines(recipe, *overrides) == [line]


@pytest.mark.parametrize(
    "overrides",
    [
        ["update.critic.every=75"],
        ["update.critic.optim.lr={linear: [5e-4, 0]}"],
        ["run.frames=6401", "run.eval_every=12_800"],  # it collects 12,800
        ["run.checkpoint_every=480_000"],
        ["nets.value.normalize=false", *ONE_ROW, "update.estimate.steps.standardize=null"],
    ],
)
def test_what_is_no_reason_for_one(overrides):
    assert lines("happo", *overrides) == []


@pytest.mark.parametrize(
    ("recipe", "override", "text"),
    [
        ("happo", "update.actors.minibatches=6401",
         "^update.actors.minibatches = 6401 is more than the 6400 rows of a batch; write at most 6400, or"),
        ("recurrent_happo", "update.critic.minibatches=193",
         "^update.critic.minibatches = 193 is more than the 192 chunks of 20 steps of a batch; write at most 192"),
        ("hasac", "update.actors.minibatches=257",
         "^update.actors.minibatches = 257 is more than the 256 rows of a batch; write at most 256"),
    ],
)  # fmt: skip
def test_more_minibatches_than_rows_are_refused(recipe, override, text):
    with pytest.raises(RecipeError, match=text):
        check(load(recipe, override))
    word, number = override.split("=")
    check(load(recipe, f"{word}={int(number) - 1}"))


def test_check_and_train_say_them(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    small = ["task.n_envs=2", "task.horizon=3", "data.frames=4", "nets.actor.hidden=[4]", "nets.value.hidden=[4]",
             "run.frames=8", "run.eval_every=null", "update.critic.every=3", "run.device=cpu"]  # fmt: skip
    warning = (
        "warning: update.critic.every = 3: the run has 2 samples, so that the phase never runs; write a smaller one, "
        "or more run.frames.\n"
    )
    for command in ("check", "train"):
        monkeypatch.setattr("sys.argv", ["hetrl", command, "happo", *small])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert not ended.value.code and printed.err == warning
        assert "warning" not in printed.out
