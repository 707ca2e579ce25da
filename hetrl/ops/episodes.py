"""Episode figures from time-major batches, with no loop over environments or steps."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def finished_sums(
    value: Float[Tensor, "time envs"], done: Bool[Tensor, "time envs"], carry: Float[Tensor, " envs"]
) -> tuple[Float[Tensor, "time envs"], Float[Tensor, " envs"]]:
    """Sum ``value`` over episodes that may begin before and end after the batch.

    Args:
        value: per step (a reward, or ones to count steps).
        done: whether the episode ended with that step.
        carry: sum so far of the episodes running when the batch begins.

    Returns:
        The sum of the episode that ended at each step (0 where none did), and the carry for the next batch.

    Two steps of reward 1 and 2 with the end after the first, carry 10: the sums are (11, 0), the carry is 2.
    """
    if len(value) == 1:  # one step of replay: the same in a third of the operations
        total = carry + value
        return torch.where(done, total, 0.0), torch.where(done[0], 0.0, total[0])
    total = carry + value.cumsum(0)
    steps = torch.arange(1, len(value) + 1, device=value.device).unsqueeze(-1)
    last = (steps * done).cummax(0).values  # 1-based step of the latest end, 0 before any
    at_last = torch.cat([torch.zeros_like(carry).unsqueeze(0), total]).gather(0, last)
    before = torch.cat([torch.zeros_like(carry).unsqueeze(0), at_last[:-1]])
    return torch.where(done, total - before, 0.0), total[-1] - at_last[-1]
