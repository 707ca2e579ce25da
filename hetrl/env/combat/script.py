"""What units do that nobody learns for."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hetrl.env.combat import detailed
from hetrl.env.combat.battlefield import N_MOVES, SIZE, STOP, Battlefield, Ground, distances

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
    """What the units of a side know of their opponents, by slot; and of themselves."""

    place: Tensor
    """``[B, n, 2]``, their own; (0, 0) of the dead."""
    east: Tensor
    """``[B, n, m]``, the way to each opponent in sight along the first axis."""
    north: Tensor
    """``[B, n, m]``, along the second."""
    distance: Tensor
    """``[B, n, m]``."""
    visible: Tensor
    """``[B, n, m]``, 1 or 0: numbers, as compiled code writes them many at a time, and truths one by one."""
    reachable: Tensor
    """``[B, n, m]``, 1 or 0."""


def view(ground: Ground, field: Battlefield, side: int) -> Opponents:
    """Return what the units of a side know of their opponents."""
    traits, units, alive = ground.traits(field.types), ground.units[side], field.alive
    sight, reach = traits.sight[:, units, None], traits.reach[:, units, None]
    place, facing = field.position[:, units], ground.facing(field.position, side)
    east, north = (facing[:, None, :, axis] - place[:, :, None, axis] for axis in (0, 1))
    both = alive[:, units, None] & ground.facing(alive, side)[:, None]
    if ground.detailed:  # whom one cannot hit is no opponent
        both = both & detailed.may_target(traits, ground.sides)[:, units][..., ground.slots[side]]
    visible = torch.where(both & ((east * east + north * north).sqrt() < sight), 1.0, 0.0)
    # The original reads its own observations, in parts of its sight, and rounds with them.
    east, north = (way / sight * sight * visible for way in (east, north))
    distance = (east * east + north * north).sqrt()
    place = torch.where(alive[:, units, None], place, 0.0)
    return Opponents(place, east, north, distance, visible, torch.where(distance < reach, visible, 0.0))


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
        first = torch.where(seen.reachable > 0, seen.distance, 2 * SIZE).argmin(-1)
    else:
        first = chance.attacked
    keeps = (locked >= 0) & (_at(seen.reachable, locked.clamp(min=0)) > 0)
    target = torch.where(keeps, locked, first)
    locked = torch.where(_at(seen.reachable, target) > 0, target, -1)
    chased = torch.stack([_at(way, chance.chased) for way in (seen.east, seen.north)], -1) + seen.place
    moves = _towards(torch.where(seen.visible.amax(-1, keepdim=True) > 0, chased, goal) - seen.place)
    return Commands(torch.where(seen.reachable.amax(-1) > 0, N_MOVES + target, moves), goal, locked)


def tend(ground: Ground, field: Battlefield, side: int, told: Commands) -> Commands:
    """Return the same with what those of a side do who heal.

    Heal the nearest who is hurt, of those on the ground of one's own side, if it can be reached; if not, go there;
    where nobody in sight is hurt, keep within half of one's reach of the nearest; where nobody is in sight, as told.
    """
    traits, units, alive = ground.traits(field.types), ground.units[side], field.alive
    mates = detailed.may_target(traits, ground.sides)[:, units, units] & alive[:, units, None] & alive[:, None, units]
    place = field.position[:, units]
    apart = distances(place, place)
    seen = mates & (apart < traits.sight[:, units, None])
    hurt = seen & (field.health < traits.health)[:, None, units]
    reach = traits.reach[:, units]
    among = torch.where(hurt.any(-1, keepdim=True), hurt, seen)
    mate = torch.where(among, apart, 2 * SIZE).argmin(-1)
    far = apart.gather(2, mate.unsqueeze(-1)).squeeze(-1)
    moves = _towards(place.gather(1, mate.unsqueeze(-1).expand(-1, -1, 2)) - place)
    slot = mate if side == 0 else ground.counts[side] - 1 - mate  # a side counts from its own end
    stays = torch.where(far < reach / 2, STOP, moves)
    action = torch.where(hurt.any(-1), torch.where(far < reach, N_MOVES + slot, moves), stays)
    heals = ground.healers[units] & seen.any(-1)
    return told._replace(action=torch.where(heals, action, told.action))


def _towards(way: Tensor) -> Tensor:
    """The move along the axis along which there is more of the way ``[B, n, 2]``; north where there is none."""
    return torch.stack([way[..., 1], way[..., 0], -way[..., 1], -way[..., 0]], -1).argmax(-1)


def _at(each: Tensor, slot: Tensor) -> Tensor:
    """``each`` ``[B, n, m]`` at the slots ``[B, n]``."""
    return each.gather(-1, slot.unsqueeze(-1)).squeeze(-1)


def _slot(among: Tensor, drawn: Tensor) -> Tensor:
    """One of the slots ``[B, n, m]``, by a number within 0 and 1 each."""
    n_slots = among.shape[-1]
    up_to = torch.ones(n_slots, n_slots, device=among.device).triu()
    counted = among @ up_to
    before = (drawn * counted[..., -1]).floor()
    return (counted <= before.unsqueeze(-1)).sum(-1).clamp(max=n_slots - 1)
