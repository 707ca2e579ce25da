"""HASAC, trained on the penalty game, ends where the theorem says: at a quantal response equilibrium.

Liu et al., ICLR 2024, arXiv:2306.10715. What the exact turns do without any learning is in test_quantal_response.py.
"""

import pytest
import torch
from exact.quantal_response import EXACT_STEPS, PENALTY, fixed, learned_critic, learned_payoffs, nearest, train

import hetrl
from hetrl.ops import categorical

NEAR = 0.02
"""Total variation."""


def lands(alpha):
    seen, critic = train(fixed(alpha))
    torch.testing.assert_close(seen[0], torch.tensor([[0.6, 0.2, 0.2]] * 2))
    torch.testing.assert_close(learned_payoffs(critic), torch.tensor(PENALTY).float(), rtol=0, atol=0.2)
    assert nearest(seen[-1], alpha) < NEAR
    assert (seen[-1].argmax(-1) == 2).all()  # greedily (C, C), payoff 20, where MAPPO and HAPPO have 5


def test_lands_at_the_equilibrium():
    """At 12 it is (0.050, 0.051, 0.899); the learning rates, the critic and the samples are all that is in between."""
    lands(12)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1, 3, 7, 25])
def test_lands_at_the_equilibrium_of_other_temperatures(alpha):
    lands(alpha)


@pytest.fixture(scope="module")
def critic():
    """A joint Q that has learned the payoffs before an actor moves."""
    learned = learned_critic()
    torch.testing.assert_close(learned_payoffs(learned), torch.tensor(PENALTY).float(), rtol=0, atol=0.2)
    return learned


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "end"), [(4, 0), (8, 2)])
def test_with_the_critic_learned_first_the_temperature_decides(critic, alpha, end):
    """Below 6.71 the start is in the basin of (A, A), above in that of (C, C), as for exact turns."""
    seen, _ = train(fixed(alpha), critic=critic)
    assert nearest(seen[-1], alpha) < NEAR
    assert (seen[-1].argmax(-1) == end).all()


@pytest.mark.slow
def test_learned_temperatures_end_at_c():
    """The recipe as shipped but for numbers: alpha falls from 10 while the entropy is above its target, almost none."""
    tree = hetrl.load("hasac").tree
    tree["update"][1]["steps"] = EXACT_STEPS
    overrides = ("nets.alpha.initial=10.0", "nets.alpha.target_entropy=0.01", "update.temperature.optim.lr=0.02")
    seen, _ = train(tree, *overrides)
    assert (seen[-1, :, 2] > 0.99).all()


@pytest.mark.slow
def test_straight_through_answers_the_critics_slopes(critic):
    """It ends elsewhere, though the critic is right about all nine joint actions: nobody taught it the slopes.

    It ends where its own mean gradient on this critic is 0, found here with many draws at once.
    """
    alpha = 12
    seen, own = train(fixed(alpha, exact=False), critic=critic)
    torch.testing.assert_close(learned_payoffs(own), torch.tensor(PENALTY).float(), rtol=0, atol=0.2)
    assert nearest(seen[-1], alpha) > 0.05
    expected = straight_through_zero(own, alpha, seen[0])
    assert (seen[-1] - expected).abs().sum(-1).max() / 2 < 0.05


def straight_through_zero(critic, alpha, start, draws=1024, n_steps=800):
    """Return the policies at which straight-through descent on a critic settles: the mean of the last steps."""
    critic.requires_grad_(False)
    loss = hetrl.component("loss/soft_policy")
    generator, total = torch.Generator().manual_seed(0), torch.zeros_like(start)
    logits = start.log()
    for step in range(n_steps):
        for agent in range(2):
            own = logits[agent].clone().requires_grad_()
            parts = [own if place == agent else logits[place] for place in range(2)]
            drawn = [
                categorical.straight_through(part.expand(draws, 3), noise, [3])
                for part, noise in zip(parts, categorical.gumbel(torch.empty(2, draws, 3), generator), strict=True)
            ]
            q = critic.min(torch.ones(draws, 2), tuple(proposal for proposal, _ in drawn))["q"]
            value = loss.compute(torch.full((draws,), float(alpha)), drawn[agent][1], q)["loss"].mean()
            (slope,) = torch.autograd.grad(value, own)
            logits[agent] -= 0.2 * slope / alpha
        if step >= n_steps // 2:
            total += logits.softmax(-1)
    return total / (n_steps - n_steps // 2)
