"""A coefficient that follows a goal."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Means = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@torch.no_grad()
def followed(
    coef: Float[Tensor, "1"],
    value: Float[Tensor, "*batch"],
    active: Bool[Tensor, "*batch"] | None,
    *,
    goal: float,
    rate: float,
    smallest: float,
    largest: float,
    means: Means = list,
) -> Float[Tensor, "1"]:
    """Return the coefficient moved by clip(mean value / goal, 1/2, 2)^rate, within its bounds.

    It stays where it is 0, where nobody is active, and where the mean is no finite number: one bad batch must not spoil
    it for good. The mean is that of several processes where ``means`` returns theirs of some numbers.

    >>> followed(torch.ones(1), torch.tensor([0.03]), None, goal=0.01, rate=1.0, smallest=1e-4, largest=10.0)
    tensor([2.])
    """
    if active is None:
        (mean,) = means([value.mean()])
    else:
        whole, count = means([(value * active).sum(), active.sum()])
        mean = whole / count  # of nobody: no number
    moved = (coef * (mean / goal).clamp(0.5, 2.0) ** rate).clamp(smallest, largest)
    return torch.where((coef > 0) & mean.isfinite(), moved, coef)
