"""Masks of several choices each are believed wherever actions are drawn, judged or learned from."""

import lightning as L
import pytest
import torch
from data.masked import CHOICES, Masked
from train.test_learner import QUIET

import hetrl
from hetrl import catalog
from hetrl.data.random_actions import RandomActions
from hetrl.team import Discrete, Team
from hetrl.testing import check_env

SMALL = [
    "task={use: env/test.masked, n_envs: 8, horizon: 6}",
    "run.device=cpu",
    "run.eval_every=100",
    "run.n_eval_episodes=2",
]
ON_POLICY = ["data.frames=240", "run.frames=1200"]
REPLAY = [
    "data.capacity=1200",
    "data.warmup=800",
    "data.batch=16",
    "data.frames=40",
    "run.frames=1200",
    "data.n_step=3",
]
CATEGORICAL = "nets.actor={use: net/categorical_policy, hidden: [8]}"
ONE_CHOICE = [
    "omdpg_discrete", "task.choices=[3]", "nets.actor.hidden=[8]", "nets.q.hidden=[8]", *REPLAY, "data.frames=200",
]  # fmt: skip
RECIPES = {
    "happo": ["happo", CATEGORICAL, "nets.value.hidden=[8]", *ON_POLICY],
    "mixed": ["happo", "nets.actor={use: net/mixed_policy, hidden: [8]}", "nets.value.hidden=[8]", *ON_POLICY],
    "recurrent": ["recurrent_happo", "nets.actor={use: net/recurrent_policy, hidden: [8], memory: 8, chunk: 6}",
                  "nets.value={use: net/recurrent_value, hidden: [8], memory: 8, chunk: 6}", *ON_POLICY],
    "trust_region": ["hatrpo", CATEGORICAL, "nets.value.hidden=[8]", *ON_POLICY],
    "soft": ["hasac", CATEGORICAL, "nets.q.hidden=[8]", *REPLAY],
    "deterministic": ["haddpg", CATEGORICAL.replace("]}", "], target: {tau: 0.005}}"), "nets.q.hidden=[8]", *REPLAY],
    "refine": [*ONE_CHOICE, "update.actors.steps.optimal_marginal_q.completion=refine"],
    "exact": [*ONE_CHOICE, "update.actors.steps.optimal_marginal_q.completion=exact"],
    "best_of": ["hasac", CATEGORICAL, "nets.q.hidden=[8]", *REPLAY, "data.n_candidates=4"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(catalog.REGISTERED, "env/test.masked", Masked)
    Masked.checked = Masked.illegal = 0


def test_the_environment_is_sound():
    check_env(Masked, steps=7)


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_illegal_is_ever_done(name):
    """1,200 frames of three agents, two for most of the time, the warm-up and evaluations among them."""
    recipe = hetrl.load(*RECIPES[name][:1], *SMALL, *RECIPES[name][1:])
    module, data = recipe.build()
    L.Trainer(max_epochs=1, enable_checkpointing=False, log_every_n_steps=1, **QUIET).fit(module, data)
    assert Masked.illegal == 0 and Masked.checked > 1200 * 2
    assert all(value == value for value in module.metrics.values())


def test_random_actions_are_uniform_over_what_is_left():
    """Of the second choice, options 1 and 3 of four, 1,000 times each: a deviation of 32, so 840 is five away."""
    team = Team.of(["a"], [1], [Discrete(tuple(CHOICES))])
    mask = torch.tensor([True, False, False, False, True, False, True]).expand(2000, 1, 7)
    drawn = RandomActions(team, 2000, torch.Generator().manual_seed(0)).draw({"agents": mask})["agents"].squeeze(1)
    assert drawn[:, 0].tolist() == [0] * 2000
    assert set(drawn[:, 1].tolist()) == {1, 3} and (drawn[:, 1] == 1).sum() > 840 and (drawn[:, 1] == 3).sum() > 840


def test_what_may_be_chosen_next_goes_with_a_batch():
    """The mask of the next step, and at an episode's end that of its last state."""
    recipe = hetrl.load("happo", *SMALL, CATEGORICAL, "data.frames=96")
    _, data = recipe.build()
    batch = data.source.rollout()
    now, then = batch["agents", "action_mask"], batch["next", "agents", "action_mask"]
    goes_on = ~batch["done"][:-1]
    assert torch.equal(then[:-1][goes_on], now[1:][goes_on]) and bool(batch["done"].any())
    assert torch.equal(then.float(), batch["next", "agents", "observation"])
