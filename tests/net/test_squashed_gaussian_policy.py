import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from hetrl.net.squashed_gaussian_policy import SquashedGaussianPolicy
from hetrl.team import Agent, Box, Team

LOW, HIGH = -0.5, 2.0
AGENT = Agent("a", "agents", 0, 1, Box((LOW,), (HIGH,)), "agents")
WIDE = Agent("a", "agents", 0, 1, Box((LOW, 0.0), (HIGH, 10.0)), "agents")
OBSERVATION = torch.zeros(1, 1, dtype=torch.float64)


def policy(mean, std, agent=AGENT, density="action"):
    """Return a policy whose u has this mean and deviation, whatever it observes."""
    net = SquashedGaussianPolicy(
        agent, Team((agent,), 1), hidden=[], std="state_independent", std_map="exp", density=density
    ).double()
    with torch.no_grad():
        net.head.body[0].weight.zero_()
        net.head.body[0].bias.fill_(mean)
        net.head.raw_std.fill_(math.log(std))
    return net


def density(net, action):
    value = torch.tensor([[action]], dtype=torch.float64)
    return net.log_prob(OBSERVATION, value)["log_prob"].exp().item()


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.8, 0.5), (-1.0, 0.3)])
def test_probability_integrates_to_1_over_asymmetric_bounds(mean, std):
    net = policy(mean, std)
    total, error = quad(lambda action: density(net, action), LOW + 1e-6, HIGH - 1e-6, limit=200)
    assert error < 1e-5 and total == pytest.approx(1.0, abs=1e-5)


def test_log_prob_by_hand():
    """In the middle of the bounds u = 0 and the slope is 1.25: log N(0) - log 1.25 = -0.918939 - 0.223144."""
    found = policy(0.0, 1.0).log_prob(OBSERVATION, torch.tensor([[0.75]], dtype=torch.float64))["log_prob"]
    assert found.item() == pytest.approx(-0.918939 - 0.223144, abs=1e-5)


def test_each_dimension_has_its_own_bounds():
    """The middles are 0.75 and 5, the slopes 1.25 and 5: 2 * -0.918939 - log 6.25 = -3.670459."""
    net = policy(0.0, 1.0, WIDE)
    assert net.act(OBSERVATION)["proposal"].tolist() == [[0.75, 5.0]]
    found = net.log_prob(OBSERVATION, torch.tensor([[0.75, 5.0]], dtype=torch.float64))["log_prob"]
    assert found.item() == pytest.approx(-3.670459, abs=1e-5)


def test_entropy_averages_to_minus_the_mean_log_prob():
    """Gauss-Hermite nodes as noise make the average exact; the other side is an integral over actions."""
    net = policy(0.8, 0.5)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    noise = torch.tensor(nodes, dtype=torch.float64).unsqueeze(-1)
    stay = torch.full((40, 1), 0.75, dtype=torch.float64)
    each = net.log_prob(OBSERVATION.expand(40, 1), stay, noise)["entropy"]
    found = (each.detach() * torch.tensor(weights)).sum() / weights.sum()

    def integrand(action):
        p = density(net, action)
        return -p * math.log(p) if p > 0 else 0.0

    assert found.item() == pytest.approx(quad(integrand, LOW + 1e-6, HIGH - 1e-6, limit=200)[0], abs=1e-5)


def test_sample_agrees_with_log_prob():
    net = policy(0.2, 0.7, WIDE)
    out = net.sample(OBSERVATION.expand(20, 1), torch.randn(20, 2, dtype=torch.float64))
    low, high = torch.tensor(WIDE.action.low), torch.tensor(WIDE.action.high)
    assert ((out["proposal"] > low) & (out["proposal"] < high)).all()
    again = net.log_prob(OBSERVATION.expand(20, 1), out["proposal"])["log_prob"]
    torch.testing.assert_close(again, out["proposal_log_prob"])
    torch.testing.assert_close(net.sample(OBSERVATION, torch.zeros(1, 2).double())["proposal"], net.greedy(OBSERVATION))


def test_sample_sends_a_gradient_to_mean_and_deviation():
    net = policy(0.0, 1.0)
    net.sample(OBSERVATION, torch.ones(1, 1, dtype=torch.float64))["proposal"].sum().backward()
    slope = 1.25 * (1 - math.tanh(1) ** 2)
    assert net.head.body[0].bias.grad.item() == pytest.approx(slope)
    assert net.head.raw_std.grad.item() == pytest.approx(slope)


def test_actions_on_the_bounds_have_finite_log_probs():
    net = policy(0.0, 1.0)
    action = torch.tensor([[LOW], [HIGH]], dtype=torch.float64)
    assert net.log_prob(OBSERVATION.expand(2, 1), action)["log_prob"].isfinite().all()


def test_drawing_follows_the_noise_it_is_given():
    net = policy(0.3, 0.5)
    noise = net.noise((4,), torch.Generator().manual_seed(1)).double()
    observation = OBSERVATION.expand(4, 1)
    torch.testing.assert_close(net.draw(observation, noise), net.sample(observation, noise)["proposal"])


def test_bounds_are_no_state():
    """They come from the task, so a checkpoint holds parameters only."""
    assert not {"low", "high"} & set(policy(0.0, 1.0).state_dict())


def test_kl_is_an_integral_over_actions():
    """Squashing leaves the divergence as it is: that of the Gaussians, and that of the densities of the actions."""
    old, new = policy(0.8, 0.5), policy(0.3, 0.7)
    found = new.kl(OBSERVATION, old.distribution(OBSERVATION)["distribution"].detach())["kl"].item()
    normals = [torch.distributions.Normal(*pair) for pair in ((0.8, 0.5), (0.3, 0.7))]
    assert found == pytest.approx(torch.distributions.kl_divergence(*normals).item(), abs=1e-6)

    def integrand(action):
        p, q = density(old, action), density(new, action)
        return p * math.log(p / q) if p > 0 else 0.0

    assert found == pytest.approx(quad(integrand, LOW + 1e-6, HIGH - 1e-6, limit=200)[0], abs=1e-4)


def test_kl_is_summed_over_dimensions():
    old, new = policy(0.8, 0.5, WIDE), policy(0.3, 0.7, WIDE)
    found = new.kl(OBSERVATION, old.distribution(OBSERVATION)["distribution"])["kl"]
    one = policy(0.3, 0.7).kl(OBSERVATION, policy(0.8, 0.5).distribution(OBSERVATION)["distribution"])["kl"]
    assert found.shape == (1,)
    torch.testing.assert_close(found, 2 * one)


# ----- sampling


def grid(net, agent=AGENT, n=200_001):
    """Return the proposals of a fine grid of noise, and their log-probs."""
    noise = torch.linspace(-9, 9, n, dtype=torch.float64).unsqueeze(-1).expand(n, agent.action.size)
    out = net.sample(OBSERVATION.expand(n, 1), noise)
    return out["proposal"].detach(), out["proposal_log_prob"].detach()


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.8, 0.5), (-2.0, 0.3), (1.0, 2.0)])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (LOW, HIGH), (-3.0, -1.0)])
def test_proposals_log_probs_integrate_to_1(mean, std, bounds):
    """Trapezoids over the proposals themselves, so that nothing is said of how they came about."""
    agent = Agent("a", "agents", 0, 1, Box(*((end,) for end in bounds)), "agents")
    action, log_prob = grid(policy(mean, std, agent))
    assert torch.trapezoid(log_prob.exp(), action.squeeze(-1)).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (LOW, HIGH)])
def test_proposals_reach_both_ends_of_asymmetric_bounds(bounds):
    agent = Agent("a", "agents", 0, 1, Box(*((end,) for end in bounds)), "agents")
    action, _ = grid(policy(0.0, 3.0, agent))
    assert (action >= bounds[0]).all() and (action <= bounds[1]).all()
    assert action.min().item() == pytest.approx(bounds[0], abs=1e-9)
    assert action.max().item() == pytest.approx(bounds[1], abs=1e-9)


def test_a_proposals_log_prob_is_summed_over_dimensions():
    """Noise (1, -1) around u = 0: each log N(1) = -1.418939 less the log of its slope, 1.25 or 5 times 0.419974."""
    found = policy(0.0, 1.0, WIDE).sample(OBSERVATION, torch.tensor([[1.0, -1.0]], dtype=torch.float64))
    expected = 2 * (-0.5 - 0.918939 - math.log(0.419974)) - math.log(1.25 * 5)
    assert found["proposal_log_prob"].shape == (1,)
    assert found["proposal_log_prob"].item() == pytest.approx(expected, abs=1e-5)


def test_log_probs_of_the_unit_action_leave_the_bounds_out():
    """They are densities of tanh u, integrate to 1 over it, and differ by log 1.25 + log 5 = 1.832581 in every row."""
    net = policy(0.8, 0.5, density="unit")
    action, log_prob = grid(net)
    torch.testing.assert_close(action, grid(policy(0.8, 0.5))[0])  # the action itself is the same
    unit = (action.squeeze(-1) - LOW) * 2 / (HIGH - LOW) - 1
    assert torch.trapezoid(log_prob.exp(), unit).item() == pytest.approx(1, abs=1e-6)
    noise, observation, found = torch.randn(5, 2).double(), OBSERVATION.expand(5, 1), []
    for density_of in ("unit", "action"):
        wide = policy(0.2, 0.7, WIDE, density=density_of)
        out = wide.sample(observation, noise)
        found.append(out["proposal_log_prob"])
        torch.testing.assert_close(wide.log_prob(observation, out["proposal"], noise)["log_prob"], found[-1])
    torch.testing.assert_close(found[0] - found[1], torch.full((5,), 1.832581).double(), atol=1e-6, rtol=0)


def test_sampling_draws_its_own_noise_where_none_is_given():
    net = policy(0.2, 0.7)
    torch.manual_seed(3)
    found = net.sample(OBSERVATION.expand(50, 1))
    torch.manual_seed(3)
    expected = net.sample(OBSERVATION.expand(50, 1), torch.randn_like(found["proposal"]))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert found["proposal"].unique().numel() == 50


def test_far_out_a_proposal_and_its_gradient_are_finite():
    net = policy(30.0, 2.0)
    out = net.sample(OBSERVATION, torch.full((1, 1), 5.0, dtype=torch.float64))
    assert out["proposal_log_prob"].isfinite().all() and out["proposal"].item() == HIGH
    (out["proposal_log_prob"] + out["proposal"].squeeze(-1)).sum().backward()
    assert net.head.body[0].bias.grad.isfinite().all() and net.head.raw_std.grad.isfinite().all()


def test_candidates_are_what_sample_draws():
    net, noise = policy(0.3, 0.7, WIDE), torch.randn(1, 5, 2, dtype=torch.float64)
    found = net.candidates(OBSERVATION, noise)["candidates"]
    for each in range(5):
        torch.testing.assert_close(found[:, each], net.sample(OBSERVATION, noise[:, each])["proposal"])
    assert net.candidates(OBSERVATION, n=3)["candidates"].shape == (1, 3, 2)


def test_log_probs_of_several_actions_are_those_of_each():
    net = policy(0.4, 0.6, WIDE)
    chosen = net.candidates(OBSERVATION, n=4)["candidates"]
    found = net.chosen_log_prob(OBSERVATION, chosen)["log_prob"]
    for each in range(4):
        torch.testing.assert_close(found[:, each], net.log_prob(OBSERVATION, chosen[:, each])["log_prob"])


def test_several_actions_where_the_deviation_depends_on_the_state():
    """Each of 3 states has a deviation of its own for all of its 4 candidates."""
    net, seen = SquashedGaussianPolicy(WIDE, Team((WIDE,), 1), hidden=[8]).double(), torch.randn(3, 1).double()
    noise = torch.randn(3, 4, 2, dtype=torch.float64)
    chosen = net.candidates(seen, noise)["candidates"]
    found = net.chosen_log_prob(seen, chosen)["log_prob"]
    for each in range(4):
        torch.testing.assert_close(chosen[:, each], net.sample(seen, noise[:, each])["proposal"])
        torch.testing.assert_close(found[:, each], net.log_prob(seen, chosen[:, each])["log_prob"])
