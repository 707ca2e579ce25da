"""Choosing among candidates by what they are worth."""

import torch
from jaxtyping import Float
from torch import Tensor


def centred(q: Float[Tensor, "*batch several"]) -> Float[Tensor, "*batch several"]:
    """Return each candidate's value less their mean; exactly 0 where all are equal."""
    apart = q - q.amax(-1, keepdim=True)  # first, as the rounded mean of equal numbers need not be that number
    return apart - apart.mean(-1, keepdim=True)


def heaviest(
    candidates: Float[Tensor, "*batch several dim"], weight: Float[Tensor, "*batch several"], keep: int | None
) -> tuple[Float[Tensor, "*batch kept dim"], Float[Tensor, "*batch kept"]]:
    """Return the ``keep`` candidates of the greatest weight, the greatest first, and their weights.

    Without ``keep``, all of them as they are. Of a = 0.5 and a = 0.7 with weights 0 and 3, ``keep`` 1 leaves 0.7 with
    3. There must be as many.
    """
    if keep is None:
        return candidates, weight
    kept, place = torch.topk(weight, keep, -1)
    return candidates.take_along_dim(place.unsqueeze(-1), -2), kept
