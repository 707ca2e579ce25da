"""The Huber function."""

import torch
from jaxtyping import Float
from torch import Tensor


def huber(
    prediction: Float[Tensor, "*batch"], target: Float[Tensor, "*batch"], delta: float | None
) -> Float[Tensor, "*batch"]:
    """Return e^2 / 2 for abs(e) <= delta and delta (abs(e) - delta / 2) beyond, e = target - prediction.

    Without delta, e^2 / 2 everywhere.
    """
    if delta is None:
        return 0.5 * (target - prediction).square()
    return torch.nn.functional.huber_loss(prediction, target, reduction="none", delta=delta)
