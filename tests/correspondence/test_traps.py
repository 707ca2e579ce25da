"""Bugs that on-policy reference code has had, one test for each; its first line says what would catch it."""

import math

import pytest
import torch

import hetrl
from hetrl.engine.objective import total_loss
from hetrl.engine.store import Store
from hetrl.env.cue_game import CueGame
from hetrl.errors import RunError
from hetrl.net.categorical_policy import CategoricalPolicy
from hetrl.net.gaussian_policy import GaussianPolicy
from hetrl.net.squashed_gaussian_policy import SquashedGaussianPolicy
from hetrl.team import Agent, Box, Discrete, Team

ACTIVE = "agent.active"
SMALL = ["nets.actor.hidden=[8]", "nets.value.hidden=[8]", "run.eval_every=null", "run.device=cpu"]
MASKED = [
    "task={use: env/cue_game, n_cues: 3, delay: 2, discrete_agents: 1, continuous_agents: 2, leave: 0.3, n_envs: 24}",
    "nets.actor.use=net/mixed_policy", "update.actors.order.use=order/simultaneous", "data.frames=144", *SMALL,
]  # fmt: skip
ONE_STEP = ["update.actors.epochs=1", "update.actors.minibatches=1"]

# Warnings of vmas itself: joints without force limits, deprecated calls of torch.
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning:vmas")]


def alone(action, cls, **arguments):
    """Return a policy of one agent who sees the constant 1, and its observation of 6 samples."""
    agent = Agent("a", "agents", 0, 1, action, "agents")
    return cls(agent, Team((agent,), 1), hidden=[], **arguments), torch.ones(6, 1)


# ----- losses


def test_the_entropy_is_masked_sample_by_sample():
    """An entropy times a mask of another rank, an outer product, would be 6 times too large (the batch size).

    Two dimensions of deviation 1 have entropy log(2 pi e) = 2.837877: the mean over the 4 active samples is that too.
    """
    policy, observation = alone(Box((-1.0, -1.0), (1.0, 1.0)), GaussianPolicy)
    entropy = policy.log_prob(observation, torch.zeros(6, 2))["entropy"]
    active = torch.tensor([True, True, False, True, False, True])
    assert entropy.shape == active.shape
    bonus = hetrl.component("loss/entropy_bonus", coef=0.5).compute(entropy=entropy)["loss"]
    loss, means = total_loss([[{"loss.agent.entropy_bonus": bonus, ACTIVE: active}]], ACTIVE)
    assert loss.item() == pytest.approx(-0.5 * math.log(2 * math.pi * math.e), abs=1e-6)
    assert means["loss.agent.entropy_bonus"].item() == loss.item()


def test_a_mask_of_another_rank_is_refused():
    """The outer product itself: 6 entropies and a mask of 6 rows and 1 column."""
    written = {"loss.agent.entropy_bonus": torch.ones(6), ACTIVE: torch.ones(6, 1, dtype=torch.bool)}
    said = r"^loss.agent.entropy_bonus: what is one number for each sample has the shape \[6\] and its mask \[6, 1\]"
    with pytest.raises(RunError, match=said):
        total_loss([[written]], ACTIVE)


def test_the_categorical_divergence_has_its_weights():
    """Without the probabilities in front, the divergence from 1/2 1/2 to 1/4 3/4 would be log(4/3), not half of it."""
    policy, observation = alone(Discrete((2,)), CategoricalPolicy, initial_probs=[0.25, 0.75])
    found = policy.kl(observation, torch.zeros(6, 2))["kl"]
    torch.testing.assert_close(found, torch.full((6,), 0.5 * math.log(4 / 3)))
    assert (policy.kl(observation, torch.tensor([-1.0, 3.0]).expand(6, 2))["kl"] > 0).all()


def test_several_choices_make_one_ratio():
    """A log-prob broadcast over the choices would square the ratio: 5.76 where it is 1.5 * 1.6 = 2.4."""
    policy, observation = alone(Discrete((2, 2)), CategoricalPolicy)
    action = torch.ones(6, 2, dtype=torch.int64)

    def log_prob(*weights):
        with torch.no_grad():
            policy.body.last.weight.zero_()
            policy.body.last.bias.copy_(torch.tensor(weights).log())
        return policy.log_prob(observation, action)["log_prob"]

    old, new = log_prob(1.0, 1.0, 1.0, 1.0), log_prob(1.0, 3.0, 1.0, 4.0)
    one = torch.ones(6)
    factor = hetrl.component("weight/importance_factor").compute(log_prob=new, old_log_prob=old, factor=one)["factor"]
    torch.testing.assert_close(factor, 2.4 * one)
    loss = hetrl.component("loss/surrogate").compute(log_prob=new, old_log_prob=old, advantage=one, factor=one)["loss"]
    torch.testing.assert_close(loss, -2.4 * one)


# ----- masks and groups


def phase_on(name, batch_of=lambda batch: batch, *changes):
    """Run the actors' phase of a recipe on a batch with made-up advantages; return gradients and weights by agent."""
    module, data = hetrl.load(name, *MASKED, *changes).build()
    batch = data.source.rollout()
    module.double()
    for key, low in (("advantage", -1.0), ("factor", 0.5)):
        generator = torch.Generator().manual_seed(1)
        batch[key] = low + 2 * torch.rand(batch.shape, generator=generator, dtype=torch.float64)
    store = Store(module.linked.team, batch_of(batch).apply(lambda x: x.double() if x.is_floating_point() else x))
    gradients = []

    def step(optimizer, closure):
        optimizer.step(closure)
        gradients.append([p.grad.clone() for group in optimizer.param_groups for p in group["params"]])

    module.phases[1].run(store, 0.0, torch.Generator().manual_seed(0), step)
    names = module.linked.team.names
    weights = {agent: list(module.linked.nets["actor"][agent].parameters()) for agent in names}
    return batch, dict(zip(names, gradients, strict=True)), weights


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("happo", [*ONE_STEP, "update.actors.steps.entropy_bonus.coef=0.1"]),
        ("haa2c", ONE_STEP),
        ("hatrpo", []),
    ],
)
def test_a_mask_acts_before_the_reduction(name, changes):
    """Masks multiplied after the mean would scale the gradient of all rows; here inactive rows might as well not exist.

    For each agent, gradient and step are those on the batch without the rows in which it is out.
    """
    batch, gradients, weights = phase_on(name, lambda batch: batch, *changes)
    for agent in ("discrete_0", "continuous_0", "continuous_1"):
        group, index = agent.split("_")
        keep = batch[group, "active"][..., int(index)].flatten()
        assert 0.3 < keep.float().mean() < 0.9

        def without(whole, keep=keep):
            rows = whole.reshape(-1)[keep].unsqueeze(1)
            for each in ("discrete", "continuous"):
                del rows[each, "active"]
            return rows

        _, fewer, after = phase_on(name, without, *changes)
        torch.testing.assert_close(gradients[agent], fewer[agent])
        torch.testing.assert_close(weights[agent], after[agent], rtol=1e-6, atol=1e-9)
        assert max(gradient.abs().max() for gradient in gradients[agent]) > 1e-4


def test_what_inactive_rows_hold_does_not_matter():
    """A mask that only scales the loss would let the rows of who left into the gradient: here theirs are nonsense."""

    def spoilt(batch):
        active = batch["continuous", "active"].unsqueeze(-1)
        batch["continuous", "action"] = torch.where(active, batch["continuous", "action"], 50.0)
        return batch

    _, clean, _ = phase_on("haa2c", lambda batch: batch, *ONE_STEP)
    _, found, _ = phase_on("haa2c", spoilt, *ONE_STEP)
    torch.testing.assert_close(found["continuous_1"], clean["continuous_1"])


@pytest.mark.parametrize(
    ("actions", "policy", "sizes"),
    [("continuous", "net/gaussian_policy", (5, 2)), ("multi_discrete", "net/categorical_policy", (3, 2))],
)
def test_agents_with_actions_of_other_sizes_are_collected_and_updated(actions, policy, sizes):
    """One array for all agents' actions would fail here, or pad them: a speaker and a listener."""
    task = f"task={{use: env/vmas, scenario: simple_speaker_listener, n_envs: 4, horizon: 5, actions: {actions}}}"
    changes = [task, f"nets.actor.use={policy}", "data.frames=40", "run.frames=40", *SMALL]
    module, data = hetrl.load("happo", *changes).build()
    actors = module.linked.nets["actor"]
    before = {name: [p.clone() for p in actors[name].parameters()] for name in module.linked.team.names}
    batch = data.source.rollout()
    assert tuple(batch[group, "action"].shape[-1] for group in ("speaker", "listener")) == sizes
    store = Store(module.linked.team, batch)
    for phase in module.phases:
        phase.run(store, 0.0, torch.Generator().manual_seed(0), lambda optimizer, closure: optimizer.step(closure))
    for name, old in before.items():
        assert any(not torch.equal(*pair) for pair in zip(old, actors[name].parameters(), strict=True)), name


def test_a_finished_environment_brings_back_its_own_agents_only():
    """Flags of all environments cleared when one ends would revive who left in environments 1 and 2."""
    env = CueGame(discrete_agents=2, continuous_agents=1, delay=3, leave=0.5, n_envs=3)
    env.start()
    env._steps += torch.tensor([3, 1, 0])
    left = torch.tensor([[False, True, False], [False, True, True], [True, False, False]])
    env._active = left.clone()
    ones = {"discrete": torch.ones(3, 2, 1, dtype=torch.int64), "continuous": torch.ones(3, 1, 1)}
    moved = env.advance(ones)
    assert moved.terminated.tolist() == [True, False, False]
    now = torch.cat([moved.masks["active"][group] for group in env.team.layout], -1)
    assert now[0].all()
    assert not (now[1:] & ~left[1:]).any()
    before = torch.cat([moved.next_masks["active"][group] for group in env.team.layout], -1)
    assert torch.equal(before[1:], now[1:]) and not before[0].all()


# ----- ends of episodes


@pytest.fixture
def ends():
    """Two steps of four environments, all at their horizon; in 0 and 2 the scenario says that it is over."""
    pytest.importorskip("vmas")
    task = "task={use: env/vmas, scenario: navigation, n_envs: 4, horizon: 2}"
    _, data = hetrl.load("happo", task, "data.frames=8", *SMALL).build()
    env, over = data.source._env, torch.tensor([True, False, True, False])
    env._simulator.scenario.done = lambda: over & (env._steps >= 1)
    batch = data.source.rollout()
    values = {"value": batch["state"].sum(-1), "next_value": batch["next", "state"].sum(-1)}
    flags = {word: batch[word] for word in ("terminated", "truncated")}
    found = hetrl.component("estimate/gae", gamma=0.9, lmbda=0.5).compute(reward=batch["reward"], **values, **flags)
    return batch, data.source._observation, values, found["advantage"]


def test_a_genuine_end_at_the_horizon_is_no_truncation(ends):
    """An end labelled as truncation because the clock has run out would be bootstrapped: A = r - V, without V'."""
    batch, _, values, advantage = ends
    assert batch["terminated"].tolist() == [[False] * 4, [True, False, True, False]]
    assert not (batch["terminated"] & batch["truncated"]).any()
    torch.testing.assert_close(advantage[1, [0, 2]], (batch["reward"] - values["value"])[1, [0, 2]])
    assert (values["next_value"][1, [0, 2]].abs() > 0.01).all()  # there was something to bootstrap with


def test_a_truncation_is_bootstrapped_with_the_true_final_state(ends):
    """Taken as an end there would be no V'; taken after the reset it would be that of another episode's start."""
    batch, observation, values, advantage = ends
    assert batch["truncated"].tolist() == [[False] * 4, [False, True, False, True]]
    delta = batch["reward"] + 0.9 * values["next_value"] - values["value"]
    torch.testing.assert_close(advantage[1, [1, 3]], delta[1, [1, 3]])
    torch.testing.assert_close(advantage[0], delta[0] + 0.45 * advantage[1])
    assert (observation["agents"].flatten(1).sum(-1) - values["next_value"][1]).abs().min() > 1e-3


def test_returns_bootstrap_in_reward_units():
    """A bootstrap with the normalised value, about 0, would leave 0.9 * 100 out of every last return."""
    task = "task={use: env/tabular_game, n_envs: 4, horizon: 2}"
    policy = "nets.actor.use=net/categorical_policy"
    estimate = ["update.estimate.steps.gae.gamma=0.9", "update.estimate.steps.gae.lmbda=1.0"]
    module, data = hetrl.load("happo", task, policy, "data.frames=8", *estimate, *SMALL).build()
    (value,) = module.linked.nets["value"].values()
    for moment, number in (("m1", 100.0), ("m2", 100.0**2 + 10.0**2), ("d", 1.0)):  # mean 100, deviation 10
        getattr(value.normalizer, moment).fill_(number)
    batch = data.source.rollout()
    assert batch["truncated"].tolist() == [[False] * 4, [True] * 4]
    store = Store(module.linked.team, batch)
    module.phases[0].run(store, 0.0, torch.Generator(), lambda *_: None)
    following = 10 * value.normalized(batch["next", "state"])["normalized_value"] + 100
    expected = batch["reward"] + 0.9 * following
    torch.testing.assert_close(store.read("return", ())[1], expected[1], rtol=1e-4, atol=1e-4)


# ----- actions


def test_bounds_need_not_be_symmetric():
    """Bounds read as -high to high would draw from -2 to 2 where they are -0.5 to 2, or from -1 to 1 where 0 to 1."""
    box = Box((-0.5, 0.0), (2.0, 1.0))
    policy, observation = alone(box, SquashedGaussianPolicy)
    observation = observation[:1].expand(5000, 1)
    drawn = policy.draw(observation, 4 * torch.randn(5000, 2))
    torch.testing.assert_close(drawn.min(0).values, torch.tensor(box.low), rtol=0, atol=1e-2)
    torch.testing.assert_close(drawn.max(0).values, torch.tensor(box.high), rtol=0, atol=1e-2)
    env = CueGame(discrete_agents=0, continuous_agents=2, delay=0, n_envs=2)
    env.start()
    env._cue = torch.tensor([0, 0])
    moved = env.advance({"continuous": torch.tensor([[[-1.0], [0.0]], [[1.0], [0.0]]])})
    assert env.team_reward(moved.reward).tolist() == [1.0, 0.5]  # -1 is clamped to 0
