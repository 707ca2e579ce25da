import math

import pytest
import torch

from hetrl.errors import RecipeError
from hetrl.net.gaussian_head import GaussianHead, inverse_std


def head(std, std_map, initial_std=0.3, max_std=0.5):
    return GaussianHead(4, 2, [8], "tanh", std, std_map, initial_std, max_std)


@pytest.mark.parametrize(
    ("std_map", "std", "raw"),
    [("exp", 2.0, math.log(2)), ("softplus", math.log(2), 0.0), ("sigmoid", 0.25, 0.0), ("sigmoid", 0.4, math.log(4))],
)
def test_inverse_std_by_hand(std_map, std, raw):
    """e^log 2 = 2, log(1 + e^0) = log 2, 0.5 / (1 + e^0) = 0.25, 0.5 / (1 + 1/4) = 0.4."""
    assert inverse_std(std_map, std, 0.5) == pytest.approx(raw, abs=1e-12)


@pytest.mark.parametrize("std_map", ["exp", "softplus", "sigmoid"])
@pytest.mark.parametrize("std", ["state_independent", "state_dependent"])
def test_starts_at_the_initial_deviation(std, std_map):
    """Up to the small last layer (gain 0.01) where the deviation is the network's."""
    mean, log_std = head(std, std_map)(torch.randn(5, 4))
    assert mean.shape == (5, 2)
    assert log_std.shape == ((2,) if std == "state_independent" else (5, 2))
    assert torch.allclose(log_std.exp(), torch.tensor(0.3), rtol=1e-5 if std == "state_independent" else 0.05)


def test_the_deviation_depends_on_the_state_only_where_asked():
    """And mean and deviation are different outputs of the network."""
    fixed, free = head("state_independent", "exp"), head("state_dependent", "exp")
    with torch.no_grad():
        for each in (fixed, free):
            each.body[-1].weight.normal_()
    _, log_std = free(torch.randn(2, 4))
    assert (log_std[0] != log_std[1]).all()
    assert "raw_std" in dict(fixed.named_parameters())
    assert not hasattr(free, "raw_std")
    mean, log_std = free(torch.randn(1, 4))
    assert (mean != log_std).all()


def test_sigmoid_stays_below_its_end():
    """A raw number of 100 is a deviation of 0.5, and of 0 half of that."""
    each = head("state_independent", "sigmoid")
    for raw, std in ((100.0, 0.5), (0.0, 0.25)):
        with torch.no_grad():
            each.raw_std.fill_(raw)
        torch.testing.assert_close(each(torch.zeros(1, 4))[1].exp(), torch.full((2,), std))


@pytest.mark.parametrize("std", [0.5, 0.7])
def test_refuses_a_deviation_that_the_sigmoid_cannot_reach(std):
    with pytest.raises(RecipeError, match=f"initial_std = {std} must be below max_std = 0.5 with std_map: sigmoid"):
        head("state_independent", "sigmoid", std)


# ----- clamped_exp


def test_clamped_exp_by_hand():
    """e^x with x held between -20 and 2: e^0.5, e^2 for 7, and e^-20 for -30; outside nothing has a gradient."""
    each = head("state_independent", "clamped_exp")
    for raw, log_std, slope in ((0.5, 0.5, 1), (7.0, 2.0, 0), (-30.0, -20.0, 0)):
        with torch.no_grad():
            each.raw_std.fill_(raw)
        found = each(torch.zeros(1, 4))[1]
        torch.testing.assert_close(found, torch.full((2,), log_std))
        (gradient,) = torch.autograd.grad(found.sum(), each.raw_std)
        assert gradient.tolist() == [slope, slope]


@pytest.mark.parametrize("std", ["state_independent", "state_dependent"])
def test_clamped_exp_starts_at_the_initial_deviation(std):
    _, log_std = head(std, "clamped_exp")(torch.randn(5, 4))
    assert torch.allclose(log_std.exp(), torch.tensor(0.3), rtol=1e-5 if std == "state_independent" else 0.05)
    assert inverse_std("clamped_exp", 2.0, 0.5) == pytest.approx(math.log(2))


def test_clamped_exp_holds_each_dimension_and_row_by_itself():
    each = head("state_dependent", "clamped_exp")
    with torch.no_grad():
        each.body.last.weight.zero_()
        each.body.last.bias.copy_(torch.tensor([0.3, -0.4, 9.0, -0.5]))
    mean, log_std = each(torch.randn(3, 4))
    torch.testing.assert_close(mean, torch.tensor([0.3, -0.4]).expand(3, 2))
    torch.testing.assert_close(log_std, torch.tensor([2.0, -0.5]).expand(3, 2))
