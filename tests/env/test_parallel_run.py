"""Runs in somebody's environments: what is made is closed, what does not repeat begins afresh, errors arrive whole."""

import lightning as L
import numpy as np
import pytest
import torch
from env.stepped import play
from env.worlds import Living, made, recipe, varied

import hetrl
from hetrl.engine.task import team_of
from hetrl.errors import DivergenceError, RunError
from hetrl.runs.run import evaluate_run, resume, train

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*smaller than the logging interval.*", "ignore:.*no pre-optimization state.*"
)


def trainer(**words):
    return L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, max_epochs=-1, **words
    )


def opened(cls):
    return [each for each in cls.made if not each.closed]


# ----- closing


def test_everything_that_a_run_makes_is_closed(tmp_path, monkeypatch):
    """Checked, trained with three evaluations, continued, evaluated: four for training, two for evaluation."""
    cls = varied()
    made_of = recipe(monkeypatch, cls, "run.eval_every=40")
    hetrl.check(made_of, team_of(made_of))
    assert cls.made and not opened(cls)
    cls.made.clear()
    folder = train(made_of, tmp_path / "run", quiet=True)
    # One is asked twice what it provides, and one is tried out first; evaluation keeps its two.
    assert len(cls.made) == 2 + 1 + 4 + 2 and not opened(cls)
    resume(folder.path, "run.frames=120", quiet=True)
    assert not opened(cls)
    assert len(evaluate_run(folder.path).returns) == 2
    assert not opened(cls)
    hetrl.Run(folder.path).policies()
    assert not opened(cls)


def test_everything_is_closed_after_an_error(monkeypatch):
    cls = varied(see=lambda self, agent: 1 / 0 if self.t > 6 else np.zeros(4))
    module, data = hetrl.build(recipe(monkeypatch, cls))
    assert len(opened(cls)) == 4
    with pytest.raises(ZeroDivisionError):
        trainer().fit(module, data)
    assert not opened(cls)


def test_one_that_cannot_be_made_leaves_none_open(monkeypatch):
    cls = varied(limit=3)

    def few():
        if len(cls.made) == 3:
            raise OSError("no more licences")
        return cls()

    with pytest.raises(OSError, match="no more licences"):
        made(few, n_envs=5)
    assert len(cls.made) == 3 and not opened(cls)


def test_a_closed_environment_is_made_again_and_its_episodes_go_on():
    env, twin = made(Living, n_envs=3), made(Living, n_envs=3)
    play(env, 4), play(twin, 4)
    env.close()
    assert torch.equal(play(env, 12, first=4), play(twin, 12, first=4))
    env.close()
    env.close()
    assert env.start()["agents"].shape == (3, 2, 4)


def test_what_was_built_and_never_fitted_is_closed(monkeypatch):
    cls = varied()
    built = hetrl.build(recipe(monkeypatch, cls))
    assert len(opened(cls)) == 4
    del built
    import gc

    gc.collect()
    assert not opened(cls)


def test_evaluations_begin_alike_in_the_same_environments(monkeypatch):
    cls = varied()
    module, _ = hetrl.build(recipe(monkeypatch, cls, "run.eval_every=40", "run.n_eval_episodes=5"))
    before = len(cls.made)
    first, again = module.evaluation.episodes(), module.evaluation.episodes()
    assert torch.equal(first.returns, again.returns) and len(cls.made) == before + 5
    starts = [each.rng.bit_generator.state["state"] for each in cls.made[before:]]
    module.evaluation.close()
    module.evaluation.episodes()
    assert [each.rng.bit_generator.state["state"] for each in cls.made[before + 5 :]] == starts


# ----- seeds


def drawn(self, agent):
    return np.random.default_rng().random(4).astype(np.float32)


def test_one_that_does_not_repeat_is_refused_until_it_says_so(tmp_path, monkeypatch):
    """Hardware, say: its run goes on with fresh episodes, says so, and later checkpoints hold no actions."""
    made_of = recipe(monkeypatch, varied(see=drawn), "data.frames=24", "run.frames=72")
    folder = train(made_of, tmp_path / "run", quiet=True)
    with pytest.raises(RunError, match=r"does not repeat an episode .*, or task\.repeats=false says that it does not"):
        resume(folder.path, "run.frames=120", quiet=True)
    with pytest.warns(UserWarning, match=r"^task\.repeats is false: the 4 episodes under way are not continued"):
        resume(folder.path, "run.frames=120", "task.repeats=false", quiet=True)
    saved = folder.load_checkpoint()
    assert saved["hetrl"]["frames"] == 120
    env = saved["Collection"]["source"]["env"]
    assert env["steps"].tolist() == [2] * 4  # of 120 / 4 frames since, six steps a batch from 72 on
    assert env["actions"]["agents"].numel() == 0
    with pytest.warns(UserWarning, match="begin afresh"):  # the word is in the run's recipe now
        resume(folder.path, "run.frames=144", quiet=True)
    with pytest.raises(RunError, match=r"saved with task\.repeats=false, without the actions to repeat"):
        resume(folder.path, "run.frames=168", "task.repeats=true", quiet=True)


def test_fresh_episodes_begin_as_episodes_do(monkeypatch):
    """Nothing of those that were under way is left: returns, lengths, and what a batch says of where episodes begin."""
    made_of = recipe(monkeypatch, varied(see=drawn), "task.repeats=false", "data.frames=28")
    _, data = hetrl.build(made_of)
    data.source.collect()
    state = data.source.state_dict()
    assert state["length"].tolist() == [7] * 4
    _, other = hetrl.build(made_of)
    with pytest.warns(UserWarning, match="begin afresh"):
        other.source.load_state_dict(state)
    (batch,) = other.source.collect().samples
    assert not batch["done"].any() and other.source.state_dict()["length"].tolist() == [7] * 4
    (batch,) = other.source.collect().samples
    assert batch["episode", "return"].amax().item() == 10


def test_what_was_stored_of_broken_off_episodes_is_cut(monkeypatch):
    """n-step sums do not run from a broken-off episode into the fresh one."""
    words = ["run.frames=80", "run.eval_every=null", "run.device=cpu", "data.warmup=20", "data.batch=8",
             "data.capacity=64", "data.n_step=3", "nets.q.hidden=[8]", "task.repeats=false",
             "nets.actor={use: net/categorical_policy, hidden: [8]}"]  # fmt: skip
    made_of = recipe(monkeypatch, varied(see=drawn), *words, base="hasac", words=())
    _, data = hetrl.build(made_of)
    data.source.collect()  # five steps of each
    state = data.source.state_dict()
    _, other = hetrl.build(made_of)
    with pytest.warns(UserWarning, match="begin afresh"):
        other.source.load_state_dict(state)
    tuple(other.source.collect().samples)
    flags = other.source.ring.leaves()[("truncated",)].view(-1, 4)[:6]
    assert flags.tolist() == [[False] * 4] * 4 + [[True] * 4, [False] * 4]
    rows = torch.tensor([3 * 4])
    assert other.source.gather(rows)["reward"].item() == pytest.approx(1 + 0.99)  # two steps, and not three


def test_a_reset_that_takes_no_seed():
    class Seedless(Living):
        def reset(self):
            return super().reset(seed=7)

    env, twin = made(Seedless, n_envs=2), made(Seedless, n_envs=2)
    play(env, 4)
    twin.load_state_dict(env.state_dict())
    assert torch.equal(play(env, 5), play(twin, 5))


# ----- errors


def test_an_error_of_the_environment_arrives_as_it_is_with_its_place(monkeypatch):
    class Broken(Living):
        def step(self, given):
            if self.t == 6:
                return self.servo()
            return super().step(given)

        def servo(self):
            raise KeyError("servo 3")

    module, data = hetrl.build(recipe(monkeypatch, Broken))
    with pytest.raises(KeyError, match="servo 3") as caught:
        trainer().fit(module, data)
    seeds = data.source._env._episode_seeds.tolist()
    assert caught.value.__notes__ == [
        f"This was step 7 of its episode, which began with seed {seeds[0]}.",
        "This was in environment 0 of the task (they count from 0).",
    ]
    assert [entry.name for entry in caught.traceback][-1] == "servo"


def nan_in(place, step=5):
    """An environment with a number that is none, in one of its agents' observations or rewards."""

    class Odd(Living):
        def see(self, agent):
            bad = place == "observation" and self.t == step and agent == "a_1"
            return np.full(4, np.nan) if bad else super().see(agent)

        def step(self, given):
            seen, paid, *rest = super().step(given)
            return seen, {**paid, "a_1": np.inf} if place == "reward" and self.t == step else paid, *rest

    return Odd


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("observation", r"^task: environment 0 gave 'a_1' a next observation of nan at step 5 of its episode"),
        ("reward", r"^task: environment 0 gave 'a_1' a reward of inf at step 5 of its episode"),
    ],
)
def test_a_number_that_is_none_is_named_by_agent_and_step(place, message, monkeypatch):
    module, data = hetrl.build(recipe(monkeypatch, nan_in(place)))
    with pytest.raises(DivergenceError, match=message):
        trainer().fit(module, data)


def test_what_the_first_steps_give_wrongly_is_said_before_a_folder_is_made(tmp_path, monkeypatch):
    for cls, error, message in (
        (nan_in("reward", 2), DivergenceError, "environment 0 gave 'a_1' a reward of inf at step 2"),
        (nan_in("observation", 0), DivergenceError, "environment 0 gave 'a_1' an observation of nan at a reset"),
        (
            varied(step=lambda self, given: (*Living.step(self, given)[:1], {"a_0": np.ones(1)}, {}, {}, {})),
            RunError,
            r"environment 0, step 1 of its episode: agent 'a_0' has a reward of array\(\[1\.\]\), which is no number",
        ),
    ):
        with pytest.raises(error, match=message):
            train(recipe(monkeypatch, cls), tmp_path / "run", quiet=True)
        assert not (tmp_path / "run").exists()


def test_an_agent_that_steers_without_bounds_is_tried_out_too(monkeypatch):
    from gymnasium import spaces

    cls = varied(action_space=lambda self, agent: spaces.Box(-np.inf, np.inf, (2,)))
    words = ["nets.actor={use: net/gaussian_policy, hidden: [8]}"]
    hetrl.build(recipe(monkeypatch, cls, *words))
    assert any(getattr(each, "t", 0) == 3 for each in cls.made)
