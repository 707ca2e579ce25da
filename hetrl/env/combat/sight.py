"""Who sees what, and who may do what."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from hetrl.env.combat.battlefield import SIZE, STOP, Battlefield, Ground, distances
from hetrl.env.combat.units import N_BASE_TYPES, Traits

N_SEEN = 7 + N_BASE_TYPES
"""Numbers about each other unit."""
N_OWN = 4 + N_BASE_TYPES
"""Numbers about oneself."""


def observation_size(ground: Ground) -> int:
    """Return how many numbers a unit sees."""
    return N_SEEN * (ground.n_units - 1) + N_OWN


def observations(ground: Ground, field: Battlefield, side: int) -> Tensor:
    """Return what the units of a side see, ``[B, n, F]``; see :class:`hetrl.env.battle.Battle`."""
    traits, units, order = ground.traits(field.types), ground.units[side], ground.others[side]
    alive, place, sight = field.alive, field.position[:, units], traits.sight[:, units]
    health, ready = field.health / traits.health, _ready(traits, field)
    told = torch.cat([field.heading, (field.aim / ground.last_option).unsqueeze(-1)], -1)
    each = torch.cat([health.unsqueeze(-1), field.position, told, ready.unsqueeze(-1), traits.one_hot], -1)
    # Places are seen from one's own, in parts of what one sees; all else as it is.
    origin = pad(place, (1, N_SEEN - 3))
    scale = pad(sight.unsqueeze(-1).expand_as(place), (1, N_SEEN - 3), value=1.0)
    scale = torch.cat([torch.ones_like(scale[..., :1]), scale[..., 1:]], -1)
    visible = alive[:, units, None] & alive[:, None] & (distances(place, field.position) < sight.unsqueeze(-1))
    visible = visible.gather(2, order.expand(len(place), -1, -1)).unsqueeze(-1)
    others = torch.where(visible, (each[:, order] - origin.unsqueeze(2)) / scale.unsqueeze(2), 0.0)
    own = [health[:, units, None], place / SIZE, ready[:, units, None], traits.one_hot[:, units]]
    mine = torch.where(alive[:, units, None], torch.cat(own, -1), 0.0)
    return torch.cat([others.flatten(2), mine], -1)


def options(ground: Ground, field: Battlefield, side: int) -> Tensor:
    """Return what the units of a side may do, ``[B, n, actions]`` bool.

    To stop, always; to move, the living; to attack, the living whom they can reach, whether or not they have reloaded.
    """
    units, slots, alive = ground.units[side], ground.slots[side], field.alive
    reach = ground.traits(field.types).reach[:, units, None]
    near = distances(field.position[:, units], field.position[:, slots]) < reach
    own = alive[:, units, None]
    moves = own.expand(-1, -1, STOP)
    return torch.cat([moves, torch.ones_like(own), own & alive[:, None, slots] & near], -1)


def world_state(ground: Ground, field: Battlefield) -> Tensor:
    """Return the state as the original has it, ``[B, 12 N]``: of each unit health, place, cooldown and kind, then the
    sides and the kinds of all as numbers. Places are cells and cooldowns seconds, however far below 0.
    """
    traits = ground.traits(field.types)
    numbers = [(field.health / traits.health).unsqueeze(-1), field.position, field.cooldown.unsqueeze(-1)]
    each = torch.where(field.alive.unsqueeze(-1), torch.cat([*numbers, traits.one_hot], -1), 0.0)
    sides = torch.ones_like(field.health)
    sides = torch.cat([0 * sides[:, ground.units[0]], sides[:, ground.units[1]]], -1)
    return torch.cat([each.flatten(1), sides, field.types.to(torch.float32)], -1)


def scaled_state(ground: Ground, field: Battlefield) -> Tensor:
    """Return the same with places in parts of the map and cooldowns in parts of the reload time, within 0 and 1, and
    without the numbers that tell nothing more, ``[B, 10 N]``.
    """
    traits = ground.traits(field.types)
    numbers = [(field.health / traits.health).unsqueeze(-1), field.position / SIZE, _ready(traits, field).unsqueeze(-1)]
    each = torch.where(field.alive.unsqueeze(-1), torch.cat([*numbers, traits.one_hot], -1), 0.0)
    return each.flatten(1)


def _ready(traits: Traits, field: Battlefield) -> Tensor:
    """``[B, N]``, how much of the reload time is left."""
    return (field.cooldown / traits.reload).clamp(0, 1)
