"""Mean and deviation over the rows that count, those of all processes of a run."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hetrl import ranks


def moments(
    x: Float[Tensor, "*batch"], active: Bool[Tensor, "*batch"] | None
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the mean and the population's standard deviation of ``x`` where ``active`` holds (everywhere without it).

    Where it holds nowhere, both are 0.
    """
    if ranks.several():
        return _of_all(x, active)
    if active is None:
        return x.mean(), x.std(correction=0)
    count = active.sum().clamp(min=1)
    mean = (x * active).sum() / count
    return mean, (((x - mean) ** 2 * active).sum() / count).sqrt()


def _of_all(x: Tensor, active: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the moments of all ranks' rows, in one exchange: of each rank its count, mean and sum of squares.

    squares = sum_r squares_r + n_r (mean_r - mean)^2
    """
    here = torch.ones_like(x) if active is None else active.to(x.dtype)
    count = here.sum()
    mean = (x * here).sum() / count.clamp(min=1)
    counts, means, squares = ranks.each(torch.stack([count, mean, ((x - mean) ** 2 * here).sum()])).unbind(-1)
    count = counts.sum().clamp(min=1)
    mean = (counts * means).sum() / count
    return mean, ((squares + counts * (means - mean) ** 2).sum() / count).sqrt()
