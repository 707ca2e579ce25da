"""Products with fewer digits: what is multiplied is rounded, sums are not."""

import pytest
import torch
from torch import nn

from hetrl.testing.rounded import Rounded


@pytest.mark.parametrize(("kept", "bits"), [("tf32", 10), ("bfloat16", 7)])
def test_numbers_are_rounded_to_so_many_bits(kept, bits):
    """1 + 2^-bits is kept, the next number of float32 is rounded down to it, and three quarters of the way up."""
    step = 2.0**-bits
    given = torch.tensor([[1 + step, 1 + step + 2**-23, 1 + step / 4, 1 + 3 * step / 4, -1 - 3 * step / 4]])
    with Rounded(kept) as mode:
        found = given.T @ torch.ones(1, 1)
    wanted = torch.tensor([1 + step, 1 + step, 1.0, 1 + step, -1 - step])
    assert torch.equal(found.squeeze(1), wanted) and mode.n_products == 1
    assert torch.equal((given.T @ torch.ones(1, 1)).squeeze(1), given[0])


@pytest.mark.parametrize("kept", ["tf32", "bfloat16"])
def test_what_is_added_is_not_rounded(kept):
    """Neither the sum of products nor a bias; float64 is left alone."""
    small = 2.0**-20
    with Rounded(kept):
        assert (torch.tensor([[1.0, small]]) @ torch.ones(2, 1)).item() == 1 + small
        layer = nn.Linear(1, 1)
        nn.init.ones_(layer.weight), nn.init.constant_(layer.bias, small)
        assert layer(torch.ones(1, 1)).item() == 1 + small
        assert (torch.tensor([[1 + small]]).double() @ torch.ones(1, 1).double()).item() == 1 + small


def test_gradients_are_products_as_well():
    """Of x w the gradient of x is w, rounded."""
    x, w = torch.ones(1, 1, requires_grad=True), torch.tensor([[1.001]])
    with Rounded("bfloat16") as mode:
        (x @ w).sum().backward()
    assert x.grad.item() == 1 and mode.n_products == 2


@pytest.mark.parametrize("kept", ["tf32", "bfloat16"])
def test_pictures_too(kept):
    layer, given = nn.Conv2d(1, 1, 1, bias=False), torch.full((1, 1, 1, 1), 1 + 2.0**-12)
    nn.init.ones_(layer.weight)
    with Rounded(kept) as mode:
        assert layer(given).item() == 1 and mode.n_products == 1
