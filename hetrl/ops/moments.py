"""Mean and deviation over the rows that count."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Gather = Callable[[Tensor], Tensor]
"""Returns what each of several processes has, ``[R, *]``."""


def moments(
    x: Float[Tensor, "*batch"], active: Bool[Tensor, "*batch"] | None, gather: Gather | None = None
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return the mean and the population's standard deviation of ``x`` where ``active`` holds (everywhere without it).

    Where it holds nowhere, both are 0. With ``gather`` they are those of all processes' rows, in one exchange.
    """
    if gather is not None:
        return _of_all(x, active, gather)
    if active is None:
        return x.mean(), x.std(correction=0)
    count = active.sum().clamp(min=1)
    mean = (x * active).sum() / count
    return mean, (((x - mean) ** 2 * active).sum() / count).sqrt()


def _of_all(x: Tensor, active: Tensor | None, gather: Gather) -> tuple[Tensor, Tensor]:
    """Return the moments of all rows, from each process's count, mean and sum of squared distances from its mean.

    squares = sum_r squares_r + n_r (mean_r - mean)^2
    """
    here = torch.ones_like(x) if active is None else active.to(x.dtype)
    count = here.sum()
    mean = (x * here).sum() / count.clamp(min=1)
    counts, means, squares = gather(torch.stack([count, mean, ((x - mean) ** 2 * here).sum()])).unbind(-1)
    count = counts.sum().clamp(min=1)
    mean = (counts * means).sum() / count
    return mean, ((squares + counts * (means - mean) ** 2).sum() / count).sqrt()
