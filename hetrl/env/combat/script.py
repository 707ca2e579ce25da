"""What units do that nobody learns for."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hetrl.env.combat.battlefield import N_MOVES, SIZE, Battlefield, Ground

Enemy = Literal["closest", "random"]
"""Whom a scripted unit attacks first: the nearest of those that it can reach, or any of them."""


class Commands(NamedTuple):
    """What a script tells the units of a side to do, ``[B, n]``, and what it remembers."""

    action: Tensor
    goal: Tensor
    """``[B, n, 2]``, see :class:`~hetrl.env.combat.battlefield.Battlefield`."""
    locked: Tensor
    """``[B, n]``."""


class Chances(NamedTuple):
    """What is left to chance, as slots ``[B, n]``: whom each chases of those it sees, and attacks of those it reaches.

    Whatever stands where there is nobody.
    """

    chased: Tensor
    attacked: Tensor


class Opponents(NamedTuple):
    """What the units of a side know of their opponents, by slot."""

    place: Tensor
    """``[B, n, 2]``, their own; (0, 0) of the dead."""
    way: Tensor
    """``[B, n, m, 2]``, to each opponent in sight."""
    visible: Tensor
    """``[B, n, m]`` bool."""
    reachable: Tensor
    """``[B, n, m]`` bool."""


def view(ground: Ground, field: Battlefield, side: int) -> Opponents:
    """Return what the units of a side know of their opponents."""
    traits, units, slots, alive = ground.traits(field.types), ground.units[side], ground.slots[side], field.alive
    sight, reach = traits.sight[:, units, None], traits.reach[:, units, None]
    way = field.position[:, None, slots] - field.position[:, units, None]
    visible = alive[:, units, None] & alive[:, None, slots] & (_length(way) < sight)
    # The original reads its own observations, in parts of its sight, and rounds with them.
    way = torch.where(visible.unsqueeze(-1), way / sight.unsqueeze(-1) * sight.unsqueeze(-1), 0.0)
    place = torch.where(alive[:, units, None], field.position[:, units], 0.0)
    return Opponents(place, way, visible, visible & (_length(way) < reach))


def chances(seen: Opponents, drawn: Tensor) -> Chances:
    """Return slots, each of those in question as likely as the others, from two numbers within 0 and 1 for each unit,
    ``[B, n, 2]``.
    """
    return Chances(_slot(seen.visible, drawn[..., 0]), _slot(seen.reachable, drawn[..., 1]))


def command(seen: Opponents, goal: Tensor, locked: Tensor, chance: Chances, enemy: Enemy) -> Commands:
    """Return what the script tells units to do.

    Shoot at whom one shot at last, as long as it can be reached, and then at the next, see :data:`Enemy`. Where nobody
    can be reached go, along one axis, towards somebody in sight, each step another; where nobody is in sight, towards
    the place that lies opposite of where one was first, seen from the middle of the map.

    Args:
        seen: what they know.
        goal: where they go while they see nobody, ``[B, n, 2]``.
        locked: at which slot each shot last, ``[B, n]``; -1 where at none.
        chance: what is left to chance.
        enemy: whom they attack first.
    """
    fresh = ((goal == 0).all(-1) & (locked == -1)).unsqueeze(-1)
    goal = torch.where(fresh, SIZE - seen.place, goal)
    if enemy == "closest":
        first = torch.where(seen.reachable, _length(seen.way), 2 * SIZE).argmin(-1)
    else:
        first = chance.attacked
    keeps = (locked >= 0) & _at(seen.reachable, locked.clamp(min=0))
    target = torch.where(keeps, locked, first)
    locked = torch.where(_at(seen.reachable, target), target, -1)
    chased = seen.way.gather(2, chance.chased[..., None, None].expand(-1, -1, 1, 2)).squeeze(2) + seen.place
    way = torch.where(seen.visible.any(-1, keepdim=True), chased, goal) - seen.place
    moves = torch.stack([way[..., 1], way[..., 0], -way[..., 1], -way[..., 0]], -1).argmax(-1)
    return Commands(torch.where(seen.reachable.any(-1), N_MOVES + target, moves), goal, locked)


def _length(way: Tensor) -> Tensor:
    return (way * way).sum(-1).sqrt()


def _at(mask: Tensor, slot: Tensor) -> Tensor:
    """``mask`` ``[B, n, m]`` at the slots ``[B, n]``."""
    return mask.gather(-1, slot.unsqueeze(-1)).squeeze(-1)


def _slot(among: Tensor, drawn: Tensor) -> Tensor:
    """One of the slots ``[B, n, m]``, by a number within 0 and 1."""
    counted = among.to(torch.int64).cumsum(-1)
    chosen = (drawn * counted[..., -1]).to(torch.int64).minimum(counted[..., -1] - 1)
    return (among & (counted == chosen.unsqueeze(-1) + 1)).to(torch.int8).argmax(-1)
