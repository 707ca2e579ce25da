"""What a step was worth to a side, and who is still standing."""

from typing import NamedTuple

import torch
from torch import Tensor

from hetrl.env.combat.battlefield import Battlefield, Ground


class Standing(NamedTuple):
    """How a battle stands for a side, ``[B]`` bool."""

    won: Tensor
    """All opponents are dead, and not all of one's own."""
    over: Tensor
    """One side is dead, or both."""


def standing(ground: Ground, field: Battlefield, side: int) -> Standing:
    """Return how battles stand for a side."""
    alive = field.alive
    own, others = (alive[:, ground.units[each]].any(-1) for each in (side, 1 - side))
    return Standing(own & ~others, ~(own & others))


def reward(ground: Ground, before: Battlefield, after: Battlefield, side: int) -> Tensor:
    """Return what a step was worth to a side, ``[B]`` [reward].

    The share of their health that opponents lost, on average over all opponents, and 1 for the victory. One of three
    opponents who loses 9 of 45 is worth 0.2 / 3.
    """
    units = ground.units[1 - side]
    lost = ((after.health - before.health)[:, units] / ground.table["health"][after.types[:, units]]).sum(-1).abs()
    return lost / ground.counts[1 - side] + standing(ground, after, side).won.to(torch.float32)
