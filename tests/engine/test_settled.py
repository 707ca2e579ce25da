"""What a phase tells the nets that it does not train."""

import torch
from tensordict import TensorDict

from hetrl.engine.link import link
from hetrl.engine.phase import PhaseRunner
from hetrl.engine.store import Store
from hetrl.net.joint_q import JointQ
from hetrl.network import Network
from hetrl.ops import kept_product
from hetrl.recipe.read import load
from hetrl.team import Agent, Box, Team

TEAM = Team(tuple(Agent(f"agent_{i}", "agents", i, 4, Box((-1.0,), (2.0,)), "agents") for i in range(5)), 20)
ROWS = 8


def sample():
    """Return a random sample."""
    random = torch.Generator().manual_seed(0)

    def numbers(*shape):
        return torch.randn(ROWS, *shape, generator=random)

    def seen():
        return {"agents": {"observation": numbers(5, 4)}, "state": numbers(20)}

    batch = seen() | {
        "next": seen(), "reward": numbers(), "discount": torch.full([ROWS], 0.9),
        "terminated": torch.zeros(ROWS, dtype=torch.bool),
    }  # fmt: skip
    batch["agents"]["action"] = numbers(5, 1).clamp(-1, 2)
    return Store(TEAM, TensorDict(batch, [ROWS]))


def after_three_updates():
    torch.manual_seed(0)
    found = link(load("hasac", "nets.actor.hidden=[5]", "nets.q.hidden=[6]", "update.critic.optim.lr=0.1"), TEAM)
    runners = [PhaseRunner(phase, found) for phase in found.recipe.update]
    store = sample()  # the same one, so that only the weights tell one update from another
    for _ in range(3):
        for runner in runners:
            runner.run(store, 0.0, torch.Generator().manual_seed(0), lambda optimizer, closure: optimizer.step(closure))
    return torch.cat([parameter.flatten() for parameter in found.nets.parameters()])


def test_what_a_critic_keeps_through_a_sweep_changes_no_number(monkeypatch):
    """Its fused optimiser leaves no trace in the versions of its weights, and every update moves them."""
    whole = []
    product = kept_product._product
    monkeypatch.setattr(kept_product, "_product", lambda *given: whole.append(1) or product(*given))
    kept, calls = after_three_updates(), len(whole)
    monkeypatch.setattr(JointQ, "settled", Network.settled)
    torch.testing.assert_close(kept, after_three_updates(), rtol=1e-4, atol=1e-6)
    assert calls == 3  # one for each sweep
    assert len(whole) - calls == 3 * 5  # one for each turn
