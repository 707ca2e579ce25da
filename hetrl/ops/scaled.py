"""Images as networks read them."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def scaled(value: Shaped[Tensor, "*any"]) -> Float[Tensor, "*any"] | Shaped[Tensor, "*any"]:
    """Return x / 255 where the numbers are bytes (``torch.uint8``), and anything else as it is.

    255, 51 and 0 become 1, 0.2 and 0.
    """
    return torch.div(value, 255) if value.dtype == torch.uint8 else value
