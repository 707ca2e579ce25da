"""One update of grouped deterministic actors and a pessimistic ensemble, against the formulas written out.

The paper has no public code, so the comparison is with the equations: plain loops over members, agents and groups.
"""

import copy

import pytest
import torch
from tensordict import TensorDict

import hetrl
from hetrl.engine.link import link
from hetrl.engine.phase import PhaseRunner
from hetrl.engine.store import Store
from hetrl.team import Agent, Box, Team

CLOSE = {"rtol": 1e-9, "atol": 1e-11}
ROWS, BETA, COEF, LR = 12, 0.7, 0.3, 0.05
ARM, LEG = Box((-1.0,), (3.0,)), Box((-2.0, -1.0), (2.0, 1.0))
A0, A1 = (Agent(f"a{i}", "arms", i, 3, ARM, "arm") for i in range(2))
TEAM = Team((A0, Agent("b0", "legs", 0, 4, LEG, "leg"), A1), 10)
BODIES = [[0, 2], [1]]


def sample():
    def agents(when):
        return {
            group: {"observation": torch.randn(ROWS, n, size)} for group, n, size in (("arms", 2, 3), ("legs", 1, 4))
        } | {"state": when}

    now, after = torch.randn(ROWS, 10), torch.randn(ROWS, 10)
    data = agents(now) | {
        "next": agents(after),
        "reward": torch.randn(ROWS),
        "discount": torch.full((ROWS,), 0.9),
        "terminated": torch.rand(ROWS) < 0.3,
    }
    data["arms"] |= {"action": torch.randn(ROWS, 2, 1), "kept": torch.rand(ROWS, 2) < 0.5}
    data["legs"] |= {"action": torch.randn(ROWS, 1, 2), "kept": torch.rand(ROWS, 1) < 0.5}
    return TensorDict(data, [ROWS])


def of_agents(batch, word):
    arms, legs = batch["arms", word], batch["legs", word]
    return [arms[:, 0], legs[:, 0], arms[:, 1]]


@pytest.fixture
def parts():
    torch.set_default_dtype(torch.float64)
    recipe = hetrl.load(
        "omdpg", "nets.actor.hidden=[8]", "nets.q.hidden=[9]", "nets.q.ensemble=3",
        "update.actors.every=1",
        f"update.critic.steps.4.beta={BETA}", f"update.critic.steps.4.coef={COEF}",
        f"update.critic.optim.lr={LR}", f"update.actors.optim.lr={LR}",
        "update.actors.order={use: order/fixed, of: group, order: [1, 0]}",
    )  # fmt: skip
    linked = link(recipe, TEAM)
    for net in ("actor", "q"):
        with torch.no_grad():  # the slow copies lag behind
            for parameter in linked.slow[net].net.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    yield linked, sample()
    torch.set_default_dtype(torch.float32)


def members(net, state, action):
    """Q of every member, one after the other."""
    x = torch.cat([state, *action], -1)
    found = []
    for member in range(3):
        hidden = (x @ net.body.weights[0][member] + net.body.biases[0][member]).relu()
        found.append((hidden @ net.body.weights[1][member] + net.body.biases[1][member]).squeeze(-1))
    return torch.stack(found)


def mu(actor, observation):
    x = (observation @ actor.body[0].weight.T + actor.body[0].bias).relu() @ actor.body[1].weight.T + actor.body[1].bias
    return actor.low + (actor.high - actor.low) * (1 + x.tanh()) / 2


def train(linked, batch, name):
    phase = next(phase for phase in linked.recipe.update if phase.name == name)
    store, generator = Store(TEAM, batch), torch.Generator()
    return PhaseRunner(phase, linked).run(store, 0.0, generator, lambda optimizer, closure: optimizer.step(closure))


def test_the_critic(parts):
    linked, batch = parts
    actors, slow_actors = (
        [nets[agent.body] for agent in TEAM.agents] for nets in (linked.nets["actor"], linked.slow["actor"].net)
    )
    q = copy.deepcopy(linked.nets["q"]["team"])
    slow = copy.deepcopy(linked.slow["q"].net["team"])
    optimizer = torch.optim.Adam(q.parameters(), LR, eps=1e-5)
    with torch.no_grad():
        after = list(map(mu, slow_actors, of_agents(batch["next"], "observation")))
        would = list(map(mu, actors, of_agents(batch, "observation")))
        worth = members(slow, batch["next", "state"], after).amin(0)
        target = batch["reward"] + batch["discount"] * (1 - batch["terminated"].double()) * worth
        kept = [mask.unsqueeze(-1).double() for mask in of_agents(batch, "kept")]
        did = of_agents(batch, "action")
        ood = [k * a + (1 - k) * p for k, a, p in zip(kept, did, would, strict=True)]
        slow_ood = members(slow, batch["state"], ood)
        spread = (slow_ood - slow_ood.mean(0)).square().mean(0).sqrt()
    true = sum((each - target).square().mean() for each in members(q, batch["state"], did))
    pessimistic = sum(
        (each - (old - BETA * spread)).square().mean()
        for each, old in zip(members(q, batch["state"], ood), slow_ood, strict=True)
    )
    (true + COEF * pessimistic).backward()
    optimizer.step()
    metrics = train(linked, batch, "critic")
    torch.testing.assert_close(metrics["critic/td"], true.detach(), **CLOSE)
    torch.testing.assert_close(metrics["critic/pessimistic_uncertainty"], COEF * pessimistic.detach(), **CLOSE)
    for mine, theirs in zip(linked.nets["q"].parameters(), q.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, **CLOSE)


def test_without_weight_the_pessimistic_loss_is_as_if_it_were_not_there():
    """Bit for bit, over a whole update of the critic."""
    batch, after = sample(), []
    for override in (
        "update.critic.steps.pessimistic_uncertainty.coef=0",
        "update.critic.steps.pessimistic_uncertainty=null",
    ):
        torch.manual_seed(0)
        linked = link(hetrl.load("omdpg", "nets.actor.hidden=[8]", "nets.q.hidden=[9]", override), TEAM)
        train(linked, batch.clone(), "critic")
        after.append([parameter.detach().clone() for parameter in linked.nets["q"].parameters()])
    assert all(map(torch.equal, *after))


def test_the_actors_group_by_group(parts):
    """The legs go first; the arms then answer the new legs, both arms with one gradient."""
    linked, batch = parts
    actors = copy.deepcopy(linked.nets["actor"])
    q = linked.nets["q"]["team"]
    seen = of_agents(batch, "observation")
    for body in reversed(BODIES):
        own = actors[TEAM.agents[body[0]].body]
        optimizer = torch.optim.Adam(own.parameters(), LR, eps=1e-5)
        loss = 0.0
        for agent in body:
            with torch.no_grad():
                action = [mu(actors[each.body], x) for each, x in zip(TEAM.agents, seen, strict=True)]
            action[agent] = mu(own, seen[agent])
            loss = loss - members(q, batch["state"], action).amin(0).mean() / len(body)
        loss.backward()
        optimizer.step()
    train(linked, batch, "actors")
    for mine, theirs in zip(linked.nets["actor"].parameters(), actors.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, **CLOSE)


def test_everybody_knows_the_round(parts):
    """Groups in the order legs, arms: turn 0 for the legs, 1 for both arms."""
    linked, batch = parts
    store = Store(TEAM, batch)
    phase = linked.recipe.update[1]
    runner = PhaseRunner(phase, linked)
    runner.run(store, 0.0, torch.Generator(), lambda optimizer, closure: optimizer.step(closure))
    turns = store.read("agents.turn", ())
    assert [turn.unique().tolist() for turn in turns] == [[1], [0], [1]]
    assert all(turn.shape == (ROWS,) for turn in turns)
