"""What a sequential sweep rests on, to 1e-10 on random games: the decomposition, the telescoping factor, the lemma."""

import torch
from exact.sweep import Turn, log_probs, sweep
from hypothesis import given, settings
from hypothesis import strategies as st

import hetrl
from hetrl.ops.markov_game import MarkovGame

EXACT = {"rtol": 0, "atol": 1e-10}
EVERY_GAME = settings(max_examples=40, deadline=None, derandomize=True, database=None)
ORDERS = ("order/random_permutation", "order/fixed", "order/reversed")


SHAPES = st.tuples(
    st.integers(1, 4),  # states
    st.lists(st.integers(1, 3), min_size=2, max_size=4),  # actions of each agent
    st.floats(0.0, 0.95),  # discount
    st.integers(0, 2**31 - 1),  # seed
)


def played(n_states, n_actions, gamma, seed):
    """Ten random games of one shape, policies before and after, and an order of the agents."""
    generator = torch.Generator().manual_seed(seed)
    game = MarkovGame.random(n_states, n_actions, gamma, generator, (10,))
    order = torch.randperm(game.n_agents, generator=generator).tolist()
    return game, game.random_policies(generator), game.random_policies(generator), order


def expected(game, visits, joint, values):
    """Return the sum over states and joint actions of visits times probability times values, [G]."""
    return (visits.reshape(*visits.shape, *[1] * game.n_agents) * joint * values).flatten(1).sum(1)


@EVERY_GAME
@given(SHAPES)
def test_the_joint_advantage_is_the_sum_of_the_agents(shape):
    """A^{i_1..i_n}(s, a) = sum over m of A^{i_m}(s, a^{i_1..i_{m-1}}, a^{i_m}); Kuba et al. 2022."""
    game, policies, _, order = played(*shape)
    for count in range(1, game.n_agents + 1):
        total = torch.zeros(())
        for place in range(count):
            term = game.marginal_advantage(policies, [order[place]], given=order[:place])
            total = total + term.reshape(*term.shape, *[1] * (count - place - 1))
        torch.testing.assert_close(total, game.marginal_advantage(policies, order[:count]), **EXACT)


@EVERY_GAME
@given(SHAPES, st.sampled_from(ORDERS))
def test_the_factor_telescopes(shape, name):
    """After the sweep it is the ratio of the joint policies: every agent once, whatever the order."""
    game, old, new, _ = played(*shape)
    upcoming = {id(before): after for before, after in zip(old, new, strict=True)}
    done = sweep(game, old, hetrl.component(name), lambda policy, slope: upcoming[id(policy)])
    torch.testing.assert_close(done.factor, game.joint(new) / game.joint(old), rtol=1e-10, atol=0)


@EVERY_GAME
@given(SHAPES)
def test_a_turn_sees_the_mean_of_its_own_advantage(shape):
    """E_old[(rho - 1) F A] is the mean of A^{i_m} over the new policies so far; Kuba et al. 2022."""
    game, old, new, order = played(*shape)
    advantage, visits = game.advantage(old), game.visitation(old)
    factor = hetrl.component("weight/unit_factor").compute(advantage)["factor"]
    for place, agent in enumerate(order):
        turn = Turn(game, old, advantage, factor, agent)
        gain = turn.surrogate(new[agent]) - turn.surrogate(old[agent])
        own = game.marginal_advantage(old, [agent], given=order[:place])
        for earlier in reversed([*order[: place + 1]]):
            shape = [*own.shape[:2], *[1] * (own.dim() - 3), own.shape[-1]]
            own = (own * new[earlier].reshape(shape)).sum(-1)
        torch.testing.assert_close(gain, (visits * own).sum(-1), **EXACT)
        new_log_prob, old_log_prob = (log_probs(game, policies[agent], agent) for policies in (new, old))
        component = hetrl.component("weight/importance_factor")
        factor = component.compute(new_log_prob, old_log_prob, factor)["factor"]


@EVERY_GAME
@given(SHAPES, st.sampled_from(ORDERS))
def test_the_difference_of_two_policies(shape, name):
    """J(new) - J(old) = E_{s ~ new, a ~ new}[A_old] = E_{s ~ new, a ~ old}[F A_old]; Kakade and Langford 2002."""
    game, old, new, _ = played(*shape)
    difference = game.performance(new) - game.performance(old)
    advantage, visits = game.advantage(old), game.visitation(new)
    torch.testing.assert_close(expected(game, visits, game.joint(new), advantage), difference, **EXACT)
    upcoming = {id(before): after for before, after in zip(old, new, strict=True)}
    factor = sweep(game, old, hetrl.component(name), lambda policy, slope: upcoming[id(policy)]).factor
    torch.testing.assert_close(expected(game, visits, game.joint(old), factor * advantage), difference, **EXACT)
