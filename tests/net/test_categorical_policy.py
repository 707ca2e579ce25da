import math

import pytest
import torch
from jaxtyping import TypeCheckError
from scipy.stats import chi2

from hetrl.net.categorical_policy import CategoricalPolicy
from hetrl.team import Agent, Discrete, Team

OBSERVATION = torch.zeros(1, 1)


def policy(*weights):
    """Return a policy whose choices have options with these weights, whatever it observes."""
    agent = Agent("a", "agents", 0, 1, Discrete(tuple(map(len, weights))), "agents")
    net = CategoricalPolicy(agent, Team((agent,), 1), hidden=[])
    with torch.no_grad():
        net.body[0].weight.zero_()
        net.body[0].bias.copy_(torch.tensor([w for each in weights for w in each]).log())
    return net


def log_prob(net, *action, mask=None):
    mask = None if mask is None else torch.tensor([mask])
    return net.log_prob(OBSERVATION, torch.tensor([list(action)]), mask)


def test_one_choice_by_hand():
    """Weights 1 3 of 4: probability 3/4; entropy -(0.25 log 0.25 + 0.75 log 0.75) = 0.562335."""
    out = log_prob(policy([1.0, 3.0]), 1)
    assert out["log_prob"].exp().item() == pytest.approx(0.75)
    assert out["entropy"].item() == pytest.approx(0.562335, abs=1e-5)


def test_several_choices_have_one_log_prob():
    """3/4 of the first choice times 1/5 of the second: 3/20; the entropies add up, 0.562335 + 0.500402."""
    out = log_prob(policy([1.0, 3.0], [1.0, 4.0]), 1, 0)
    assert out["log_prob"].shape == (1,)
    assert out["log_prob"].exp().item() == pytest.approx(3 / 20)
    assert out["entropy"].item() == pytest.approx(0.562335 + 0.500402, abs=1e-5)


def test_the_ratio_of_several_choices_is_a_product():
    """From 1/2 1/2 to 3/4 4/5: 1.5 * 1.6 = 2.4, once."""
    old, new = policy([1.0, 1.0], [1.0, 1.0]), policy([1.0, 3.0], [1.0, 4.0])
    ratio = (log_prob(new, 1, 1)["log_prob"] - log_prob(old, 1, 1)["log_prob"]).exp()
    assert ratio.item() == pytest.approx(2.4)


def test_unavailable_options_have_probability_0():
    """Without the third of 1 3 6, the first two are 1/4 and 3/4, and the entropy is that of two options."""
    net, mask = policy([1.0, 3.0, 6.0]), [True, True, False]
    found = [log_prob(net, option, mask=mask)["log_prob"].exp().item() for option in range(3)]
    assert found == pytest.approx([0.25, 0.75, 0.0])
    assert log_prob(net, 0, mask=mask)["entropy"].item() == pytest.approx(0.562335, abs=1e-5)


def test_acts_by_the_likeliest_options():
    net = policy([1.0, 3.0], [5.0, 4.0, 1.0])
    assert net.act(OBSERVATION)["proposal"].tolist() == [[1, 0]]
    assert net.greedy(OBSERVATION).dtype == torch.int64


def test_gumbel_noise_samples_the_softmax():
    """Chi-square of 4000 draws of weights 1 2 5 at level 1e-3 (2 degrees of freedom), and of the second choice 1 1."""
    net = policy([1.0, 2.0, 5.0], [1.0, 1.0])
    noise = net.noise((4000,), torch.Generator().manual_seed(0))
    drawn = net.draw(OBSERVATION.expand(4000, 1), noise)
    assert drawn.shape == (4000, 2)
    for choice, shares in enumerate(([1 / 8, 2 / 8, 5 / 8], [0.5, 0.5])):
        expected = torch.tensor(shares) * 4000
        counts = drawn[:, choice].bincount(minlength=len(shares))
        assert ((counts - expected) ** 2 / expected).sum() < chi2.isf(1e-3, len(shares) - 1)


def test_noise_follows_its_generator():
    net = policy([1.0, 2.0], [1.0, 1.0, 1.0])
    first, second = (net.noise((3, 2), torch.Generator().manual_seed(seed)) for seed in (5, 5))
    assert first.shape == (3, 2, 5) and torch.equal(first, second)


def test_gradient_pushes_the_taken_option():
    """d log softmax / d logits is 1 - 3/4 for the taken option and -1/4 for the other."""
    net = policy([1.0, 3.0])
    log_prob(net, 1)["log_prob"].sum().backward()
    assert net.body[0].bias.grad.tolist() == pytest.approx([-0.25, 0.25])


def test_a_start_is_nearly_uniform():
    agent = Agent("a", "agents", 0, 6, Discrete((4,)), "agents")
    net = CategoricalPolicy(agent, Team((agent,), 6))
    entropy = net.log_prob(torch.randn(5, 6), torch.zeros(5, 1, dtype=torch.int64))["entropy"]
    assert entropy.tolist() == pytest.approx([math.log(4)] * 5, abs=1e-3)


def test_refuses_a_mask_of_another_size():
    net = policy([1.0, 3.0], [1.0, 4.0])
    with pytest.raises((TypeCheckError, RuntimeError)):
        log_prob(net, 1, 0, mask=[True, False])
