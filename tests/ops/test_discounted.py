import pytest
import torch

from hetrl.ops.discounted import discounted_sums


def loop(value, decay):
    """The definition, step by step."""
    sums = [value[-1]]
    for now, fade in zip(value[:-1].flip(0), decay[:-1].flip(0), strict=True):
        sums.append(now + fade * sums[-1])
    return torch.stack(sums[::-1])


def test_three_steps_by_hand():
    """4; 2 + 0.5 * 4 = 4; 1 + 0.25 * 4 = 2."""
    found = discounted_sums(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.25, 0.5, 9.0]))
    assert found.tolist() == [2.0, 4.0, 4.0]


@pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 5, 7, 8, 9, 25, 100, 1000])
def test_equals_the_loop_to_rounding(n_steps):
    value = torch.randn(n_steps, 3, 2, dtype=torch.float64)
    decay = 1.02 * torch.rand(n_steps, 3, 2, dtype=torch.float64) * (torch.rand(n_steps, 3, 2) > 0.1)
    torch.testing.assert_close(discounted_sums(value, decay), loop(value, decay), rtol=1e-12, atol=1e-12)


def test_a_decay_of_0_keeps_what_follows_out():
    """To the bit: what comes after the second step is 1e30."""
    value, decay = torch.tensor([1.0, 2.0, 1e30, 1e30]), torch.tensor([0.5, 0.0, 1.0, 1.0])
    assert discounted_sums(value, decay)[:2].tolist() == [2.0, 2.0]


def test_the_gradient_is_that_of_the_loop():
    value = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    decay = torch.rand(6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(discounted_sums, (value, decay))


def test_without_a_batch_and_without_steps():
    assert discounted_sums(torch.tensor([2.0]), torch.tensor([0.5])).tolist() == [2.0]
    assert discounted_sums(torch.zeros(0, 3), torch.zeros(0, 3)).shape == (0, 3)
