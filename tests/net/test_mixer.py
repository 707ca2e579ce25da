import pytest
import torch
from torch.nn import functional

from hetrl.estimate.sum_of_utilities import SumOfUtilities
from hetrl.net.mixer import Mixer
from hetrl.team import Box, Team

TEAM = Team.of(["a", "b", "c"], [2, 2, 3], [Box((-1.0,), (1.0,))] * 3)


def mixer(seed=0, **arguments):
    torch.manual_seed(seed)
    return Mixer(TEAM.agents[0], TEAM, **arguments).double()


def made_up(n, scale=1.0):
    state = torch.randn(n, TEAM.state_size, dtype=torch.float64) * scale
    return state, (torch.randn(3, n, dtype=torch.float64) * scale).unbind(0)


def constant(net, weights, biases):
    """Make a mixer whose layers have these weights and biases, whatever the state."""
    with torch.no_grad():
        for networks, numbers in ((net.weights, weights), (net.biases, biases)):
            for network, each in zip(networks, numbers, strict=True):
                network.last.weight.zero_()
                network.last.bias.copy_(torch.tensor(each, dtype=torch.float64).flatten())
    return net


def test_by_hand():
    """Utilities 1, 2 and -1; weights (1, 2), (0.5, 1) and (0, 3); biases (-1, -6).

    The hidden layer is 1 + 1 + 0 - 1 = 1 and 2 + 2 - 3 - 6 = -5, of which elu makes 1 and e^-5 - 1; 3 and 4 times
    these, and 7 more.
    """
    net = constant(mixer(hidden=[2]), [[[1.0, 2.0], [-0.5, 1.0], [0.0, -3.0]], [-3.0, 4.0]], [[-1.0, -6.0], [7.0]])
    utility = tuple(torch.tensor([each], dtype=torch.float64) for each in (1.0, 2.0, -1.0))
    found = net.total(torch.zeros(1, 7, dtype=torch.float64), utility)["q"]
    wanted = 3 * 1 + 4 * (torch.tensor([-5.0], dtype=torch.float64).exp() - 1) + 7
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("hidden", [[], [8], [8, 8]])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_is_monotone_in_every_utility(hidden, scale):
    """At 500 random states and utilities of each of 8 networks the slopes are at least 0, and not all 0."""
    for seed in range(8):
        net = mixer(seed, hidden=hidden)
        for parameter in net.parameters():  # far from where it starts, too
            parameter.data.add_(torch.randn_like(parameter) * scale)
        state, utility = made_up(500, scale)
        leaves = [each.requires_grad_() for each in utility]
        slopes = torch.stack(torch.autograd.grad(net.total(state, tuple(leaves))["q"].sum(), leaves))
        assert (slopes >= 0).all() and (slopes > 0).any()


def test_raising_a_utility_never_lowers_the_total():
    """Not only at a point: steps of any length, in any of them together."""
    net = mixer(hidden=[8])
    state, utility = made_up(2000, 3.0)
    more = tuple(each + torch.rand_like(each) * 5 for each in utility)
    assert (net.total(state, more)["q"] >= net.total(state, utility)["q"]).all()


def test_everybodys_best_option_is_the_teams():
    """Over all 4^3 joint actions of 50 tables of utilities the greatest total is that of the greatest utilities."""
    net, options = mixer(hidden=[8]), torch.randn(50, 3, 4, dtype=torch.float64)
    state, _ = made_up(50)
    joint = torch.cartesian_prod(*(torch.arange(4),) * 3)
    utility = tuple(options[:, agent].index_select(-1, joint[:, agent]) for agent in range(3))
    total = net.total(state.unsqueeze(1).expand(-1, 64, -1), utility)["q"]
    best = net.total(state, options.amax(-1).unbind(1))["q"]
    torch.testing.assert_close(total.amax(-1), best)


def test_a_linear_one_with_equal_weights_is_the_sum():
    """What ``estimate/sum_of_utilities`` says, to the bit where weights are 1; also with agents that are out."""
    net = constant(mixer(hidden=[]), [[1.0, -1.0, 1.0]], [[0.0]])
    state, utility = made_up(200)
    active = (torch.rand(3, 200) < 0.7).unbind(0)
    for given in ((utility,), (utility, active)):
        torch.testing.assert_close(net.total(state, *given)["q"], SumOfUtilities().compute(*given)["q"])


def test_a_mixer_as_wide_as_the_team_can_be_the_sum():
    """Where elu is the identity: each utility in a unit of its own, moved above 0 and back."""
    net = constant(mixer(hidden=[3]), [torch.eye(3).tolist(), [1.0] * 3], [[100.0] * 3, [-300.0]])
    state, utility = made_up(200)
    torch.testing.assert_close(net.total(state, utility)["q"], sum(utility))


def test_who_is_out_counts_0():
    net = mixer()
    state, utility = made_up(5)
    out = (torch.ones(5, dtype=torch.bool), torch.zeros(5, dtype=torch.bool), torch.ones(5, dtype=torch.bool))
    found = net.total(state, utility, out)["q"]
    torch.testing.assert_close(found, net.total(state, (utility[0], torch.zeros_like(utility[1]), utility[2]))["q"])
    leaf = utility[1].clone().requires_grad_()
    (slope,) = torch.autograd.grad(net.total(state, (utility[0], leaf, utility[2]), out)["q"].sum(), leaf)
    assert (slope == 0).all()


def test_the_weights_are_the_states():
    """Written out for one state, from the hypernetworks themselves."""
    net = mixer(hidden=[4])
    state, utility = made_up(3)
    row, each = state[1], torch.stack(utility, -1)[1]
    first, second = net.weights[0](row).abs().view(3, 4), net.weights[1](row).abs().view(4, 1)
    wanted = functional.elu(each @ first + net.biases[0](row)) @ second + net.biases[1](row)
    torch.testing.assert_close(net.total(state, utility)["q"][1:2], wanted)
