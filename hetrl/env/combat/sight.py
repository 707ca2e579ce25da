"""Who sees what, and who may do what."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from hetrl.env.combat.battlefield import SIZE, STOP, Battlefield, Ground, distances
from hetrl.env.combat.units import N_BASE_TYPES

N_SEEN = 7 + N_BASE_TYPES
"""Numbers about each other unit."""
N_OWN = 4 + N_BASE_TYPES
"""Numbers about oneself."""
_PLACE = slice(1, 3)
"""Of the numbers about each unit."""


def observation_size(ground: Ground) -> int:
    """Return how many numbers a unit sees."""
    return N_SEEN * (ground.n_units - 1) + N_OWN


class Sight(NamedTuple):
    """What the units of a side know."""

    observation: Tensor
    """``[B, n, F]``, see :class:`hetrl.env.battle.Battle`."""
    options: Tensor
    """``[B, n, actions]`` bool: to stop, always; to move, the living; to attack, the living whom they can
    reach, whether or not they have reloaded."""


def pairs(ground: Ground, side: int, marks: Tensor, health: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each unit of a side sees of every other, in its order, ``[B, n, N - 1, 13]``, and whom of its
    opponents it can reach, by slot, ``[B, n, m]``, 1 or 0.

    Args:
        ground: the map.
        side: whose units look.
        marks: see :func:`all_marks`.
        health: ``[B, N]``.
        types: ``[B, N]``.
    """
    units, order, alive = ground.units[side], ground.others[side], health > 0
    sight, reach = (ground.table[word][types[:, units]].unsqueeze(-1) for word in ("sight", "reach"))
    place = marks[:, units, _PLACE]
    distance = distances(place, marks[..., _PLACE])
    both = alive[:, units, None] & alive[:, None]
    visible = torch.where(both & (distance < sight), 1.0, 0.0)
    reachable = torch.where(both & (distance < reach), 1.0, 0.0)
    # Places are seen from one's own, in parts of what one sees; all else as it is.
    origin = pad(place, (1, N_SEEN - 3)).unsqueeze(2)
    scale = pad(pad(sight.expand_as(place), (0, N_SEEN - 3), value=1.0), (1, 0), value=1.0).unsqueeze(2)
    own = torch.arange(len(order), device=order.device).unsqueeze(-1)
    others = (marks[:, order] - origin) / scale * visible[:, own, order].unsqueeze(-1)
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
    """Return what there is to see of each unit, with its place in cells, ``[B, N, 13]``."""
    health, ready, one_hot = _shown(ground, field)
    aim = (field.aim / ground.last_option).unsqueeze(-1)
    return torch.cat([health, field.position, field.heading, aim, ready, one_hot], -1)


def own_marks(ground: Ground, field: Battlefield) -> Tensor:
    """Return what each unit knows of itself, ``[B, N, 10]``: numbers within 0 and 1, and 0 of the dead."""
    health, ready, one_hot = _shown(ground, field)
    return torch.cat([health, field.position / SIZE, ready, one_hot], -1) * field.alive.unsqueeze(-1)


def _shown(ground: Ground, field: Battlefield) -> tuple[Tensor, Tensor, Tensor]:
    """Health and cooldown in parts of what they are at most, ``[B, N, 1]``, and the kind, ``[B, N, kinds]``."""
    most = {word: ground.table[word][field.types] for word in ("health", "reload")}
    ready = (field.cooldown / most["reload"]).clamp(0, 1)
    return (field.health / most["health"]).unsqueeze(-1), ready.unsqueeze(-1), ground.table["one_hot"][field.types]


def world_state(ground: Ground, field: Battlefield) -> Tensor:
    """Return the state as the original has it, ``[B, 12 N]``: of each unit health, place, cooldown and kind, then the
    sides and the kinds of all as numbers. Places are cells and cooldowns seconds, however far below 0.
    """
    health, _, one_hot = _shown(ground, field)
    each = torch.cat([health, field.position, field.cooldown.unsqueeze(-1), one_hot], -1)
    each = torch.where(field.alive.unsqueeze(-1), each, 0.0)
    return torch.cat([each.flatten(1), ground.sides.expand(len(each), -1), field.types.to(torch.float32)], -1)


def scaled_state(ground: Ground, field: Battlefield) -> Tensor:
    """Return what all units know of themselves, ``[B, 10 N]``."""
    return own_marks(ground, field).flatten(1)
