import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.errors import RecipeError
from hetrl.estimate.gae import GAE


def column(*numbers):
    return torch.tensor(numbers, dtype=torch.float64).unsqueeze(-1)


def estimate(reward, value, after, terminated=None, truncated=None, **arguments):
    flags = [torch.tensor(flag or [False] * len(reward)).unsqueeze(-1) for flag in (terminated, truncated)]
    out = GAE(**arguments).compute(column(*reward), column(*value), column(*after), *flags)
    return out["advantage"].flatten().tolist(), out["return"].flatten().tolist()


def test_one_step_by_hand():
    """r 1, V 0.5, V' 2, gamma 0.9: 1 + 1.8 - 0.5 = 2.3, and 1 - 0.5 = 0.5 where it terminated."""
    assert estimate([1.0], [0.5], [2.0], gamma=0.9) == ([pytest.approx(2.3)], [pytest.approx(2.8)])
    assert estimate([1.0], [0.5], [2.0], [True], gamma=0.9) == ([0.5], [1.0])


HALF = {"gamma": 0.5, "lmbda": 0.5}
TWO = ([1.0, 2.0], [1.0, 2.0], [2.0, 4.0])
"""Rewards 1 2, values 1 2, next values 2 4."""


def test_two_steps_by_hand():
    """delta_1 = 2 + 0.5 * 4 - 2 = 2, delta_0 = 1 + 0.5 * 2 - 1 = 1, A_0 = 1 + 0.25 * 2 = 1.5; returns A + V."""
    assert estimate(*TWO, **HALF) == ([1.5, 2.0], [2.5, 4.0])


def test_lambda_0_is_one_step_and_1_is_monte_carlo():
    """lambda 0: the deltas 1, 2. lambda 1: R_0 = 1 + 0.5 (2 + 0.5 * 4) = 3, so A_0 = 2."""
    assert estimate(*TWO, gamma=0.5, lmbda=0.0) == ([1.0, 2.0], [2.0, 4.0])
    assert estimate(*TWO, gamma=0.5, lmbda=1.0) == ([2.0, 2.0], [3.0, 4.0])


def test_a_terminated_step_is_worth_its_reward():
    """delta_0 = 1 - 1 = 0, and nothing of the next episode comes in."""
    assert estimate(*TWO, [True, False], **HALF) == ([0.0, 2.0], [1.0, 4.0])


def test_a_truncated_step_is_bootstrapped():
    """The next episode stays out, V' = 10 of the state it was cut at comes in: 1 + 0.5 * 10 - 1 = 5."""
    found = estimate([1.0, 2.0], [1.0, 2.0], [10.0, 4.0], None, [True, False], **HALF)
    assert found == ([5.0, 2.0], [6.0, 4.0])


def test_a_truncated_step_may_be_discarded():
    """Advantage 0, return V(s) = 1, whatever the reward; the step before still sees it: 1 + 0.5 * 2 - 3 + 0.25 * 0."""
    found = estimate([1.0, 9.0], [3.0, 1.0], [2.0, 10.0], None, [False, True], truncation="discard", **HALF)
    assert found == ([-1.0, 0.0], [2.0, 1.0])


@pytest.mark.parametrize("truncation", ["bootstrap", "discard"])
def test_both_flags_are_a_genuine_end(truncation):
    """1 - 1 = 0 and 2 - 0.5 = 1.5, without V' = 10; not discarded either."""
    both = [True, True]
    found = estimate([1.0, 2.0], [1.0, 0.5], [10.0, 10.0], both, both, truncation=truncation, **HALF)
    assert found == ([0.0, 1.5], [1.0, 2.0])


def test_float64_keeps_its_precision():
    """0.99 itself, not the float32 next to it (which is 1e-8 off)."""
    assert estimate([0.0], [0.0], [1.0], gamma=0.99)[0] == [pytest.approx(0.99, rel=1e-15)]


@pytest.mark.parametrize("truncation", ["bootstrap", "discard"])
@pytest.mark.parametrize("n_steps", [1, 2, 37, 128])
def test_equals_the_loop_over_time(n_steps, truncation):
    """Backwards, step by step, as equation 16 is read; ends of all three kinds among them."""
    reward, value, after = (torch.randn(n_steps, 5, dtype=torch.float64) for _ in range(3))
    terminated, truncated = (torch.rand(n_steps, 5) < 0.15 for _ in range(2))
    found = GAE(gamma=0.97, lmbda=0.9, truncation=truncation).compute(reward, value, after, terminated, truncated)
    following = torch.zeros(5, dtype=torch.float64)
    for t in reversed(range(n_steps)):
        ends, cut = terminated[t], truncated[t] & ~terminated[t]
        delta = reward[t] + 0.97 * after[t] * ~ends - value[t]
        if truncation == "discard":
            delta = delta * ~cut
        following = delta + 0.97 * 0.9 * following * ~(ends | cut)
        torch.testing.assert_close(found["advantage"][t], following, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found["return"][t], following + value[t], rtol=1e-12, atol=1e-12)


def test_time_is_first_whatever_follows():
    roles = [torch.rand(4, 3, 2, dtype=torch.float64) for _ in range(3)]
    ends = [torch.rand(4, 3, 2) < 0.3 for _ in range(2)]
    whole = GAE().compute(*roles, *ends)["advantage"]
    part = GAE().compute(*(value[:, 1] for value in (*roles, *ends)))["advantage"]
    torch.testing.assert_close(whole[:, 1], part)


def test_a_single_environment_needs_no_batch_dimension():
    """``*batch`` may be empty: r 1, V 0.5, V' 2, gamma 0.9 gives 2.3 in the shape [1] it came in."""
    ends = [torch.zeros(1, dtype=torch.bool)] * 2
    out = GAE(gamma=0.9).compute(torch.tensor([1.0]), torch.tensor([0.5]), torch.tensor([2.0]), *ends)
    torch.testing.assert_close(out["advantage"], torch.tensor([2.3]))


def test_refuses_to_broadcast():
    with pytest.raises(TypeCheckError):
        ends = [torch.zeros(3, 1, dtype=torch.bool)] * 2
        GAE().compute(torch.zeros(3, 1), torch.zeros(3), torch.zeros(3, 1), *ends)


@pytest.mark.parametrize("values", [{"gamma": 1.01}, {"gamma": -0.1}, {"lmbda": 2.0}, {"truncation": "bootstrapp"}])
def test_refuses_what_is_out_of_range(values):
    with pytest.raises(RecipeError, match=f"^GAE: {next(iter(values))} = "):
        GAE(**values)
