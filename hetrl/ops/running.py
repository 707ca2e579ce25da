"""Mean and variance of each entry of a stream of vectors, batch by batch."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Running = tuple[Tensor, Tensor, Tensor]
"""How many vectors there were, ``[1]``, their mean, and the sum of squared distances from it, both ``[F]``; float64."""


def entry_moments(x: Float[Tensor, "*batch size"], active: Bool[Tensor, "*batch"] | None = None) -> Running:
    """Return count, mean and sum of squares of ``x`` where ``active`` holds (everywhere without it).

    Of (1, 4), (3, 4) and, inactive, (9, 9): count 2, mean (2, 4), squares (2, 0).
    """
    rows = x.detach().double().reshape(-1, x.shape[-1])
    if active is None:
        count = torch.full((1,), float(len(rows)), dtype=rows.dtype, device=rows.device)
        mean = rows.mean(0)
        return count, mean, (rows - mean).square().sum(0)
    here = active.reshape(-1, 1).to(rows.dtype)
    count = here.sum(0)
    mean = (rows * here).sum(0) / count.clamp(min=1)
    return count, mean, ((rows - mean).square() * here).sum(0)


def merged(one: Running, other: Running) -> Running:
    """Return the moments of both together.

    n = n_1 + n_2,   d = mean_2 - mean_1,   mean = mean_1 + d n_2 / n,   squares = squares_1 + squares_2 + d^2 n_1 n_2/n

    Of (1, 3) and (5): mean 2 and 5, squares 2 and 0; together mean 3, squares 2 + 9 * 2 / 3 = 8.

    Source: Chan, Golub and LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample variances.
    """
    (n_one, mean_one, squares_one), (n_other, mean_other, squares_other) = one, other
    count = n_one + n_other
    apart, share = mean_other - mean_one, n_other / count.clamp(min=1)
    return count, mean_one + apart * share, squares_one + squares_other + apart.square() * n_one * share
