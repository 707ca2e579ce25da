import math

import pytest
import torch

from hetrl.errors import RecipeError
from hetrl.net.deterministic_policy import DeterministicPolicy
from hetrl.team import Agent, Box, Team

AGENT = Agent("a", "agents", 0, 1, Box((-0.5, 0.0), (2.0, 10.0)), "agents")
OBSERVATION = torch.zeros(1, 1).double()
LOW, HIGH = (torch.tensor(each).double() for each in (AGENT.action.low, AGENT.action.high))


def policy(*u, agent=AGENT, **arguments):
    """Return a policy with these u in its dimensions, whatever it observes."""
    net = DeterministicPolicy(agent, Team((agent,), 1), hidden=[], **arguments).double()
    with torch.no_grad():
        net.body[0].weight.zero_()
        net.body[0].bias.copy_(torch.tensor(u))
    return net


def test_by_hand():
    """tanh u = 0.5 is three quarters up, -0.5 a quarter: -0.5 + 0.75 * 2.5 = 1.375 and 0.25 * 10 = 2.5."""
    net = policy(math.atanh(0.5), math.atanh(-0.5))
    found = net.act(OBSERVATION)["proposal"]
    torch.testing.assert_close(found, torch.tensor([[1.375, 2.5]]).double(), rtol=1e-6, atol=1e-6)
    assert torch.equal(net.greedy(OBSERVATION), found)


def test_inverted_bounds_by_hand():
    """u = 0.5 is three quarters up, as above; beyond the ends it is clipped, and has a gradient still."""
    net = policy(0.5, 1.2, bounds="inverted")
    found = net.act(OBSERVATION)["proposal"]
    torch.testing.assert_close(found, torch.tensor([[1.375, 10.0]]).double(), rtol=1e-6, atol=1e-6)
    found.sum().backward()  # half the range times (1 + u) / 2
    torch.testing.assert_close(
        net.body[0].bias.grad, torch.tensor([1.25 * 0.75, 5 * 1.1]).double(), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("bounds", [((-0.5, 0.0), (2.0, 10.0)), ((0.0, -3.0), (1.0, -1.0))])
def test_both_ends_of_asymmetric_bounds_are_reached_and_not_passed(bounds):
    agent = Agent("a", "agents", 0, 1, Box(*bounds), "agents")
    low, high = (torch.tensor([each]).double() for each in bounds)
    torch.testing.assert_close(policy(20.0, 20.0, agent=agent).greedy(OBSERVATION), high)
    torch.testing.assert_close(policy(-20.0, -20.0, agent=agent).greedy(OBSERVATION), low)
    torch.testing.assert_close(policy(0.0, 0.0, agent=agent).greedy(OBSERVATION), (low + high) / 2)
    inside = policy(*torch.randn(2).tolist(), agent=agent).greedy(OBSERVATION)
    assert ((inside > low) & (inside < high)).all()


def test_exploration_is_noise_in_halves_of_the_range():
    """Around (0.75, 5): 0.1 * 2 * 1.25 = 0.25 and 0.1 * -3 * 5 = -1.5."""
    net = policy(0.0, 0.0, noise=0.1)
    found = net.draw(OBSERVATION, torch.tensor([[2.0, -3.0]]).double())
    torch.testing.assert_close(found, torch.tensor([[1.0, 3.5]]).double())


def test_exploration_stays_inside_the_bounds_and_reaches_them():
    net = policy(2.0, -2.0, noise=1.0)
    noise = net.noise((5000,), torch.Generator().manual_seed(0)).double()
    drawn = net.draw(OBSERVATION.expand(5000, 1), noise)
    assert drawn.shape == (5000, 2)
    assert (drawn >= LOW).all() and (drawn <= HIGH).all()
    assert (drawn == HIGH).any(0).all() and (drawn == LOW).any(0).all()
    torch.testing.assert_close(policy(2.0, -2.0, noise=0.0).draw(OBSERVATION, noise[:1]), net.greedy(OBSERVATION))


def test_noise_is_standard_normal_and_follows_its_generator():
    net = policy(0.0, 0.0)
    first, second = (net.noise((40, 100), torch.Generator().manual_seed(seed)) for seed in (5, 5))
    assert first.shape == (40, 100, 2) and torch.equal(first, second)
    assert abs(first.mean().item()) < 0.05 and abs(first.std().item() - 1) < 0.05


def test_smoothing_by_hand():
    """std 0.2, clip 0.5, halves of the range 1.25 and 5 around (0.75, 5). Noise 1 and -2 stays: 0.2 and -0.4 of them,
    1 and 3. Noise 10 and -10 is cut to 0.5: 0.75 + 0.625 = 1.375 and 5 - 2.5 = 2.5.
    """
    net = policy(0.0, 0.0)
    noise = torch.tensor([[1.0, -2.0], [10.0, -10.0]]).double()
    found = net.smoothed(OBSERVATION.expand(2, 1), noise)["proposal"]
    torch.testing.assert_close(found, torch.tensor([[1.0, 3.0], [1.375, 2.5]]).double())
    found = net.smoothed(OBSERVATION, noise[:1], std=0.1, clip=0.15)["proposal"]
    torch.testing.assert_close(found, torch.tensor([[0.75 + 0.125, 5 - 0.75]]).double())


def test_a_smoothed_action_stays_inside_the_bounds():
    found = policy(3.0, -3.0).smoothed(OBSERVATION, torch.tensor([[5.0, -5.0]]).double())["proposal"]
    torch.testing.assert_close(found, torch.stack([HIGH[0], LOW[1]]).unsqueeze(0))


def test_smoothing_draws_its_own_noise_where_none_is_given():
    net = policy(0.0, 0.0)
    observation = OBSERVATION.expand(2000, 1)
    torch.manual_seed(1)
    first = net.smoothed(observation)["proposal"]
    torch.manual_seed(1)
    noise = torch.randn_like(first)
    torch.testing.assert_close(first, net.smoothed(observation, noise)["proposal"])
    assert not torch.equal(first, net.smoothed(observation)["proposal"])
    apart = (first - net.greedy(observation)).abs() / ((HIGH - LOW) / 2)
    assert apart.max() <= 0.5 + 1e-9 and apart.max() > 0.45
    assert torch.equal(net.smoothed(observation, std=0.0)["proposal"], net.greedy(observation))


def test_the_gradient_is_that_of_tanh():
    """d a / d u = (high - low) / 2 (1 - tanh^2 u)."""
    net = policy(0.3, -1.0)
    net.act(OBSERVATION)["proposal"].sum().backward()
    slopes = [1.25 * (1 - math.tanh(0.3) ** 2), 5 * (1 - math.tanh(-1.0) ** 2)]
    assert net.body[0].bias.grad.tolist() == pytest.approx(slopes, rel=1e-6)


def test_bounds_are_no_state():
    """They come from the task, so a checkpoint holds parameters only."""
    assert not {"low", "high"} & set(policy(0.0, 0.0).state_dict())


def test_starts_near_the_middle():
    """The last layer is small (gain 0.01), so that no action is saturated."""
    net = DeterministicPolicy(AGENT, Team((AGENT,), 1))
    apart = (net.greedy(torch.randn(50, 1)) - (LOW + HIGH) / 2) / ((HIGH - LOW) / 2)
    assert apart.abs().max() < 0.1


@pytest.mark.parametrize(
    ("values", "text"),
    [({"noise": -0.1}, "noise = -0.1"), ({"hidden": [0]}, r"hidden\[0\] = 0"), ({"std": 1.0}, "std")],
)
def test_refuses_wrong_arguments(values, text):
    with pytest.raises(RecipeError, match=f"^DeterministicPolicy.*{text}"):
        DeterministicPolicy(AGENT, Team((AGENT,), 1), **values)
