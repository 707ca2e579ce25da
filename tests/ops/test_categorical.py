import math

import pytest
import torch

from hetrl.ops import categorical

LOGITS = torch.tensor([[1.0, 2.0, 5.0], [4.0, 4.0, 2.0]]).log()
"""Weights 1 2 5 (of 8) and 4 4 2 (of 10)."""


def test_log_prob_and_entropy_of_one_choice():
    """Option 2 of 1/8 2/8 5/8 and option 0 of 0.4 0.4 0.2; the second entropy is 0.8 log 2.5 + 0.2 log 5 = 1.054920."""
    log_prob, entropy = categorical.log_prob_and_entropy(LOGITS, torch.tensor([[2], [0]]), [3])
    torch.testing.assert_close(log_prob.exp(), torch.tensor([5 / 8, 0.4]))
    assert entropy[1].item() == pytest.approx(1.054920, abs=1e-5)


def test_choices_are_independent():
    """Two choices of 1 and 2 options: the first is certain, the second 2/7 5/7. Two of 2 and 1: 1/3 2/3 and certain."""
    log_prob, entropy = categorical.log_prob_and_entropy(LOGITS[:1], torch.tensor([[0, 1]]), [1, 2])
    torch.testing.assert_close(log_prob.exp(), torch.tensor([5 / 7]))
    torch.testing.assert_close(entropy, torch.tensor([-(2 / 7 * math.log(2 / 7) + 5 / 7 * math.log(5 / 7))]))
    log_prob, _ = categorical.log_prob_and_entropy(LOGITS[:1], torch.tensor([[1, 0]]), [2, 1])
    torch.testing.assert_close(log_prob.exp(), torch.tensor([2 / 3]))


def test_log_probs_are_summed_over_choices():
    """1/3 of (1 2) times 5/10 of (5 5): 1/6."""
    logits = torch.tensor([[1.0, 2.0, 5.0, 5.0]]).log()
    log_prob, _ = categorical.log_prob_and_entropy(logits, torch.tensor([[0, 1]]), [2, 2])
    torch.testing.assert_close(log_prob.exp(), torch.tensor([1 / 6]))


def test_unavailable_options_have_probability_0():
    """Without the option of weight 5, 1 and 2 are 1/3 and 2/3; the entropy is finite, and so is its gradient."""
    mask = torch.tensor([[True, True, False]])
    logits = LOGITS[:1].clone().requires_grad_()
    masked = categorical.masked(logits, mask)
    probabilities = [
        categorical.log_prob_and_entropy(masked, torch.tensor([[option]]), [3])[0].exp() for option in range(3)
    ]
    torch.testing.assert_close(torch.cat(probabilities), torch.tensor([1 / 3, 2 / 3, 0.0]))
    entropy = categorical.log_prob_and_entropy(masked, torch.tensor([[0]]), [3])[1]
    torch.testing.assert_close(entropy, torch.tensor([-(math.log(1 / 3) / 3 + 2 / 3 * math.log(2 / 3))]))
    entropy.sum().backward()
    assert logits.grad.isfinite().all() and logits.grad[0, 2] == 0


def test_no_mask_changes_nothing():
    assert categorical.masked(LOGITS, None) is LOGITS
    assert torch.equal(categorical.masked(LOGITS, torch.ones(2, 3, dtype=torch.bool)), LOGITS)


def test_argmax_is_per_choice():
    """In (1 5 | 2 9 3): option 1 of the first choice, option 1 of the second."""
    assert categorical.argmax(torch.tensor([[1.0, 5.0, 2.0, 9.0, 3.0]]), [2, 3]).tolist() == [[1, 1]]


def test_kl_by_hand():
    """From 1/8 2/8 5/8 to 0.4 0.4 0.2: log(5/16)/8 + log(5/8)/4 + 5 log(25/8)/8 = 0.449245. The other way round:
    0.4 log(16/5) + 0.4 log(8/5) + 0.2 log(8/25) = 0.425377.
    """
    forth, back = categorical.kl(LOGITS[:1], LOGITS[1:], [3]), categorical.kl(LOGITS[1:], LOGITS[:1], [3])
    assert forth.item() == pytest.approx(0.449245, abs=1e-5)
    assert back.item() == pytest.approx(0.425377, abs=1e-5)


@pytest.mark.parametrize("choices", [[6], [2, 4], [1, 2, 3]])
def test_kl_is_that_of_torch_summed_over_choices(choices):
    old, new = torch.randn(2, 5, 3, 6, dtype=torch.float64).unbind(0)
    parts = zip(old.split(choices, -1), new.split(choices, -1), strict=True)
    expected = sum(
        torch.distributions.kl_divergence(*(torch.distributions.Categorical(logits=part) for part in pair))
        for pair in parts
    )
    torch.testing.assert_close(categorical.kl(old, new, choices), expected)


def test_kl_does_not_depend_on_the_scale_of_the_logits():
    torch.testing.assert_close(
        categorical.kl(LOGITS[:1] + 3, LOGITS[1:] - 7, [3]), categorical.kl(LOGITS[:1], LOGITS[1:], [3])
    )


def test_kl_to_itself_is_0_and_so_is_its_gradient():
    logits = LOGITS.double().requires_grad_()
    found = categorical.kl(LOGITS.double(), logits, [1, 2])
    torch.testing.assert_close(found, torch.zeros(2).double())
    found.sum().backward()
    torch.testing.assert_close(logits.grad, torch.zeros(2, 3).double())


def test_kl_of_masked_options_is_finite():
    """Of 1 2 5 and 4 4 2 without the third: 1/3 2/3 against 1/2 1/2."""
    mask = torch.tensor([[True, True, False]])
    found = categorical.kl(categorical.masked(LOGITS[:1], mask), categorical.masked(LOGITS[1:], mask), [3])
    torch.testing.assert_close(found, torch.tensor([math.log(2 / 3) / 3 + 2 / 3 * math.log(4 / 3)]))


# ----- samples with a gradient


def test_gumbel_draws():
    """Mean 0.577216 (Euler's constant) and variance pi^2 / 6, within 5 standard errors of 200,000 draws; finite."""
    found = categorical.gumbel(torch.empty(200_000), torch.Generator().manual_seed(0))
    assert found.isfinite().all()
    assert abs(found.mean().item() - 0.577216) < 5 * math.sqrt(math.pi**2 / 6 / 200_000)
    assert abs(found.var().item() - math.pi**2 / 6) < 5 * math.sqrt((22 / 5 * (math.pi**2 / 6) ** 2) / 200_000)
    again = categorical.gumbel(torch.empty(200_000), torch.Generator().manual_seed(0))
    assert torch.equal(found, again)
    like = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    assert categorical.gumbel(like).dtype == torch.float64 and not categorical.gumbel(like).requires_grad


def test_a_straight_through_sample_by_hand():
    """Weights 1 2 5 of 8 with noise log (4 1 1): 4 2 5, so option 2, of chance 5/8; with (4 4 1): 4 8 5, option 1."""
    noise = torch.tensor([[4.0, 1.0, 1.0], [4.0, 4.0, 1.0]]).log()
    sample, log_prob = categorical.straight_through(LOGITS[:1].expand(2, 3), noise, [3])
    assert sample.tolist() == [[0, 0, 1], [0, 1, 0]]
    torch.testing.assert_close(log_prob.exp(), torch.tensor([5 / 8, 2 / 8]))


def test_its_gradient_is_that_of_the_softmax():
    logits, noise, weight = torch.randn(3, 50, 6, dtype=torch.float64).unbind(0)
    for choices in ([6], [2, 4], [1, 2, 3]):
        leaves = [logits.clone().requires_grad_() for _ in range(2)]
        (categorical.straight_through(leaves[0], noise, choices)[0] * weight).sum().backward()
        parts = zip(leaves[1].split(choices, -1), noise.split(choices, -1), strict=True)
        soft = torch.cat([(part.log_softmax(-1) + drawn).softmax(-1) for part, drawn in parts], -1)
        (soft * weight).sum().backward()
        torch.testing.assert_close(leaves[0].grad, leaves[1].grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("choices", [[6], [2, 4], [1, 2, 3]])
def test_a_sample_is_exactly_one_hot_and_its_log_prob_that_of_its_options(choices):
    logits, noise = torch.randn(500, 6), categorical.gumbel(torch.empty(500, 6))
    sample, log_prob = categorical.straight_through(logits, noise, choices)
    assert set(sample.unique().tolist()) == {0.0, 1.0}
    for part in sample.split(choices, -1):
        assert (part.sum(-1) == 1).all()
    taken = categorical.argmax(logits + noise, choices)
    assert torch.equal(categorical.argmax(sample, choices), taken)
    torch.testing.assert_close(log_prob, categorical.log_prob_and_entropy(logits, taken, choices)[0])


def test_a_samples_log_prob_has_the_gradient_of_both_ways():
    """Through log p of the option taken, and through which option that is: soft (log p - sum soft log p)."""
    logits, noise = torch.randn(2, 20, 4, dtype=torch.float64).unbind(0)
    logits.requires_grad_()
    sample, log_prob = categorical.straight_through(logits, noise, [4])
    (found,) = torch.autograd.grad(log_prob.sum(), logits, retain_graph=True)
    log_p, soft = logits.log_softmax(-1).detach(), (logits.log_softmax(-1) + noise).softmax(-1).detach()
    own = sample.detach() - log_p.exp()
    chosen = soft * (log_p - (soft * log_p).sum(-1, keepdim=True))
    torch.testing.assert_close(found, own + chosen)


def test_an_unavailable_option_is_never_a_sample_and_has_no_gradient():
    logits = torch.zeros(300, 4, requires_grad=True)
    mask = torch.tensor([True, False, True, False]).expand(300, 4)
    drawn = categorical.gumbel(logits)
    drawn[:, 1] = 50.0  # however lucky it is
    sample, log_prob = categorical.straight_through(categorical.masked(logits, mask), drawn, [4])
    assert (sample[:, [1, 3]] == 0).all() and (sample[:, [0, 2]].sum(-1) == 1).all()
    torch.testing.assert_close(log_prob.exp(), torch.full((300,), 0.5))
    (log_prob + (sample * torch.randn(300, 4)).sum(-1)).sum().backward()
    assert logits.grad.isfinite().all() and (logits.grad[:, [1, 3]] == 0).all()


def test_the_values_of_options_taken():
    """Of 1 2 4 8 16, choices of 2 and 3: the second and the first, 2 + 4 = 6; as indices and one-hot."""
    values, action = torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0]]), torch.tensor([[1, 0]])
    encoded = categorical.one_hot(action, [2, 3], torch.float64)
    assert encoded.tolist() == [[0.0, 1.0, 1.0, 0.0, 0.0]] and encoded.dtype == torch.float64
    assert categorical.taken(values, action, [2, 3]).tolist() == [6.0]
    assert categorical.taken(values, encoded.float(), [2, 3]).tolist() == [6.0]


def test_values_taken_in_any_batch():
    values = torch.randn(4, 3, 5)
    action = torch.stack([torch.randint(2, (4, 3)), torch.randint(3, (4, 3))], -1)
    wanted = values[..., :2].gather(-1, action[..., :1]) + values[..., 2:].gather(-1, action[..., 1:])
    torch.testing.assert_close(categorical.taken(values, action, [2, 3]), wanted.squeeze(-1))
