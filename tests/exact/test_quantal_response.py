"""Soft turns end where every policy answers the others softly: the quantal response equilibrium.

Liu et al., ICLR 2024, arXiv:2306.10715, Theorem 1: at a stationary point of the sequential soft update

pi^i(a) is proportional to exp(Qbar^i(a) / alpha),   Qbar^i(a) = E over a^-i ~ pi^-i of Q(a^i = a, a^-i),

the equilibrium of McKelvey and Palfrey 1995. The games have one state, so Q is the payoff. The turns go through
hetrl's orders; the equilibria they are compared with come from a root finder on the equations, begun elsewhere.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from exact.quantal_response import PENALTY, equilibria, variation

import hetrl
from hetrl.ops import categorical
from hetrl.ops.markov_game import MarkovGame

SHAPES = ((2, 2), (3, 3), (2, 4), (2, 3, 2), (3, 2, 4))
"""Actions of each agent; ten random games of each."""
N_GAMES = 10
SEQUENTIAL = ("order/random_permutation", "order/fixed", "order/reversed")
TEMPERATURES = (0.02, 0.1, 0.3, 1.0)
"""In units of (n - 1) times the difference of the game's largest and smallest payoff. From 1/2 up, soft turns
contract: a softmax moves, in the 1-norm, by no more than its largest input does, which is 1 / alpha of half that
difference times the 1-norms of all others' moves. Then there is one equilibrium."""


def one_shot(payoff):
    """Return games ``[G, 1, A_1, ..., A_n]`` of one state and no future."""
    first = torch.ones(len(payoff), 1, dtype=torch.float64)
    reward = payoff.unsqueeze(1)
    return MarkovGame(torch.ones(*reward.shape, 1, dtype=torch.float64), reward, first, 0.0)


def random_games(shape):
    """Return ten games with standard normal payoffs, and random policies."""
    generator = torch.Generator().manual_seed(sum(size * 5**place for place, size in enumerate(shape)))
    game = one_shot(torch.randn(N_GAMES, *shape, generator=generator, dtype=torch.float64))
    return game, game.random_policies(generator)


def temperature(game, share):
    """Return alpha for each game, ``[G]``, from its share of (n - 1) times the payoffs' spread."""
    payoff = game.reward.flatten(1)
    return share * (game.n_agents - 1) * (payoff.amax(1) - payoff.amin(1))


def answer(game, policies, agent, alpha):
    """Return the soft answer of an agent to the others, ``[G, 1, A_i]``."""
    return (game.marginal_q(policies, [agent]) / alpha.view(-1, 1, 1)).softmax(-1)


def soft_value(game, policies, alpha):
    """Return J + alpha times everybody's entropy, ``[G]`` [reward]."""
    return game.performance(policies) + alpha * sum(torch.special.entr(policy).sum((1, 2)) for policy in policies)


def turns(game, policies, order, alpha):
    """Yield the policies after each round of a sweep. Within a round nobody sees another's answer, as in training."""
    rounds = order.compute(torch.arange(game.n_agents))["round"].tolist()
    for number in sorted(set(rounds)):
        seen = list(policies)
        for agent in (agent for agent, at in enumerate(rounds) if at == number):
            policies = [*policies[:agent], answer(game, seen, agent, alpha), *policies[agent + 1 :]]
        yield policies


def settled(game, policies, order, alpha, n_sweeps=5000):
    """Sweep until nothing moves; return the policies and the most that a turn lowered the soft value."""
    value, lowest = soft_value(game, policies, alpha), math.inf
    for _ in range(n_sweeps):
        before = policies
        for policies in turns(game, policies, order, alpha):  # noqa: B020 (the next sweep begins where this one ends)
            now = soft_value(game, policies, alpha)
            lowest, value = min(lowest, (now - value).min().item()), now
        if all((old - new).abs().max() < 1e-13 for old, new in zip(before, policies, strict=True)):
            break
    return policies, lowest


def order_of(name):
    order = hetrl.component(name)
    if hasattr(order, "generator"):
        order.generator.manual_seed(0)
    return order


def roots_of(game, alpha):
    """Return each game's equilibria, by a root finder that knows nothing of sweeps."""
    return [equilibria(payoff, own) for payoff, own in zip(game.reward[:, 0].numpy(), alpha.tolist(), strict=True)]


def distance(policies, roots):
    """Return the largest total variation to the nearest equilibrium, over games and agents."""
    found = [[policy[place, 0].numpy() for policy in policies] for place in range(len(roots))]
    return max(min(variation(own, each) for each in several) for own, several in zip(found, roots, strict=True))


# ----- one turn


@pytest.mark.parametrize("shape", SHAPES)
def test_a_soft_answer_minimises_the_expected_soft_policy_loss(shape):
    """Through the component: the others' actions, weighted by their probability, are the batch that it averages.

    Its gradient in the logits is 0 there, the loss is -alpha log sum exp(Qbar / alpha), and it is more elsewhere.
    """
    game, policies = random_games(shape)
    loss, alpha = hetrl.component("loss/expected_soft_policy"), temperature(game, 0.1)
    for agent in range(game.n_agents):
        q = game.reward.movedim(2 + agent, -1)
        others = (game.joint(policies) / game.along(policies[agent], agent)).movedim(2 + agent, -1)[..., 0]
        like = [len(q), 1, *[1] * (game.n_agents - 1)]

        def objective(log_prob, q=q, others=others, like=like):
            log_prob = log_prob.view(*like, -1).expand_as(q)
            each = loss.compute(alpha.view(like).expand(q.shape[:-1]), log_prob, q)["loss"]
            return (others * each).flatten(1).sum(1)

        best = answer(game, policies, agent, alpha).log().requires_grad_()
        least = objective(best.log_softmax(-1))
        (slope,) = torch.autograd.grad(least.sum(), best)
        torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-12)
        scaled = game.marginal_q(policies, [agent])[:, 0] / alpha.unsqueeze(-1)
        torch.testing.assert_close(least, -alpha * scaled.logsumexp(-1), rtol=0, atol=1e-12)
        assert (objective(policies[agent].log()) > least).all()


def test_straight_through_agrees_where_q_is_linear_in_the_action():
    """At the soft answer every draw has the gradient alpha (sample - pi), whose mean is 0; McKelvey's is its only zero.

    With Q linear, the sample's own gradient J (alpha log pi - Qbar) is that of a constant there, and J 1 = 0. A network
    that is right at every one-hot action need not be linear between them, and then this does not hold.
    """
    alpha, q = 0.5, torch.tensor([1.0, -0.5, 0.2], dtype=torch.float64)
    logits = (q / alpha).requires_grad_()
    policy, noise = logits.detach().softmax(-1), torch.randn(200, 3, dtype=torch.float64)
    loss = hetrl.component("loss/soft_policy")
    for draw in noise:
        proposal, log_prob = categorical.straight_through(logits, draw, [3])
        value = loss.compute(torch.tensor(alpha).to(q), log_prob, (proposal * q).sum(-1))["loss"]
        (slope,) = torch.autograd.grad(value, logits)
        torch.testing.assert_close(slope, alpha * (proposal.detach() - policy), rtol=0, atol=1e-12)


# ----- sweep after sweep


@pytest.mark.parametrize("share", TEMPERATURES)
@pytest.mark.parametrize("shape", SHAPES)
def test_soft_sweeps_end_at_a_quantal_response_equilibrium(shape, share):
    """And no turn on the way lowers J + alpha H. At the largest temperature there is one equilibrium to end at."""
    game, start = random_games(shape)
    alpha = temperature(game, share)
    roots = roots_of(game, alpha)
    assert share < 1 or all(len(several) == 1 for several in roots)
    for name in SEQUENTIAL:
        policies, lowest = settled(game, start, order_of(name), alpha)
        assert lowest > -1e-12
        assert distance(policies, roots) < 1e-6


ENDS = {1: 5.0, 3: 4.976, 6: 3.097, 7: 19.450, 10: 16.550, 15: 2.671, 25: -8.442}
"""Payoff of the penalty game expected where soft sweeps from (0.6, 0.2, 0.2) end."""


@pytest.mark.parametrize("alpha", ENDS)
def test_the_penalty_game(alpha):
    """From the published start, A up to alpha = 6.71, C from there on."""
    game = one_shot(torch.tensor([PENALTY], dtype=torch.float64))
    start = [torch.tensor([[[0.6, 0.2, 0.2]]], dtype=torch.float64)] * 2
    temperatures = torch.tensor([float(alpha)], dtype=torch.float64)
    policies, lowest = settled(game, start, order_of("order/random_permutation"), temperatures)
    assert lowest > -1e-12
    roots = roots_of(game, temperatures)
    assert distance(policies, roots) < 1e-6
    assert game.performance(policies).item() == pytest.approx(ENDS[alpha], abs=1e-3)
    assert policies[0].argmax() == (0 if alpha <= 6 else 2)
    assert len(roots[0]) == 1 or alpha < 20  # by the contraction


def test_the_first_equilibrium_is_there_before_the_start_leaves_it():
    """Above 6.71 the start goes to C, but up to 7.92 there still is an equilibrium at A."""
    payoff = np.array(PENALTY, dtype=float)
    assert [any(each[0][0] > 0.7 for each in equilibria(payoff, alpha)) for alpha in (7.8, 8.0)] == [True, False]


def test_together_soft_answers_go_round_in_circles():
    """Where taking turns settles. They earn 1 where they differ; at a small alpha each leaves for the other's place."""
    game = one_shot(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]], dtype=torch.float64))
    start, alpha = [torch.tensor([[[0.6, 0.4]]], dtype=torch.float64)] * 2, torch.tensor([0.1], dtype=torch.float64)
    policies, lowest = settled(game, start, order_of("order/fixed"), alpha)
    assert lowest > -1e-12
    assert game.performance(policies).item() > 0.99
    policies, lowest = settled(game, start, order_of("order/simultaneous"), alpha, n_sweeps=200)
    assert lowest < -0.3
    assert distance(policies, roots_of(game, alpha)) > 0.4


def test_the_root_finder_knows_all_equilibria_of_a_small_game():
    """Payoff 1 where two agents do the same: p = 1 / (1 + exp((1 - 2 q) / alpha)) and the same for q.

    With alpha below 1/2 there are three, symmetric about the middle one; above, the middle one alone.
    """
    payoff = np.eye(2)
    firsts = sorted(root[0][0] for root in equilibria(payoff, 0.3))
    assert len(firsts) == 3
    assert firsts[1] == pytest.approx(0.5, abs=1e-9)
    assert firsts[0] + firsts[2] == pytest.approx(1, abs=1e-9)
    assert firsts[2] == pytest.approx(1 / (1 + math.exp((1 - 2 * firsts[2]) / 0.3)), abs=1e-9)
    assert [root[0][0] for root in equilibria(payoff, 0.6)] == pytest.approx([0.5])
    assert list(itertools.chain(*equilibria(payoff, 0.6)[0])) == pytest.approx([0.5] * 4)
