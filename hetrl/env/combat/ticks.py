"""What happens in a step: eight ticks, in each of which all units shoot and move at once."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from hetrl.env.combat.battlefield import N_MOVES, SIZE, STOP, Battlefield, Ground
from hetrl.env.combat.units import Traits

TICKS = 8
TICK = 1 / 16
"""Seconds."""
LEAST_LATE, MOST_LATE = -TICK, 2 * TICK
"""By how much the time until the next shot deviates from the reload time, uniformly [s]."""
_APART = 1e-6


class Bodies(NamedTuple):
    """What changes within a step: ``position`` ``[B, N, 2]``, ``health`` and ``cooldown`` ``[B, N]``."""

    position: Tensor
    health: Tensor
    cooldown: Tensor


class Orders(NamedTuple):
    """What units do in all ticks of a step."""

    heading: Tensor
    """``[B, N, 2]``, see :class:`~hetrl.env.combat.battlefield.Battlefield`."""
    aim: Tensor
    """``[B, N]``, likewise."""
    target: Tensor
    """``[B, N]``, whom each attacks; itself where nobody."""


def orders(ground: Ground, action: Tensor) -> Orders:
    """Return what the actions ``[B, N]`` tell units to do; what a unit cannot do does nothing."""
    aim = torch.where(action >= N_MOVES, action, 0)
    return Orders(ground.moves[action.clamp(max=STOP)], aim, ground.targets.gather(1, action.t()).t())


def tick(traits: Traits, bodies: Bodies, told: Orders, late: Tensor) -> Bodies:
    """Let everybody shoot and move once: shots, walls and overlaps, in this order.

    All shots are told from the places before the moves, so two may kill each other. A wall kills who touches it, and
    overlapping bodies push each other apart by half of the overlap each.

    Args:
        traits: of the units.
        bodies: before.
        told: what they do.
        late: how much longer than usual each reloads after a shot now, ``[B, N]`` [s].
    """
    position, health, cooldown = bodies
    alive, target = health > 0, told.target
    way = position.gather(1, target.unsqueeze(-1).expand_as(position)) - position
    near = (way * way).sum(-1).sqrt() < traits.reach
    shoots = (told.aim > 0) & alive & (health.gather(1, target) > 0) & near & (cooldown <= 0)
    damage = torch.zeros_like(health).scatter_add(1, target, torch.where(shoots, traits.damage, 0.0))
    stride = told.heading * traits.speed.unsqueeze(-1) * TICK
    position = torch.where(alive.unsqueeze(-1), (position + stride).clamp(0, SIZE), position)
    health = (health - damage).clamp(min=0)
    cooldown = torch.where(shoots, traits.reload + late, cooldown - TICK)
    walled = ((position <= 0) | (position >= SIZE)).any(-1)
    health = torch.where(walled, 0.0, health)
    return Bodies(pushed(traits, position, health > 0), health, cooldown)


def pushed(traits: Traits, position: Tensor, alive: Tensor) -> Tensor:
    """Return where bodies are after those that overlap have pushed each other, once: ``[B, N, 2]``.

    A body of radius 0.5 at x = 0 and another at x = 0.8 overlap by 0.2: each moves by 0.1, to -0.1 and 0.9.
    """
    # [B, j, i]: who is pushed comes last, so that the sum over the others runs in their order, as the original's does.
    x, y = position.unbind(-1)
    away_x, away_y = (place.unsqueeze(1) - place.unsqueeze(2) for place in (x, y))
    apart = (away_x * away_x + away_y * away_y).sqrt() + _APART
    touching = traits.radius.unsqueeze(1) + traits.radius.unsqueeze(2)
    both = alive.unsqueeze(1) & alive.unsqueeze(2)
    if traits.detail is not None:  # who flies is in nobody's way on the ground
        both = both & (traits.detail.air.unsqueeze(1) == traits.detail.air.unsqueeze(2))
    overlap = torch.where(both, (touching / apart - 1).clamp(min=0), 0.0)
    shift = torch.stack([(away_x * overlap).sum(1), (away_y * overlap).sum(1)], -1)
    return position + shift / 2


Ticker = Callable[..., Sequence[Tensor]]
"""A tick as a function of tensors alone, as it is or compiled: bodies, orders, delays and types in, bodies out."""


def ticker(ground: Ground) -> Ticker:
    """Return the tick of a map."""

    def once(*given: Tensor) -> Bodies:
        *parts, late, types = given
        return tick(ground.traits(types), Bodies(*parts[:3]), Orders(*parts[3:]), late)

    return once


def run(field: Battlefield, told: Orders, late: Tensor, once: Ticker) -> Battlefield:
    """Return the battles after everybody did what it was told.

    Args:
        field: before.
        told: what to do.
        late: see :func:`tick`, for each tick, ``[B, 8, N]``, or one for all, ``[B, 1, N]``: no kind of unit shoots
            twice in a step, and one whose reload time a task has shortened is as late both times.
        once: what happens in each.
    """
    bodies: Sequence[Tensor] = (field.position, field.health, field.cooldown)
    for now in late.expand(-1, TICKS, -1).unbind(1):
        bodies = once(*bodies, *told, now, field.types)
    return replace(field, **Bodies(*bodies)._asdict(), heading=told.heading, aim=told.aim)


def step(ground: Ground, field: Battlefield, action: Tensor, late: Tensor) -> Battlefield:
    """Return the battles after the units took these actions ``[B, N]``; see :func:`run`."""
    return run(field, orders(ground, action), late, ticker(ground))
