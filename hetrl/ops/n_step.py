"""Sums over the next few steps, as far as an episode and the memory go."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def n_step_weights(
    done: Bool[Tensor, "steps rows"], stored: Bool[Tensor, "steps rows"], gamma: float
) -> tuple[Float[Tensor, "steps rows"], Float[Tensor, " rows"], Int[Tensor, " rows"]]:
    """Weigh the steps that follow each row, the row itself being the first of them.

    R = sum_{m < k} gamma^m r_m,   discount = gamma^k,   k the first of: all steps, end of the episode, newest step

    Args:
        done: whether the episode ended with that step, terminated or truncated.
        stored: whether that step has been taken yet; the first always has, and none after one that has not.
        gamma: discount of one step [1].

    Returns:
        gamma^m where the step counts and 0 where not, and gamma^k, both in float64; and k - 1, the place of the last
        step that counts.

    Three steps, gamma 0.5, the episode over with the second: the weights are (1, 0.5, 0), the discount 0.25, the last
    place 1.
    """
    counts = stored & (done.cumsum(0) - done.long() == 0)  # no end before it
    n_counted = counts.sum(0)
    powers = gamma ** torch.arange(len(done) + 1, device=done.device, dtype=torch.float64)
    return counts * powers[:-1].unsqueeze(-1), powers[n_counted], n_counted - 1
