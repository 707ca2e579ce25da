"""Everyone at once."""

import torch
from jaxtyping import Int
from torch import Tensor

from hetrl.component import Component


class Simultaneous(Component):
    """All members in one round: nobody sees anybody's update.

    round = 0, ..., 0

    Source: Yu et al. 2022, arXiv:2103.01955 (MAPPO); it gives up the monotonic improvement of a sequential sweep.
    Differs: nothing.
    """

    reads = {"members": "members"}
    writes = {"round": "round"}

    def compute(self, members: Int[Tensor, " n"]) -> dict[str, Int[Tensor, " n"]]:
        """Return round 0 for each of ``members``."""
        return {"round": torch.zeros_like(members)}
