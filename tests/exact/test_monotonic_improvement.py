"""A sequential sweep never lowers J; a simultaneous one does. On thousands of random games, with exact arithmetic.

The theorem (Kuba et al. 2022, arXiv:2109.11251; Zhong et al. 2024, JMLR 25, 23-0488): where every turn raises its
surrogate E[rho F A] by at least C times the largest KL over states, J rises by at least what is left over. The turns
here take the exact maximum of that difference (``sweep.penalised``), which is at least 0 because staying put gives 0.

Agents that see the state can improve in every state by itself, and then no penalty is needed for J not to fall. Agents
that see nothing trade one state for another; C is there for them, so both kinds are tested.
"""

import pytest
import torch
from exact.sweep import Turn, best_response, blind, divergence, penalised, sweep, trust_region
from hypothesis import given, settings
from hypothesis import strategies as st

import hetrl
from hetrl.ops.markov_game import MarkovGame, random_distribution, trust_region_coef

SEQUENTIAL = ("order/random_permutation", "order/fixed", "order/reversed")
N_GAMES = 60
"""Games of one shape in an example; 20 examples make 1,200 games for each kind of order and of sight."""
SIGHTS = {"seeing": lambda maximise: maximise, "blind": blind}

SHAPES = st.tuples(
    st.integers(1, 4),  # states
    st.lists(st.integers(2, 3), min_size=2, max_size=4),  # actions of each agent
    st.integers(0, 2**31 - 1),  # seed
)
THOUSAND = settings(max_examples=20, deadline=None, derandomize=True, database=None)


def random_games(n_states, n_actions, seed, sight="seeing", count=N_GAMES):
    """Return games whose discounts reach from 0.99 down to almost 0, where the theorem lets agents step far."""
    generator = torch.Generator().manual_seed(seed)
    gamma = 0.99 * torch.rand(count, generator=generator, dtype=torch.float64) ** 4 + 1e-6
    game = MarkovGame.random(n_states, n_actions, gamma, generator, (count,))
    return game, start(game, generator, sight)


def start(game, generator, sight):
    """Return random policies, for blind agents the same in every state."""
    policies = game.random_policies(generator)
    return policies if sight == "seeing" else [policy[:, :1].expand_as(policy) for policy in policies]


def component(name, seed=0):
    order = hetrl.component(name)
    if hasattr(order, "generator"):
        order.generator.manual_seed(seed)
    return order


def improvement(game, policies, done):
    """Return J(new) - J(old), ``[G]``, in units of the largest return that a game can have."""
    scale = game.reward.abs().flatten(1).amax(1) / (1 - game.gamma)
    return (game.performance(done.policies) - game.performance(policies)) / scale, scale


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("name", SEQUENTIAL)
@THOUSAND
@given(SHAPES)
def test_a_sequential_sweep_never_lowers_the_return(name, sight, shape):
    """And it raises it, by at least the theorem's bound: the turns' surrogates less C times their KL."""
    n_states, n_actions, seed = shape
    own = 2 * SEQUENTIAL.index(name) + (sight == "blind")  # other games for each order and sight
    game, policies = random_games(n_states, n_actions, seed + own, sight)
    done = sweep(game, policies, component(name, seed), SIGHTS[sight](trust_region(game, policies)))
    rise, scale = improvement(game, policies, done)
    coef = trust_region_coef(game.advantage(policies), game.gamma, game.n_agents)
    bound = sum(gain - coef * kl for gain, kl in zip(done.gains, done.divergences, strict=True)) / scale
    assert (rise >= -1e-9).all()
    assert (rise >= bound - 1e-9).all()
    assert (bound >= -1e-9).all()
    assert (rise > 1e-6).double().mean() > 0.95


@pytest.mark.parametrize("name", SEQUENTIAL)
@THOUSAND
@given(SHAPES)
def test_without_a_future_no_penalty_is_needed(name, shape):
    """With one state, C guards against nothing: J rises by exactly what the surrogates do, however far a turn goes.

    Half of the games take the best response, half a hundredth of the penalty.
    """
    game, policies = random_games(1, *shape[1:])
    for maximise in (best_response, trust_region(game, policies, caution=0.01)):
        done = sweep(game, policies, component(name, shape[-1]), maximise)
        rise, scale = improvement(game, policies, done)
        torch.testing.assert_close(rise, sum(done.gains) / scale, rtol=0, atol=1e-10)
        assert (rise >= -1e-9).all()


def test_sweep_after_sweep():
    """Twenty sweeps of the theorem on a hundred games: J never falls, and gets somewhere."""
    game, policies = random_games(3, [2, 3], seed=0, count=100)
    order, first = component("order/random_permutation"), policies
    for _ in range(20):
        done = sweep(game, policies, order, trust_region(game, policies))
        assert (improvement(game, policies, done)[0] >= -1e-9).all()
        policies = done.policies
    assert improvement(game, first, done)[0].median() > 0.2


# ----- the other way round: together


def lowered(n_states, n_actions, name, maximiser, gamma=None, sight="seeing"):
    """Return the share of 1,000 games in which a sweep lowers J."""
    generator = torch.Generator().manual_seed(0)
    gammas = torch.rand(1000, generator=generator, dtype=torch.float64) * 0.9 + 0.05 if gamma is None else gamma
    game = MarkovGame.random(n_states, n_actions, gammas, generator, (1000,))
    policies = start(game, generator, sight)
    done = sweep(game, policies, component(name), SIGHTS[sight](maximiser(game, policies)))
    return (improvement(game, policies, done)[0] < -1e-9).double().mean().item()


BOLD = {
    "best response": lambda game, policies: best_response,
    "a thousandth of C": lambda game, policies: trust_region(game, policies, caution=0.001),
}


@pytest.mark.parametrize("how", BOLD)
@pytest.mark.parametrize(("n_states", "n_actions"), [(1, (2, 2)), (1, (3, 3, 3)), (2, (3, 3, 2)), (4, (2, 2, 2, 2))])
def test_bold_steps_taken_together_lower_the_return(n_states, n_actions, how):
    """In one game of twenty or more. One after the other, the same steps lower it in none of these games.

    That is no luck: these agents see the state, so a turn improves every state, and with it J.
    """
    assert lowered(n_states, n_actions, "order/simultaneous", BOLD[how]) > 0.05
    assert lowered(n_states, n_actions, "order/fixed", BOLD[how]) == 0


@pytest.mark.parametrize("n_actions", [(2, 2), (3, 3), (2, 2, 2)])
def test_the_theorems_own_penalty_does_not_save_them(n_actions):
    """Where the future counts little, C is small. The order is what makes the theorem true, not caution alone."""
    assert lowered(1, n_actions, "order/simultaneous", trust_region, gamma=0.002) > 0.05
    assert lowered(1, n_actions, "order/fixed", trust_region, gamma=0.002) == 0


def test_blind_agents_need_the_penalty():
    """Bold steps lower J even one after the other, if less often than together. With C, turns never can."""
    shape = (4, (2, 2))
    in_turn, together = (lowered(*shape, f"order/{word}", BOLD["best response"], sight="blind") for word in
                         ("fixed", "simultaneous"))  # fmt: skip
    assert 0.005 < in_turn < together
    assert lowered(*shape, "order/fixed", trust_region, sight="blind") == 0


# ----- the game of docs/details/exact_games.md


def differ(gamma=0.0):
    """Two agents who earn 1 when they do different things, and play their first action with probability 0.6."""
    reward = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]], dtype=torch.float64)
    game = MarkovGame(torch.ones_like(reward).unsqueeze(-1), reward, torch.ones(1, dtype=torch.float64), gamma)
    return game, [torch.tensor([[0.6, 0.4]], dtype=torch.float64)] * 2


def per_play(game, policies):
    """Return the payoff expected of one play."""
    return (game.performance(policies) * (1 - game.gamma)).item()


def test_the_smallest_game_by_hand():
    """J = 2 * 0.6 * 0.4 = 0.48. Together both switch to the second action: 0. In turn, only one does: 1."""
    game, start = differ()
    assert per_play(game, start) == pytest.approx(0.48)
    assert game.marginal_q(start, [0]).flatten().tolist() == pytest.approx([0.4, 0.6])  # the second is better
    together = sweep(game, start, component("order/simultaneous"), best_response)
    assert per_play(game, together.policies) == 0
    for name, first in (("order/fixed", 0), ("order/reversed", 1)):
        done = sweep(game, start, component(name), best_response)
        assert done.order == [first, 1 - first]
        assert per_play(game, done.policies) == 1
        assert done.policies[first].tolist() == [[0, 1]] and done.policies[1 - first].tolist() == [[1, 0]]
    # What the second agent sees: F is 0 where the first plays its first action, 1 / 0.4 where it plays the other.
    advantage = game.advantage(start)
    assert advantage.flatten().tolist() == pytest.approx([-0.48, 0.52, 0.52, -0.48])
    factor = torch.tensor([[[0.0, 0.0], [2.5, 2.5]]], dtype=torch.float64)
    slope = Turn(game, start, advantage, factor, agent=1).slope()
    assert slope.flatten().tolist() == pytest.approx([0.52, -0.48])  # 0.4 * 2.5 * A


def test_the_smallest_game_with_the_theorems_penalty():
    """gamma = 0.05: C = 4 * 0.05 * 0.52 / 0.95^2 = 0.1152, and both agents go to (0.254, 0.746) together."""
    game, start = differ(gamma=0.05)
    coef = trust_region_coef(game.advantage(start), game.gamma, 2)
    assert coef.item() == pytest.approx(0.104 / 0.9025)
    together = sweep(game, start, component("order/simultaneous"), trust_region(game, start))
    assert torch.equal(*together.policies)
    assert together.policies[0].flatten().tolist() == pytest.approx([0.254, 0.746], abs=5e-4)
    assert per_play(game, together.policies) == pytest.approx(0.379, abs=5e-4)
    in_turn = sweep(game, start, component("order/fixed"), trust_region(game, start))
    assert in_turn.policies[1].flatten().tolist() == pytest.approx([0.922, 0.078], abs=5e-4)
    assert per_play(game, in_turn.policies) == pytest.approx(0.708, abs=5e-4)


# ----- the maximiser itself


def test_the_maximiser_finds_the_maximum():
    """No other policy does better: not 1,000 random ones, not those between them and the old one or the best."""
    generator = torch.Generator().manual_seed(0)
    old, coef = random_distribution((50, 3, 4), generator), 10 ** torch.linspace(-2, 2, 50, dtype=torch.float64)
    slope = torch.randn(50, 3, 4, generator=generator, dtype=torch.float64)
    slope[:5, 1] = 3.0  # a state in which nothing is better than anything else

    def objective(policy):
        return (slope * (policy - old)).sum((-2, -1)) - coef * divergence(old, policy).amax(-1)

    best = penalised(old, slope, coef)
    torch.testing.assert_close(best.sum(-1), torch.ones(50, 3, dtype=torch.float64), rtol=0, atol=1e-12)
    top = objective(best)
    assert (top > 0).all()
    assert torch.equal(best[:5, 1], old[:5, 1])
    for _ in range(1000):
        other = random_distribution((50, 3, 4), generator)
        share = 10 ** (-4 * torch.rand(50, 1, 1, generator=generator, dtype=torch.float64))
        for reference in (old, best):
            assert (objective(reference + share * (other - reference)) <= top + 1e-7).all()


def test_the_maximiser_by_hand():
    """One state, old (0.5, 0.5), slope (1, 0), C = 1/2; the first action's probability x has 1 = C (1/(1-x) - 1/x)/2.

    Then 4 x (1 - x) = 2 x - 1, so x = (1 + sqrt 5) / 4 = 0.809.
    """
    old, slope = torch.full((1, 1, 2), 0.5, dtype=torch.float64), torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    new = penalised(old, slope, torch.tensor([0.5], dtype=torch.float64))
    assert new.flatten()[0].item() == pytest.approx((1 + 5**0.5) / 4, abs=1e-6)
