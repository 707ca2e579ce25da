import math

import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.ops.ratio import ratio


def test_is_the_quotient_of_probabilities():
    """0.6 / 0.4 = 1.5, 0.1 / 0.2 = 0.5, and the same policy gives 1."""
    new, old = torch.tensor([0.6, 0.1, 0.3]).log(), torch.tensor([0.4, 0.2, 0.3]).log()
    torch.testing.assert_close(ratio(new, old), torch.tensor([1.5, 0.5, 1.0]))


def test_of_summed_log_probs_is_the_product_over_dimensions():
    """Dimensions with ratios 2 and 3: log 2 + log 3 gives 6, not the mean 2.5."""
    summed = torch.tensor([[math.log(2.0), math.log(3.0)]]).sum(-1)
    torch.testing.assert_close(ratio(summed, torch.zeros(1)), torch.tensor([6.0]))


@pytest.mark.parametrize("shape", [(3, 1), (1,), ()])
def test_refuses_to_broadcast(shape):
    with pytest.raises(TypeCheckError):
        ratio(torch.zeros(3), torch.zeros(shape))
