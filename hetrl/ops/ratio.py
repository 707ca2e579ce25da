"""Importance ratios."""

from jaxtyping import Float
from torch import Tensor


def ratio(log_prob: Float[Tensor, "*batch"], old_log_prob: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Return pi(a|o) / pi_old(a|o). Log-probs are summed over action dimensions, so this is their product."""
    return (log_prob - old_log_prob).exp()
