"""Who sees what, and who may do what."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from hetrl.env.combat import detailed
from hetrl.env.combat.battlefield import N_MOVES, SIZE, STOP, Battlefield, Ground, distances
from hetrl.team import Listing


def n_seen(ground: Ground) -> int:
    """Return how many numbers there are about each other unit."""
    return 3 + n_own(ground)


def n_own(ground: Ground) -> int:
    """Return how many numbers there are about oneself; in the state, about each unit."""
    return 4 + ground.n_kinds + (2 if ground.detailed else 0)


_PLACE = slice(1, 3)
"""Of the numbers about each unit."""


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
    reach, whether or not they have reloaded."""
    known: Tensor
    """``[B, N, 10]``, what all units know of themselves, in sight or not; see :meth:`Marks.own`."""


def pairs(ground: Ground, side: int, marks: Tensor, health: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each unit of a side sees of every other, in its order, ``[B, n, N - 1, 13]``, and whom of its
    opponents it can reach, by slot, ``[B, n, m]``, 1 or 0.

    Args:
        ground: the map.
        side: whose units look.
        marks: see :meth:`Marks.seen`.
        health: ``[B, N]``.
        types: ``[B, N]``.
    """
    units, order, alive = ground.units[side], ground.others[side], health > 0
    traits = ground.traits(types)
    sight, reach = traits.sight[:, units, None], traits.reach[:, units, None]
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
    if not ground.detailed:
        return others, ground.facing(reachable.transpose(1, 2), side).transpose(1, 2)
    # Some heal team-mates, hurt or not, and some cannot shoot at who flies.
    able = torch.where(detailed.may_target(traits, ground.sides)[:, units], reachable, 0.0)
    wanted = ground.targets[units, N_MOVES : ground.n_options[side]]
    return others, able.gather(2, wanted.expand(len(able), -1, -1))


Pairs = Callable[[Tensor, Tensor, Tensor], Sequence[Tensor]]
"""The function above for a map and a side, as it is or compiled."""


def look(ground: Ground, field: Battlefield, side: int, pairs: Pairs) -> Sight:
    """Return what the units of a side see and may do."""
    alive, marks = field.alive[:, ground.units[side], None], Marks.of(ground, field)
    others, reachable = pairs(marks.seen(ground, field), field.health, field.types)
    own = marks.own(field)
    observation = torch.cat([others.flatten(2), own[:, ground.units[side]]], -1)
    moves = alive.expand(-1, -1, STOP)
    return Sight(observation, torch.cat([moves, torch.ones_like(alive), reachable > 0], -1), own)


def options(ground: Ground, field: Battlefield, side: int) -> Tensor:
    """Return what the units of a side may do, ``[B, n, actions]`` bool, see :class:`Sight`."""
    return look(ground, field, side, partial(pairs, ground, side)).options


def observations(ground: Ground, field: Battlefield, side: int) -> Tensor:
    """Return what the units of a side see, ``[B, n, F]``, see :class:`Sight`."""
    return look(ground, field, side, partial(pairs, ground, side)).observation


class Marks(NamedTuple):
    """Numbers of units that stand in more than one place."""

    health: Tensor
    """``[B, N, 1]`` in parts of what it is at most."""
    ready: Tensor
    """``[B, N, 1]``, the cooldown in parts of the reload time."""
    kind: Tensor
    """``[B, N, kinds]``, one-hot; of detailed rules shields and energy, in parts of what they can be, come behind."""

    @classmethod
    def of(cls, ground: Ground, field: Battlefield) -> "Marks":
        """Return those of all units."""
        health, reload, kind = (ground.trait(word, field.types) for word in ("health", "reload", "one_hot"))
        if ground.detailed:
            detail, has = ground.traits(field.types).detail, detailed.Reserve.of(field)
            assert detail is not None
            shares = (has.shield / detail.shield.clamp(min=1), has.energy / detailed.MOST_ENERGY)
            kind = torch.cat([kind, *(share.unsqueeze(-1) for share in shares)], -1)
        return cls((field.health / health).unsqueeze(-1), (field.cooldown / reload).clamp(0, 1).unsqueeze(-1), kind)

    def seen(self, ground: Ground, field: Battlefield) -> Tensor:
        """Return what there is to see of each unit, its place in cells, ``[B, N, 13]``; 2 more of detailed rules."""
        aim = (field.aim / ground.last_option).unsqueeze(-1)
        return torch.cat([self.health, field.position, field.heading, aim, self.ready, self.kind], -1)

    def own(self, field: Battlefield) -> Tensor:
        """Return what each unit knows of itself, ``[B, N, 10]``: numbers within 0 and 1, and 0 of the dead."""
        known = torch.cat([self.health, field.position / SIZE, self.ready, self.kind], -1)
        return known * field.alive.unsqueeze(-1)


def world_state(ground: Ground, field: Battlefield) -> Tensor:
    """Return the state as the original has it, ``[B, 12 N]``: of each unit health, place, cooldown and kind, then the
    sides and the kinds of all as numbers. Places are cells and cooldowns seconds, however far below 0.
    """
    marks = Marks.of(ground, field)
    each = torch.cat([marks.health, field.position, field.cooldown.unsqueeze(-1), marks.kind], -1)
    each = torch.where(field.alive.unsqueeze(-1), each, 0.0)
    return torch.cat(
        [each.flatten(1), ground.sides.expand(len(each), -1).to(torch.float32), field.types.to(torch.float32)], -1
    )
