"""The reversed sequential order."""

import torch
from jaxtyping import Int
from torch import Tensor

from hetrl.component import Component


class Reversed(Component):
    """One member a round, last to first.

    round = n-1, ..., 1, 0

    Source: the counterpart of ``order/fixed``; any order keeps the monotonic improvement of Kuba et al. 2022,
        arXiv:2109.11251.
    Differs: nothing.
    """

    reads = {"members": "members"}
    writes = {"round": "round"}

    def compute(self, members: Int[Tensor, " n"]) -> dict[str, Int[Tensor, " n"]]:
        """Return the round in which each of ``members`` is updated."""
        return {"round": torch.arange(len(members), device=members.device).flip(0)}
