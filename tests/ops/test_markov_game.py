"""Linear algebra against loops over states, joint actions and steps."""

import itertools

import pytest
import torch

from hetrl.ops.markov_game import MarkovGame, random_distribution, trust_region_coef

SIZES = [(1, (2,)), (2, (2, 3)), (3, (2, 1, 3)), (2, (2, 2, 2, 2))]
EXACT = {"rtol": 0, "atol": 1e-10}


def made(n_states, n_actions, seed=0, n_games=()):
    generator = torch.Generator().manual_seed(seed)
    game = MarkovGame.random(n_states, n_actions, 0.7, generator, n_games)
    return game, game.random_policies(generator), generator


def joint_actions(game):
    return list(itertools.product(*(range(size) for size in game.n_actions)))


def chance(policies, state, actions):
    product = 1.0
    for policy, action in zip(policies, actions, strict=True):
        product *= policy[state, action].item()
    return product


def stepped(game, policies, occupied):
    """Return where the team is one step later, and what it earns in that step, by loops."""
    following, earned = [0.0] * game.n_states, 0.0
    for state, actions in itertools.product(range(game.n_states), joint_actions(game)):
        taken = occupied[state] * chance(policies, state, actions)
        earned += taken * game.reward[(state, *actions)].item()
        for after in range(game.n_states):
            following[after] += taken * game.transition[(state, *actions, after)].item()
    return following, earned


def series(game, policies, occupied, n_steps=80):
    """Return the discounted return and the discounted visits from a distribution of states; 0.7^80 is 4e-13."""
    total, visits = 0.0, torch.zeros(game.n_states, dtype=torch.float64)
    for step in range(n_steps):
        visits += 0.7**step * torch.tensor(occupied, dtype=torch.float64)
        occupied, earned = stepped(game, policies, occupied)
        total += 0.7**step * earned
    return total, visits


@pytest.mark.parametrize(("n_states", "n_actions"), SIZES)
def test_against_the_series(n_states, n_actions):
    game, policies, _ = made(n_states, n_actions)
    performance, visits = series(game, policies, game.start.tolist())
    assert game.performance(policies).item() == pytest.approx(performance, abs=1e-10)
    torch.testing.assert_close(game.visitation(policies), visits, **EXACT)
    value, q, advantage = game.value(policies), game.joint_q(policies), game.advantage(policies)
    for state in range(n_states):
        from_here, _ = series(game, policies, [float(other == state) for other in range(n_states)])
        assert value[state].item() == pytest.approx(from_here, abs=1e-10)
        for actions in joint_actions(game):
            place = (state, *actions)
            later, _ = series(game, policies, game.transition[place].tolist())
            assert q[place].item() == pytest.approx(game.reward[place].item() + 0.7 * later, abs=1e-10)
            assert advantage[place].item() == pytest.approx(q[place].item() - from_here, abs=1e-10)


def test_against_simulated_episodes():
    """4,000 episodes of 60 steps: the mean discounted return within five standard errors of J."""
    game, policies, generator = made(3, (2, 3))
    rows, total = torch.multinomial(game.start, 4000, True, generator=generator), torch.zeros(4000)
    for step in range(60):
        actions = [torch.multinomial(policy[rows], 1, generator=generator).squeeze(-1) for policy in policies]
        total += 0.7**step * game.reward[(rows, *actions)]
        rows = torch.multinomial(game.transition[(rows, *actions)], 1, generator=generator).squeeze(-1)
    error = (total.mean() - game.performance(policies)).abs()
    assert error < 5 * total.std() / 4000**0.5


def test_marginals_by_loops():
    """Of agents 2 and 0, in that order, given agent 1, over the actions of agent 3."""
    game, policies, _ = made(2, (2, 2, 3, 2))
    q, found = game.joint_q(policies), game.marginal_advantage(policies, agents=[2, 0], given=[1])
    assert found.shape == (2, 2, 3, 2)
    for state, one, two, zero in itertools.product(range(2), range(2), range(3), range(2)):
        both = sum(policies[3][state, a] * q[state, zero, one, two, a] for a in range(2))
        before = 0.0
        for a, b, c in itertools.product(range(2), range(3), range(2)):
            before += policies[0][state, a] * policies[2][state, b] * policies[3][state, c] * q[state, a, one, b, c]
        assert found[state, one, two, zero].item() == pytest.approx((both - before).item(), abs=1e-12)
    torch.testing.assert_close(game.marginal_q(policies, []), game.value(policies), **EXACT)
    torch.testing.assert_close(game.marginal_q(policies, range(4)), q, **EXACT)
    torch.testing.assert_close(game.marginal_q(policies, [3, 1, 0, 2]), q.permute(0, 4, 2, 1, 3), **EXACT)
    torch.testing.assert_close(game.marginal_advantage(policies, range(4)), game.advantage(policies), **EXACT)


def test_the_docstrings_numbers():
    reward = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    game = MarkovGame(torch.ones_like(reward).unsqueeze(-1), reward, torch.ones(1, dtype=torch.float64), 0.5)
    even = [torch.full((1, 2), 0.5, dtype=torch.float64)]
    assert game.value(even).tolist() == [1.0] and game.performance(even).item() == 1.0
    assert game.joint_q(even).tolist() == [[1.5, 0.5]] and game.advantage(even).tolist() == [[0.5, -0.5]]
    assert game.visitation(even).tolist() == [2.0]  # 1 / (1 - 0.5)
    gamma, advantage = torch.tensor(0.5), torch.tensor([[1.0, -2.0]])
    assert trust_region_coef(advantage, gamma, 1).item() == 16.0


def test_stacked_games_are_solved_one_by_one():
    game, policies, _ = made(3, (2, 3), n_games=(2, 4))
    alone = MarkovGame(game.transition[1, 2], game.reward[1, 2], game.start[1, 2], 0.7)
    own = [policy[1, 2] for policy in policies]
    for quantity in ("value", "performance", "joint_q", "advantage", "visitation"):
        torch.testing.assert_close(getattr(game, quantity)(policies)[1, 2], getattr(alone, quantity)(own), **EXACT)
    marginal = game.marginal_advantage(policies, [1], given=[0])
    torch.testing.assert_close(marginal[1, 2], alone.marginal_advantage(own, [1], given=[0]), **EXACT)
    coef = trust_region_coef(game.advantage(policies), game.gamma, 2)
    expected = trust_region_coef(alone.advantage(own), alone.gamma, 2)
    torch.testing.assert_close(coef[1, 2], expected, **EXACT)


def test_random_games_are_games_and_follow_their_generator():
    game, policies, _ = made(3, (2, 3), n_games=(5,))
    for table in (game.transition, game.start, *policies):
        torch.testing.assert_close(table.sum(-1), torch.ones(table.shape[:-1], dtype=torch.float64), **EXACT)
        assert (table >= 0).all()
    assert game.n_actions == (2, 3) and game.transition.shape == (5, 3, 2, 3, 3)
    assert torch.equal(made(3, (2, 3), n_games=(5,))[0].transition, game.transition)
    assert not torch.equal(made(3, (2, 3), seed=1, n_games=(5,))[0].transition, game.transition)
    uniform = random_distribution((20000, 2), torch.Generator().manual_seed(0))[:, 0]
    assert uniform.mean().item() == pytest.approx(1 / 2, abs=0.01)  # of two, the first is uniform on [0, 1]
    assert uniform.var().item() == pytest.approx(1 / 12, abs=0.003)


def test_shapes_that_do_not_fit():
    game = made(2, (2, 3))[0]
    message = r"^transition \[2, 2, 3, 2\], reward \[2, 3\] and start \[2\] do not belong to one game; use \[S, A_1, "
    with pytest.raises(ValueError, match=message):
        MarkovGame(game.transition, game.reward[0], game.start, 0.5)
