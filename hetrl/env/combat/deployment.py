"""Who is where as a battle begins."""

import torch
from torch import Tensor

from hetrl.env.combat.battlefield import SIZE, Battlefield, Ground
from hetrl.env.combat.detailed import first_reserve
from hetrl.env.combat.ticks import pushed
from hetrl.env.combat.units import N_BASE_TYPES

_SPREAD = 2.0
"""How far from its post a unit starts at most, along each axis."""
_N_CORNERS = 4


def n_drawn(ground: Ground) -> int:
    """Return how many numbers within 0 and 1 a start is made of."""
    n_allies = ground.counts[0]
    return 2 + _N_CORNERS + 8 * n_allies if ground.plan.drawn else 2 * ground.n_units


def deploy(ground: Ground, drawn: Tensor) -> Battlefield:
    """Return new battles, made of ``drawn`` ``[B, n_drawn]``; what overlaps has been pushed once."""
    if ground.plan.drawn:
        position, types = _scattered(ground, drawn)
    else:
        position = ground.posts + _spread(drawn.unflatten(-1, (ground.n_units, 2)))
        types = ground.types.expand(len(drawn), -1)
    return battlefield(ground, position, types)


def battlefield(ground: Ground, position: Tensor, types: Tensor) -> Battlefield:
    """Return new battles of units at these places ``[B, N, 2]``; what overlaps is pushed once.

    Args:
        ground: the map.
        position: ``[B, N, 2]``.
        types: ``[B, N]``.
    """
    traits = ground.traits(types)
    nothing = torch.zeros_like(traits.health)
    alive = torch.ones_like(types, dtype=torch.bool)
    enemies = types[:, ground.units[1]]
    return Battlefield(
        position=pushed(traits, position, alive),
        health=traits.health,
        cooldown=nothing,
        heading=torch.zeros_like(position),
        aim=torch.zeros_like(types),
        types=types,
        goal=torch.zeros_like(position[:, ground.units[1]]),
        locked=torch.full_like(enemies, -1),
        reserve=first_reserve(traits) if ground.detailed else None,
    )


def _scattered(ground: Ground, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Places and kinds of both sides, of equal numbers and kinds, where an episode draws them.

    With a chance of a half one side, either, stands in the middle and the other in groups between there and the
    corners, some of which may start beyond the map and die at once. Otherwise the enemies stand mirrored to the allies,
    who may be anywhere in their half.
    """
    n = ground.counts[0]
    coins, depths, kinds, members, anywhere, near, off = drawn.split([2, _N_CORNERS, n, n, 2 * n, 2 * n, 2 * n], -1)
    anywhere, near, off = (part.unflatten(-1, (n, 2)) for part in (anywhere, near, off))
    depth = depths.unsqueeze(-1)
    groups = depth * (SIZE / 2) + (1 - depth) * ground.corners
    member = (members * _N_CORNERS).to(torch.int64).clamp(max=_N_CORNERS - 1)
    outside = groups.gather(1, member.unsqueeze(-1).expand(-1, -1, 2)) + _spread(off)
    inside = SIZE / 2 + _spread(near)
    west = torch.stack([anywhere[..., 0] * SIZE / 2, anywhere[..., 1] * SIZE], -1)
    east = torch.stack([SIZE - west[..., 0], west[..., 1]], -1)
    surrounds, swapped = (coins < 0.5).unsqueeze(-1).unsqueeze(-1).unbind(1)
    allies = torch.where(surrounds, torch.where(swapped, outside, inside), west)
    enemies = torch.where(surrounds, torch.where(swapped, inside, outside), east)
    types = (kinds * N_BASE_TYPES).to(torch.int64).clamp(max=N_BASE_TYPES - 1)
    return torch.cat([allies, enemies], 1), types.repeat(1, 2)


def _spread(drawn: Tensor) -> Tensor:
    return _SPREAD * (2 * drawn - 1)
