"""Utilities of a team's agents."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def present(
    utility: Sequence[Float[Tensor, "*batch"]], active: Sequence[Bool[Tensor, "*batch"]] | None
) -> tuple[Float[Tensor, "*batch"], ...]:
    """Return the utilities, 0 where an agent is out; all of them where nothing says who is."""
    if active is None:
        return tuple(utility)
    return tuple(torch.where(here, each, 0.0) for each, here in zip(utility, active, strict=True))
