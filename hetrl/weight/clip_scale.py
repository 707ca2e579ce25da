"""A clip that widens from turn to turn."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hetrl.arguments import Share
from hetrl.component import Component


class ClipScale(Component):
    """What share of the clip an agent's turn may use: little at the beginning of a sweep, all of it at its end.

    c + (1 - c) (m + 1) / k,   m the agent's round, k the number of rounds

    The ratios of those before multiply with the agent's own, so equal clips would leave the last agents no room. With
    c = 0.5 and two rounds it is 0.75 and 1; with one round it is 1.

    Args:
        start: c, what the first agent of a long sweep may use [1], above 0 and at most 1.
    Source: Wang et al. 2023, arXiv:2302.06205 (the adaptive clipping parameter).
    Differs: nothing; rounds are counted from 0 on here.
    """

    reads = {"turn": "agent.turn", "turns": "agents.turn", "like": "factor"}
    writes = {"scale": "agent.clip_scale"}

    def __init__(self, *, start: Share = 0.5) -> None:
        super().__init__()
        self.start = start

    def compute(
        self,
        turn: Int[Tensor, "*batch"],
        turns: tuple[Int[Tensor, "*batch"], ...],
        like: Float[Tensor, "*batch"],
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``scale`` [1], of the type of ``like``."""
        n_rounds = torch.stack(turns).amax(0) + 1
        return {"scale": self.start + (1 - self.start) * (turn + 1).to(like) / n_rounds}
