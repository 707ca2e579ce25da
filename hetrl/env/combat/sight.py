"""Who sees what, and who may do what."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from hetrl.env.combat import detailed
from hetrl.env.combat.battlefield import N_MOVES, SIZE, STOP, Battlefield, Ground, distances
from hetrl.team import Listing

_PLACE = slice(1, 3)
"""Of the numbers about each unit."""


def n_seen(ground: Ground) -> int:
    """Return how many numbers there are about each other unit."""
    return 3 + n_own(ground)


def n_own(ground: Ground) -> int:
    """Return how many numbers there are about oneself; in the state, about each unit."""
    return 4 + ground.n_kinds + (2 if ground.detailed else 0)


def observation_size(ground: Ground) -> int:
    """Return how many numbers a unit sees."""
    return n_seen(ground) * (ground.n_units - 1) + n_own(ground)


def listings(ground: Ground) -> tuple[Listing, ...]:
    """Say where an ally's observation lists the others."""
    (mates, foes), size = ground.counts, n_seen(ground)
    allies = (Listing("allies", 0, mates - 1, size),) if mates > 1 else ()
    return (*allies, Listing("enemies", (mates - 1) * size, foes, size))


def state_listings(ground: Ground, original: bool) -> tuple[Listing, ...]:
    """Say where the state lists the units, and in the original what brings its cells and seconds to about 1."""
    (mates, foes), size = ground.counts, n_own(ground)
    scale = (1.0, 1 / SIZE, 1 / SIZE, 0.1, *[1.0] * (size - 4)) if original else ()
    return Listing("allies", 0, mates, size, scale), Listing("enemies", mates * size, foes, size, scale)


class Sight(NamedTuple):
    """What the units of a side know."""

    observation: Tensor
    """``[B, n, F]``, see :class:`hetrl.env.battle.Battle`."""
    options: Tensor
    """``[B, n, actions]`` bool: to stop, always; to move, the living; to attack, the living whom they can
    reach, whether or not they have reloaded. With detailed rules, whom they can hit, or heal."""


def pairs(ground: Ground, side: int, marks: Tensor, health: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each unit of a side sees of every other, in its order, ``[B, n, N - 1, 13]``, and whom of
    those behind its actions it can reach, ``[B, n, m]``, 1 or 0.

    Args:
        ground: the map.
        side: whose units look.
        marks: see :func:`all_marks`.
        health: ``[B, N]``.
        types: ``[B, N]``.
    """
    units, order, alive = ground.units[side], ground.others[side], health > 0
    sight, reach = (ground.trait(word, types)[:, units, None] for word in ("sight", "reach"))
    place = marks[:, units, _PLACE]
    distance = distances(place, marks[..., _PLACE])
    both = alive[:, units, None] & alive[:, None]
    visible = torch.where(both & (distance < sight), 1.0, 0.0)
    reachable = torch.where(both & (distance < reach), 1.0, 0.0)
    # Places are seen from one's own, in parts of what one sees; all else as it is.
    rest = marks.shape[-1] - 3
    origin = pad(place, (1, rest)).unsqueeze(2)
    scale = pad(pad(sight.expand_as(place), (0, rest), value=1.0), (1, 0), value=1.0).unsqueeze(2)
    own = torch.arange(len(order), device=order.device).unsqueeze(-1)
    others = (marks[:, order] - origin) / scale * visible[:, own, order].unsqueeze(-1)
    if ground.detailed:
        able = reachable * detailed.may_target(ground.traits(types), ground.sides)[:, units]
        meant = ground.targets[units, N_MOVES : ground.n_options[side]]
        return others, able.gather(2, meant.expand(len(able), -1, -1))
    return others, ground.facing(reachable.transpose(1, 2), side).transpose(1, 2)


Pairs = Callable[[Tensor, Tensor, Tensor], Sequence[Tensor]]
"""The function above for a map and a side, as it is or compiled."""


def look(ground: Ground, field: Battlefield, side: int, pairs: Pairs) -> Sight:
    """Return what the units of a side see and may do."""
    units, alive = ground.units[side], field.alive[:, ground.units[side], None]
    others, reachable = pairs(all_marks(ground, field), field.health, field.types)
    observation = torch.cat([others.flatten(2), own_marks(ground, field)[:, units]], -1)
    moves = alive.expand(-1, -1, STOP)
    return Sight(observation, torch.cat([moves, torch.ones_like(alive), reachable > 0], -1))


def all_marks(ground: Ground, field: Battlefield) -> Tensor:
    """Return what there is to see of each unit, with its place in cells, ``[B, N, 13]``; detailed, 2 or 3 more."""
    health, ready, kind = _shown(ground, field)
    aim = (field.aim / ground.last_option).unsqueeze(-1)
    return torch.cat([health, field.position, field.heading, aim, ready, *kind], -1)


def own_marks(ground: Ground, field: Battlefield) -> Tensor:
    """Return what each unit knows of itself, ``[B, N, 10]``: numbers within 0 and 1, and 0 of the dead; detailed, 2 or
    3 more.
    """
    health, ready, kind = _shown(ground, field)
    return torch.cat([health, field.position / SIZE, ready, *kind], -1) * field.alive.unsqueeze(-1)


def _shown(ground: Ground, field: Battlefield) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Health and cooldown in parts of what they are at most, ``[B, N, 1]``, and the kind, ``[B, N, kinds]``; with
    detailed rules also shield and energy.
    """
    most = {word: ground.trait(word, field.types) for word in ("health", "reload")}
    ready = (field.cooldown / most["reload"]).clamp(0, 1)
    kind = (ground.trait("one_hot", field.types), *detailed.shares(ground, field))
    return (field.health / most["health"]).unsqueeze(-1), ready.unsqueeze(-1), kind


def world_state(ground: Ground, field: Battlefield) -> Tensor:
    """Return the state as the original has it, ``[B, 12 N]``: of each unit health, place, cooldown and kind, then the
    sides and the kinds of all as numbers. Places are cells and cooldowns seconds, however far below 0.
    """
    health, _, kind = _shown(ground, field)
    each = torch.cat([health, field.position, field.cooldown.unsqueeze(-1), *kind], -1)
    each = torch.where(field.alive.unsqueeze(-1), each, 0.0)
    sides, types = (number.to(each.dtype).expand(len(each), -1) for number in (ground.sides, field.types))
    return torch.cat([each.flatten(1), sides, types], -1)


def scaled_state(ground: Ground, field: Battlefield) -> Tensor:
    """Return what all units know of themselves, ``[B, 10 N]``."""
    return own_marks(ground, field).flatten(1)
