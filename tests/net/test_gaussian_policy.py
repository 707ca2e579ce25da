import math

import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.errors import RecipeError
from hetrl.net.gaussian_policy import GaussianPolicy
from hetrl.team import Agent, Box, Team

AGENT = Agent("a", "agents", 0, 1, Box((-1.0, -1.0), (1.0, 1.0)), "agents")
TEAM = Team((AGENT,), state_size=1)
OBSERVATION = torch.tensor([[1.0], [3.0]])


def linear(**arguments):
    """Return a policy with means x and 2 x, and deviations 1 and 2."""
    policy = GaussianPolicy(AGENT, TEAM, hidden=[], **arguments)
    with torch.no_grad():
        policy.head.body[0].weight.copy_(torch.tensor([[1.0], [2.0]]))
        policy.head.raw_std.copy_(torch.tensor([0.0, math.log(2)]))
    return policy


def test_log_prob_and_entropy_by_hand():
    """At o = 1 the means are 1 2. Action 1 2 gives -2 * 0.918939 - log 2 = -2.531024, action 2 4 is one deviation away
    in both: -1 more. At o = 3 (means 3 6), action 3 6 is the mean again. Entropy: 2 * 1.418939 + log 2 = 3.531024.
    """
    out = linear().log_prob(OBSERVATION, torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    assert out["log_prob"].tolist() == pytest.approx([-2.531024] * 2, abs=1e-5)
    assert out["entropy"].tolist() == pytest.approx([3.531024] * 2, abs=1e-5)
    out = linear().log_prob(OBSERVATION[:1], torch.tensor([[2.0, 4.0]]))
    assert out["log_prob"].tolist() == pytest.approx([-3.531024], abs=1e-5)


def test_sample_is_reparametrised():
    """Mean 1 2 plus noise 1 -1 times 1 2: 2 0, one deviation away in both, -3.531024."""
    policy = linear()
    out = policy.sample(OBSERVATION[:1], torch.tensor([[1.0, -1.0]]))
    assert out["proposal"].tolist() == [[2.0, 0.0]]
    assert out["proposal_log_prob"].tolist() == pytest.approx([-3.531024], abs=1e-5)
    out["proposal"].sum().backward()
    assert policy.head.raw_std.grad.tolist() == pytest.approx([1.0, -2.0])
    again = policy.log_prob(OBSERVATION[:1], out["proposal"].detach())["log_prob"]
    torch.testing.assert_close(again, out["proposal_log_prob"])


def test_sample_draws_its_own_noise_where_none_is_written():
    first, second = (linear().sample(OBSERVATION)["proposal"] for _ in range(2))
    assert (first != second).all()


def test_acts_by_the_mean():
    assert linear().act(OBSERVATION)["proposal"].tolist() == [[1.0, 2.0], [3.0, 6.0]]
    assert torch.equal(linear().greedy(OBSERVATION), linear().act(OBSERVATION)["proposal"])


def test_drawing_follows_the_noise_it_is_given():
    """What collection draws is what ``sample`` proposes with the same noise."""
    noise = linear().noise((2,), torch.Generator().manual_seed(3))
    assert noise.shape == (2, 2)
    assert torch.equal(noise, linear().noise((2,), torch.Generator().manual_seed(3)))
    torch.testing.assert_close(linear().draw(OBSERVATION, noise), linear().sample(OBSERVATION, noise)["proposal"])


def test_refuses_an_action_of_another_shape():
    with pytest.raises(TypeCheckError):
        linear().log_prob(OBSERVATION, torch.zeros(3, 2))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"std": "independent"}, "GaussianPolicy: std = 'independent'"),
        ({"std_map": "square"}, "GaussianPolicy: std_map"),
        ({"initial_std": 0.0}, "GaussianPolicy: initial_std = 0.0"),
        ({"std_map": "sigmoid"}, "initial_std = 1.0 must be below max_std = 0.5"),
        ({"hiden": [4]}, "GaussianPolicy has no argument 'hiden'. Nearest: 'hidden'."),
    ],
)
def test_refuses_wrong_arguments(values, text):
    with pytest.raises(RecipeError, match=text):
        GaussianPolicy(AGENT, TEAM, **values)


def moved(**arguments):
    """Return another policy: means 0.5 + 3 x and 1 - x, deviations 0.7 and 1.5."""
    policy = linear(**arguments)
    with torch.no_grad():
        policy.head.body[0].weight.copy_(torch.tensor([[3.0], [-1.0]]))
        policy.head.body[0].bias.copy_(torch.tensor([0.5, 1.0]))
        policy.head.raw_std.copy_(torch.tensor([0.7, 1.5]).log())
    return policy


def test_kl_by_hand():
    """At o = 1, from means 1 2 to 3.5 0 and deviations 1 2 to 0.7 1.5: log 0.7 + 7.25 / 0.98 - 0.5 = 6.541285, and
    log 0.75 + 8 / 4.5 - 0.5 = 0.990096.
    """
    old = linear().distribution(OBSERVATION[:1])["distribution"]
    assert old.tolist() == [pytest.approx([1.0, 2.0, 0.0, math.log(2)])]
    assert moved().kl(OBSERVATION[:1], old)["kl"].tolist() == pytest.approx([6.541285 + 0.990096], abs=1e-4)


def test_kl_is_that_of_torch():
    old, new = linear(), moved()
    mean, log_std = old.distribution(OBSERVATION)["distribution"].chunk(2, -1)
    after, log_after = new.distribution(OBSERVATION)["distribution"].chunk(2, -1)
    normals = torch.distributions.Normal(mean, log_std.exp()), torch.distributions.Normal(after, log_after.exp())
    expected = torch.distributions.kl_divergence(*normals).sum(-1)
    torch.testing.assert_close(new.kl(OBSERVATION, torch.cat([mean, log_std], -1))["kl"], expected)


def test_kl_to_itself_is_0_and_so_is_its_gradient():
    policy = moved()
    found = policy.kl(OBSERVATION, policy.distribution(OBSERVATION)["distribution"].detach())["kl"]
    assert found.tolist() == pytest.approx([0, 0], abs=1e-6)
    found.sum().backward()
    assert all(parameter.grad.abs().max() < 1e-6 for parameter in policy.parameters())
