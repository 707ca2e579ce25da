"""The Huber function."""

from jaxtyping import Float
from torch import Tensor


def huber(error: Float[Tensor, "*batch"], delta: float | None) -> Float[Tensor, "*batch"]:
    """Return e^2 / 2 for abs(e) <= delta, and delta (abs(e) - delta / 2) beyond; without delta, e^2 / 2 everywhere."""
    if delta is None:
        return 0.5 * error.square()
    inside = error.clamp(-delta, delta)
    return inside * (error - 0.5 * inside)
