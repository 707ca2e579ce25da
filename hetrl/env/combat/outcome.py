"""What a step was worth to a side, and who is still standing."""

from typing import NamedTuple

import torch
from torch import Tensor

from hetrl.env.combat.battlefield import Battlefield, Ground
from hetrl.env.combat.detailed import Reserve


class Standing(NamedTuple):
    """How a battle stands for a side, ``[B]`` bool."""

    won: Tensor
    """All opponents are dead, and not all of one's own; who heals does not count."""
    over: Tensor
    """One side is dead, or both."""


def standing(ground: Ground, field: Battlefield, side: int) -> Standing:
    """Return how battles stand for a side."""
    fights = field.alive
    if ground.detailed:  # who only heals wins no battle
        fights = fights & ~ground.healers
    own, others = (fights[:, ground.units[each]].any(-1) for each in (side, 1 - side))
    return Standing(own & ~others, ~(own & others))


def reward(ground: Ground, before: Battlefield, after: Battlefield, side: int) -> Tensor:
    """Return what a step was worth to a side, ``[B]`` [reward].

    The share of their health that opponents lost, on average over all opponents, and 1 for the victory. One of three
    opponents who loses 9 of 45 is worth 0.2 / 3. With detailed rules shields are health as well, and what an opponent
    was given back costs nothing: of one who is better off than before nothing counts.
    """
    units = ground.units[1 - side]
    if ground.detailed:
        lost = _hurt(ground, before, after)[:, units].sum(-1)
    else:
        lost = ((after.health - before.health) / ground.trait("health", after.types))[:, units].sum(-1).abs()
    return lost / ground.counts[1 - side] + standing(ground, after, side).won.to(torch.float32)


def _hurt(ground: Ground, before: Battlefield, after: Battlefield) -> Tensor:
    """Return the share of its health and shield that each has lost, ``[B, N]``; 0 where it has gained."""
    traits = ground.traits(after.types)
    assert traits.detail is not None
    now, then = (each.health + Reserve.of(each).shield * each.alive for each in (after, before))
    return (then - now).clamp(min=0) / (traits.health + traits.detail.shield)
