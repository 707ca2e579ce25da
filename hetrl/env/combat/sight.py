"""Who sees what, and who may do what."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from hetrl.env.combat import detailed
from hetrl.env.combat.battlefield import N_MOVES, SIZE, STOP, Battlefield, Ground, distances
from hetrl.env.combat.units import Traits
from hetrl.team import Listing


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


def observations(ground: Ground, field: Battlefield, side: int) -> Tensor:
    """Return what the units of a side see, ``[B, n, F]``; see :class:`hetrl.env.battle.Battle`."""
    traits, units, order = ground.traits(field.types), ground.units[side], ground.others[side]
    alive, place, sight = field.alive, field.position[:, units], traits.sight[:, units]
    health, ready = field.health / traits.health, _ready(traits, field)
    told = torch.cat([field.heading, (field.aim / ground.last_option).unsqueeze(-1)], -1)
    kind = torch.cat([traits.one_hot, *_reserves(ground, traits, field)], -1)
    each = torch.cat([health.unsqueeze(-1), field.position, told, ready.unsqueeze(-1), kind], -1)
    # Places are seen from one's own, in parts of what one sees; all else as it is.
    rest = each.shape[-1] - 3
    origin = pad(place, (1, rest))
    scale = pad(sight.unsqueeze(-1).expand_as(place), (1, rest), value=1.0)
    scale = torch.cat([torch.ones_like(scale[..., :1]), scale[..., 1:]], -1)
    visible = alive[:, units, None] & alive[:, None] & (distances(place, field.position) < sight.unsqueeze(-1))
    visible = visible.gather(2, order.expand(len(place), -1, -1)).unsqueeze(-1)
    others = torch.where(visible, (each[:, order] - origin.unsqueeze(2)) / scale.unsqueeze(2), 0.0)
    own = [health[:, units, None], place / SIZE, ready[:, units, None], kind[:, units]]
    mine = torch.where(alive[:, units, None], torch.cat(own, -1), 0.0)
    return torch.cat([others.flatten(2), mine], -1)


def options(ground: Ground, field: Battlefield, side: int) -> Tensor:
    """Return what the units of a side may do, ``[B, n, actions]`` bool.

    To stop, always; to move, the living; to attack, the living whom they can reach, whether or not they have reloaded.
    """
    units, slots, alive = ground.units[side], ground.slots[side], field.alive
    if ground.detailed:
        return _detailed_options(ground, field, side)
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
    numbers += [traits.one_hot, *_reserves(ground, traits, field)]
    return torch.where(field.alive.unsqueeze(-1), torch.cat(numbers, -1), 0.0).flatten(1)


def _detailed_options(ground: Ground, field: Battlefield, side: int) -> Tensor:
    """The same where some heal team-mates and some cannot shoot at who flies; hurt or not, a team-mate is an option."""
    units, alive, traits = ground.units[side], field.alive, ground.traits(field.types)
    near = distances(field.position[:, units], field.position) < traits.reach[:, units, None]
    own = alive[:, units, None]
    able = near & own & alive.unsqueeze(1) & detailed.may_target(traits, ground.sides)[:, units]
    wanted = ground.targets[units, N_MOVES : ground.n_options[side]]
    return torch.cat(
        [own.expand(-1, -1, STOP), torch.ones_like(own), able.gather(2, wanted.expand(len(able), -1, -1))], -1
    )


def _reserves(ground: Ground, traits: Traits, field: Battlefield) -> list[Tensor]:
    """Shields and energy in parts of what they can be, ``[B, N, 1]`` each; of detailed rules."""
    if not ground.detailed or traits.detail is None:
        return []
    has = detailed.Reserve.of(field)
    shares = (has.shield / traits.detail.shield.clamp(min=1), has.energy / detailed.MOST_ENERGY)
    return [share.unsqueeze(-1) for share in shares]


def _ready(traits: Traits, field: Battlefield) -> Tensor:
    """``[B, N]``, how much of the reload time is left."""
    return (field.cooldown / traits.reload).clamp(0, 1)
