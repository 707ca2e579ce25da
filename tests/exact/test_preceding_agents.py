"""Where advantages are estimated anew under those updated before: the limits, through the linked program in float64."""

import pytest
import torch
from tensordict import TensorDict

import hetrl
from hetrl.engine.link import link
from hetrl.engine.phase import PhaseRunner
from hetrl.engine.store import Store
from hetrl.estimate.corrected_gae import CorrectedGAE
from hetrl.team import Agent, Box, Team

PROVIDED = ["agent.observation", "next.agent.observation", "agent.action", "reward", "state", "next.state",
            "terminated", "truncated"]  # fmt: skip
SMALL = ["nets.actor.hidden=[8]", "nets.value.hidden=[8]", "update.actors.epochs=2", "update.critic.epochs=2"]
STEPS, ENVS = 12, 4


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def team(n_agents):
    agents = [Agent(f"a_{i}", "agents", i, 3, Box((-1.0,) * 2, (1.0,) * 2), "agents") for i in range(n_agents)]
    return Team(tuple(agents), state_size=3 * n_agents)


def batch(n_agents, seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(STEPS, ENVS, *shape, generator=generator)

    seen = draw(n_agents, 3), draw(n_agents, 3)
    ends = torch.rand(2, STEPS, ENVS, generator=generator) < 0.1
    step = {"agents": {"observation": seen[0], "action": draw(n_agents, 2)}, "state": seen[0].flatten(2),
            "reward": draw(), "terminated": ends[0], "truncated": ends[1]}  # fmt: skip
    return TensorDict(
        {**step, "next": {"agents": {"observation": seen[1]}, "state": seen[1].flatten(2)}}, batch_size=[STEPS, ENVS]
    )


def trained(name, n_agents, *changes, batches=3):
    """Return the linked recipe and the store of the last batch, after some batches."""
    whole = team(n_agents)
    linked = link(hetrl.load(name, *SMALL, *changes), whole, PROVIDED)
    phases = [PhaseRunner(phase, linked) for phase in linked.recipe.update]
    generator = torch.Generator().manual_seed(0)
    for seed in range(batches):
        store = Store(whole, batch(n_agents, seed))
        for phase in phases:
            phase.run(store, 0.0, generator, lambda optimizer, closure: optimizer.step(closure))
    return linked, store


def test_one_agent_alone_is_updated_as_without_the_correction():
    """Nobody precedes it, so this is the clipped policy gradient: the same parameters after three batches."""
    (own, _), (plain, _) = (
        trained(name, 1, "update.actors.steps.entropy_bonus.coef=0.01") for name in ("a2po", "happo")
    )
    for left, right in zip(own.nets.parameters(), plain.nets.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-10)


def test_who_comes_later_has_an_advantage_under_the_new_policies_of_those_before():
    linked, store = trained("a2po", 3, batches=2)
    turns = {agent: int(store.read("agent.turn", (agent,)).unique()) for agent in linked.team.agents}
    order = sorted(turns, key=turns.get)
    assert sorted(turns.values()) == [0, 1, 2]
    factor = torch.ones(STEPS, ENVS)
    for agent in order:
        words = {"value": "agent.value", "next_value": "next.agent.value"}
        roles = {role: words.get(role, key) for role, key in CorrectedGAE.reads.items() if role != "factor"}
        given = {role: store.read(key, (agent,)) for role, key in roles.items()}
        wanted = CorrectedGAE().compute(**given, factor=factor)["advantage"]
        torch.testing.assert_close(store.read("agent.raw_advantage", (agent,)), wanted, rtol=0, atol=1e-10)
        seen, did = (store.read(f"agent.{word}", (agent,)) for word in ("observation", "action"))
        now = linked.policy((agent,)).log_prob(seen, did)["log_prob"].detach()
        factor = factor * (now - store.read("agent.old_log_prob", (agent,))).exp()
    assert (factor - 1).abs().max() > 1e-3
