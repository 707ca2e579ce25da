"""A number that is not finite is refused where it enters, whatever the run is at; what is on disk stays good."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import hetrl
from hetrl.env.team_env import TeamEnv
from hetrl.errors import DivergenceError
from hetrl.runs import run as runs
from hetrl.runs.folder import Folder

DISCRETE = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy",
]
SIZES = [
    "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "run.frames=120", "run.checkpoint_every=40", "run.eval_every=80",
    "run.n_eval_episodes=3", "run.device=cpu", "run.threads=1",
]  # fmt: skip
REPLAY = str(Path(__file__).parents[1] / "train" / "replay.yaml")
RECIPES = {
    "on_policy": ["happo", *DISCRETE, "data.frames=40", *SIZES],
    "on_policy_continuous": ["happo", "task.n_envs=4", "task.horizon=7", "data.frames=40", *SIZES],
    "replay": [REPLAY, *DISCRETE, "data.warmup=40", *SIZES],
    "replay_of_many_steps": [REPLAY, *DISCRETE, "data.warmup=40", "data.frames=40", *SIZES],
    "replay_continuous": [REPLAY, "data.warmup=40", *SIZES],
}
"""4 environments: 10 steps of each are a batch, or the warm-up; checkpoints stand at 40, 80 and 120 frames."""


@pytest.fixture
def poison(monkeypatch):
    """Return a function that has a step give a number that is none: in row 2, of the agent in place 1."""
    healthy = TeamEnv.advance
    cure = []

    def spoil(word: str, step: int, number: float = math.nan, n_envs: int = 4) -> None:
        taken = []

        def sick(env, actions):
            moved = healthy(env, actions)
            if env.n_envs != n_envs:
                return moved
            taken.append(1)
            if len(taken) != step:
                return moved
            agent = env.team.agents[1]
            parts = {group: value.clone() for group, value in getattr(moved, word).items()}
            parts[agent.group][2, agent.index] = number
            same = word == "next_observation" and moved.observation is moved.next_observation
            return replace(moved, **{word: parts}, **({"observation": parts} if same else {}))

        monkeypatch.setattr(TeamEnv, "advance", sick)
        cure.append(lambda: monkeypatch.setattr(TeamEnv, "advance", healthy))

    spoil.cure = lambda: cure.pop()()
    return spoil


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(
    ("word", "number", "text"),
    [
        ("reward", math.nan, "a reward of nan at step {}"),
        ("next_observation", -math.inf, "a next observation of -inf at step {}"),
        ("observation", math.inf, "an observation of inf at a reset"),
    ],
    ids=["reward", "next_observation", "reset"],
)
@pytest.mark.parametrize("first", [True, False], ids=["first_collection", "later"])
def test_it_is_refused_and_nothing_of_it_saved(poison, tmp_path, name, word, number, text, first):
    """In the first collection, which may be a warm-up, and in one that is stored after a checkpoint."""
    step = (7 if first else 14) if word == "observation" else (5 if first else 13)
    poison(word, step, number)
    said = text.format(step if first else step - 7) + ("" if word == "observation" else " of its episode")
    message = rf"^task: environment 2 gave 'agent_1' {said}; the run stops, and stores and saves nothing of this\.$"
    with pytest.raises(DivergenceError, match=message):
        runs.train(hetrl.load(*RECIPES[name]), tmp_path / "run", quiet=True)
    folder = Folder(tmp_path / "run")
    assert folder.checkpoint.exists() is not first
    if not first:
        numbers = folder.load_checkpoint()
        assert numbers["hetrl"]["frames"] == 40
        assert all(value.isfinite().all() for value in tensors(numbers))


def tensors(tree):
    if isinstance(tree, torch.Tensor) and tree.is_floating_point():
        yield tree
    for each in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ():
        yield from tensors(each)


@pytest.mark.parametrize("name", ["on_policy", "replay"])
def test_the_last_checkpoint_goes_on_as_if_nothing_had_been(poison, tmp_path, name):
    whole = runs.train(hetrl.load(*RECIPES[name]), tmp_path / "whole", quiet=True)
    poison("reward", 23)
    with pytest.raises(DivergenceError):
        runs.train(hetrl.load(*RECIPES[name]), tmp_path / "run", quiet=True)
    poison.cure()
    resumed = runs.resume(tmp_path / "run", quiet=True)
    left, right = (folder.load_checkpoint()["state_dict"] for folder in (whole, resumed))
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("name", ["on_policy", "replay_continuous"])
def test_an_evaluation_refuses_it_before_the_batch_is_saved(poison, tmp_path, name):
    poison("reward", 4 + 7, n_envs=3)  # the second evaluation, after 80 frames; an episode has 7 steps
    message = r"^evaluation: environment 2 gave 'agent_1' a reward of nan at step 4 of its episode; the run stops"
    with pytest.raises(DivergenceError, match=message):
        runs.train(hetrl.load(*RECIPES[name]), tmp_path / "run", quiet=True)
    assert Folder(tmp_path / "run").frames_saved() < 80
    poison.cure()
    poison("next_observation", 1, n_envs=5)
    with pytest.raises(
        DivergenceError, match=r"^evaluation: environment 2 gave 'agent_1' a next observation of nan at"
    ):
        runs.evaluate_run(tmp_path / "run", n_episodes=5)


def test_a_first_observation_is_refused_before_anything_is_written(monkeypatch, tmp_path):
    from hetrl.env.tabular_game import TabularGame

    healthy = TabularGame.start

    def sick(env):
        return {group: torch.full_like(value, math.nan) for group, value in healthy(env).items()}

    monkeypatch.setattr(TabularGame, "start", sick)
    with pytest.raises(DivergenceError, match=r"^task: environment 0 gave 'agent_0' an observation of nan at a reset;"):
        runs.train(hetrl.load(*RECIPES["on_policy"]), tmp_path / "run", quiet=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["on_policy_continuous", "replay_continuous"])
def test_a_policy_with_weights_of_nan_is_named(name):
    """The simulator refuses such actions with a bare assertion."""
    more = ["data.warmup=0", "data.batch=4"] if name == "replay_continuous" else []
    module, data = hetrl.load(*RECIPES[name], *more).build()
    actor = module.linked.nets["actor"]["agent_1"]
    with torch.no_grad():
        for parameter in actor.parameters():
            parameter.fill_(math.nan)
    message = (
        r"^task: the policy of 'agent_1' gave an action of nan in environment 0 at step 1 of its episode, where what "
        r"it saw was finite; its weights have diverged \(a lower lr or a max_grad_norm may help\); the run stops"
    )
    with pytest.raises(DivergenceError, match=message):
        data.source.collect()
    with pytest.raises(DivergenceError, match=message):
        data.source.state_dict()  # and nobody saves it: what is stored ends in the middle of a collection
    with pytest.raises(DivergenceError, match=r"^evaluation: the policy of 'agent_1' gave an action of nan"):
        module.evaluation.run()


def test_weights_that_diverged_while_all_figures_are_finite_are_not_saved(tmp_path, monkeypatch):
    from hetrl.engine.phase import PhaseRunner

    healthy, taken = PhaseRunner.run, []

    def sick(phase, *given):
        figures = healthy(phase, *given)
        taken.append(1)
        if len(taken) == 6:  # the last of the three phases' second batch
            with torch.no_grad():
                next(phase.linked.nets["value"].parameters()).view(-1)[0] = math.nan
        return figures

    monkeypatch.setattr(PhaseRunner, "run", sick)
    with pytest.raises(DivergenceError, match=r"^nets\.value\.team\.\S+ is not finite after 80 frames; the run stops"):
        runs.train(hetrl.load(*RECIPES["on_policy"]), tmp_path / "run", quiet=True)
    assert Folder(tmp_path / "run").frames_saved() == 40


def test_large_numbers_are_no_infinities():
    """What is finite may add up to more than a float holds."""
    from hetrl.data.intake import Intake
    from hetrl.team import Agent, Box, Team

    team = Team((Agent("a", "agents", 0, 2, Box((-1.0,), (1.0,)), "agents"),), 2)
    steps = {("reward", "agents"): torch.full((3, 2, 1), 3e38)}
    Intake(team).look(steps, {"agents": torch.zeros(2, 1, 2, dtype=torch.float64)}, torch.zeros(2))


def test_the_step_counts_from_the_episodes_beginning():
    """Row 1 had 4 steps, ended with the next, and is asked two steps later; row 0 goes on."""
    from hetrl.data.intake import Intake
    from hetrl.team import Agent, Box, Team

    team = Team((Agent("a", "agents", 0, 2, Box((-1.0,), (1.0,)), "agents"),), 2)
    ended = torch.tensor([[False, True], [False, False], [False, False]])
    for row, step in ((0, 4 + 3), (1, 2)):
        rewards = torch.zeros(3, 2, 1)
        rewards[2, row] = math.nan
        steps = {("reward", "agents"): rewards, ("end", "terminated"): ended}
        with pytest.raises(DivergenceError, match=f"environment {row} gave 'a' a reward of nan at step {step} of its"):
            Intake(team).look(steps, {"agents": torch.zeros(2, 1, 2)}, torch.full((2,), 4.0))


# ----- nothing left to choose


def stuck(monkeypatch, step, n_envs=8):
    """Have the environments of a size leave agent 'b' in row 1 no option of its second choice, from a step on."""
    from data.masked import Masked

    from hetrl import catalog

    class Stuck(Masked):
        __doc__ = Masked.__doc__
        taken = 0

        def _draw(self):
            super()._draw()
            if self.n_envs == n_envs and self.taken >= step:
                self._mask[1, 1, 3:] = False
            return self._observation

        def _simulate(self, actions):
            self.taken += 1
            return super()._simulate(actions)

    monkeypatch.setitem(catalog.REGISTERED, "env/test.stuck", Stuck)


MASKED = ["task={use: env/test.stuck, n_envs: 8, horizon: 6}", "nets.actor={use: net/categorical_policy, hidden: [8]}"]
ON = ["data.frames=80", "run.frames=160", "run.device=cpu", "run.eval_every=null"]
OFF = ["data.warmup=80", "data.batch=8", "data.capacity=160", "run.frames=160", "run.device=cpu", "run.eval_every=null"]


@pytest.mark.parametrize(
    "recipe",
    [["happo", *MASKED, *ON], ["hasac", *MASKED, *OFF], ["hasac", *MASKED, *OFF, "data.warmup=16", "data.frames=40"]],
    ids=["on_policy", "warm_up", "replay"],
)
def test_an_agent_with_nothing_to_choose_is_named(monkeypatch, tmp_path, recipe):
    """Agent 'c', which has left and has no option either, is no fault."""
    stuck(monkeypatch, 8)
    message = r"^task: environment 1 leaves 'b' no option of its choice 1 at step 3 of its episode; its action_mask has"
    with pytest.raises(DivergenceError, match=message):
        runs.train(hetrl.load(*recipe), tmp_path / "run", quiet=True)


def test_an_evaluation_names_it_too(monkeypatch, tmp_path):
    stuck(monkeypatch, 2, n_envs=3)
    message = r"^evaluation: environment 1 leaves 'b' no option of its choice 1 at step 3 of its episode; its action_ma"
    changes = ["run.eval_every=80", "run.n_eval_episodes=3"]
    with pytest.raises(DivergenceError, match=message):
        runs.train(hetrl.load("happo", *MASKED, *ON, *changes), tmp_path / "run", quiet=True)
