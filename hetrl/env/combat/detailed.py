"""Rules beside those of ``combat/ticks``: shields, armour, bonus damage, and who heals.

All of a tick happens at once, as there. Hits fall on a unit in the order of who shoots. A hit does more to who is
armoured; a shield takes of it what it can, and the rest is weakened by armour before it reaches health. So a zealot's
two hits of 8 on a stalker with a shield of 10 and armour 1 leave 10 - 8 = 2 of the shield after the first, and of the
second 6 - 1 = 5 reach its health. A shield that nothing has hit for 10 s comes back, 2 a second.

Who heals gives a team-mate on the ground who is alive, near enough and hurt 9 health a second, at most what is missing;
several share what is missing. Three health cost one energy, of which there are 50 as a battle begins and 200 at most,
and 0.5625 come back a second; to begin with another patient takes 5. What a unit loses and what it is given in a tick
are summed up: who would die of the sum dies, and nobody revives.

Source: the numbers are StarCraft II's as SMAClite has them, Michalski et al. 2023, arXiv:2305.05566.
Differs: there units act one after another; energy is paid in whole points, here as it is used; it has no hydralisk,
which has SMAX's numbers here; nobody regenerates here.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from hetrl.env.combat.battlefield import SIZE, Battlefield, Ground
from hetrl.env.combat.ticks import TICK, TICKS, Orders, Ticker, orders, pushed
from hetrl.env.combat.units import Details, Traits

QUIET = 10.0
"""Seconds without a hit after which a shield comes back."""
_BACK = 2.0
"""Of a shield, a second."""
MOST_ENERGY, FIRST_ENERGY = 200.0, 50.0
_CHARGE = 0.5625
"""Energy, a second."""
_WORTH = 3.0
"""Health for one energy."""
_BEGIN = 5.0
"""Energy that it takes to begin with another patient."""
_NOBODY = 0.0


class Reserve(NamedTuple):
    """What units have beside health, ``[B, N]`` each; together the last dimension of ``Battlefield.reserve``."""

    shield: Tensor
    quiet: Tensor
    """Seconds since the last hit."""
    energy: Tensor
    patient: Tensor
    """The action with which it healed last, as long as it goes on; 0 where it does not."""

    @classmethod
    def of(cls, field: Battlefield) -> "Reserve":
        """Return what units have."""
        assert field.reserve is not None
        return cls(*field.reserve.unbind(-1))


class Combatants(NamedTuple):
    """What changes within a step."""

    position: Tensor
    health: Tensor
    cooldown: Tensor
    shield: Tensor
    quiet: Tensor
    energy: Tensor


def first_reserve(traits: Traits) -> Tensor:
    """Return what units have as a battle begins, ``[B, N, 4]``: whole shields, which could come back at once."""
    detail = _detail(traits)
    nothing = torch.zeros_like(detail.shield)
    energy = torch.where(detail.heals > 0, FIRST_ENERGY, nothing)
    return torch.stack([detail.shield, nothing + QUIET, energy, nothing + _NOBODY], -1)


def ticker(ground: Ground) -> Ticker:
    """Return the tick of a map as a function of tensors, see :func:`hetrl.env.combat.ticks.ticker`."""

    def once(*given: Tensor) -> Combatants:
        *parts, tends, late, types = given
        return tick(ground.traits(types), Combatants(*parts[:6]), Orders(*parts[6:]), tends, late)

    return once


def run(ground: Ground, field: Battlefield, told: Orders, late: Tensor, once: Ticker) -> Battlefield:
    """Return the battles after everybody did what it was told; see :func:`hetrl.env.combat.ticks.run`."""
    traits, reserve = ground.traits(field.types), Reserve.of(field)
    tends = (told.aim > 0) & (_detail(traits).heals > 0) & ((reserve.patient == told.aim) | (reserve.energy >= _BEGIN))
    bodies = Combatants(field.position, field.health, field.cooldown, *reserve[:3])
    for now in late.expand(-1, TICKS, -1).unbind(1):
        bodies = Combatants(*once(*bodies, *told, tends, now, field.types))
    goes_on = tends & patients(traits, bodies, told.target)
    patient = torch.where(goes_on, told.aim.to(bodies.health.dtype), _NOBODY)
    return replace(
        field, position=bodies.position, health=bodies.health, cooldown=bodies.cooldown,
        heading=told.heading, aim=told.aim,
        reserve=torch.stack([bodies.shield, bodies.quiet, bodies.energy, patient], -1),
    )  # fmt: skip


def step(ground: Ground, field: Battlefield, action: Tensor, late: Tensor) -> Battlefield:
    """Return the battles after the units took these actions ``[B, N]``; see :func:`hetrl.env.combat.ticks.run`."""
    return run(ground, field, orders(ground, action), late, ticker(ground))


def tick(traits: Traits, bodies: Combatants, told: Orders, tends: Tensor, late: Tensor) -> Combatants:
    """Let everybody shoot, heal and move once: shots and healing, walls and overlaps, in this order.

    Args:
        traits: of the units.
        bodies: before.
        told: what they do.
        tends: who heals its target where it may, ``[B, N]`` bool.
        late: how much longer than usual each reloads after a shot now, ``[B, N]`` [s].
    """
    position, health, cooldown, shield, quiet, energy = bodies
    detail, alive = _detail(traits), health > 0
    shoots = (told.aim > 0) & reached(traits, bodies, told.target) & (cooldown <= 0)
    absorbed, damage = suffered(traits, shield, told.target, shoots)
    given, spent = healed(traits, bodies, told.target, tends)
    health = torch.where(alive, (health - damage + given).clamp(min=0).minimum(traits.health), health)
    stride = told.heading * traits.speed.unsqueeze(-1) * TICK
    position = torch.where(alive.unsqueeze(-1), (position + stride).clamp(0, SIZE), position)
    walled = ((position <= 0) | (position >= SIZE)).any(-1)
    health = torch.where(walled, 0.0, health)
    quiet = torch.where(absorbed + damage > 0, 0.0, quiet + TICK)
    back = torch.where(alive & (quiet >= QUIET), _BACK * TICK, 0.0)
    return Combatants(
        position=pushed(traits, position, health > 0),
        health=health,
        cooldown=torch.where(shoots, traits.reload + late, cooldown - TICK),
        shield=(shield - absorbed + back).minimum(detail.shield),
        quiet=quiet,
        energy=torch.where(detail.heals > 0, (energy - spent + _CHARGE * TICK).clamp(0, MOST_ENERGY), energy),
    )


def may_target(traits: Traits, sides: Tensor) -> Tensor:
    """Return who could shoot at whom, or heal whom, if both live and are near, ``[B, N, N]`` bool.

    Opponents, and those who fly only where one hits them; of who heals team-mates on the ground.
    """
    detail, together = _detail(traits), sides.unsqueeze(-1) == sides
    shoots = ~together & (detail.hits_air.unsqueeze(-1) | ~detail.air.unsqueeze(-2))
    return torch.where((detail.heals > 0).unsqueeze(-1), together & ~detail.air.unsqueeze(-2), shoots)


def reached(traits: Traits, bodies: Combatants, target: Tensor) -> Tensor:
    """Return who is alive and can hit its target, ``[B, N]`` bool."""
    detail = _detail(traits)
    able = (detail.heals == 0) & (detail.hits_air | ~detail.air.gather(1, target))
    return able & _near(traits, bodies, target)


def patients(traits: Traits, bodies: Combatants, target: Tensor) -> Tensor:
    """Return who is alive and has a target that it could heal: near, hurt, on the ground; ``[B, N]`` bool."""
    detail = _detail(traits)
    hurt = (bodies.health < traits.health).gather(1, target) & ~detail.air.gather(1, target)
    return (detail.heals > 0) & hurt & _near(traits, bodies, target)


def suffered(traits: Traits, shield: Tensor, target: Tensor, shoots: Tensor) -> tuple[Tensor, Tensor]:
    """Return how much shields have taken, and how much of health is lost, ``[B, N]`` each.

    Args:
        traits: of the units.
        shield: before.
        target: at whom each shoots, ``[B, N]``.
        shoots: who does, ``[B, N]`` bool.
    """
    detail, n_units = _detail(traits), target.shape[1]
    hit = traits.damage + detail.bonus * detail.armoured.gather(1, target)
    aimed = target.unsqueeze(-1) == torch.arange(n_units, device=target.device)
    often = torch.stack([shoots & (detail.hits > count) for count in range(_MOST_HITS)], -1)
    # [B, hits in the order of who shoots, at whom]
    hits = torch.where(aimed.unsqueeze(2) & often.unsqueeze(-1), hit[..., None, None], 0.0).flatten(1, 2)
    before = hits.cumsum(1) - hits
    taken = (shield.unsqueeze(1) - before).clamp(min=0).minimum(hits)
    through = (hits - taken - detail.armour.unsqueeze(1)).clamp(min=0)
    return taken.sum(1), through.sum(1)


def healed(traits: Traits, bodies: Combatants, target: Tensor, tends: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each is given ``[B, N]`` [health], and what each spends on it ``[B, N]`` [energy]."""
    missing = (traits.health - bodies.health).clamp(min=0)
    wanted = torch.minimum(_detail(traits).heals * TICK, _WORTH * bodies.energy)
    wanted = torch.where(tends & patients(traits, bodies, target), wanted, 0.0)
    offered = torch.zeros_like(wanted).scatter_add(1, target, wanted)
    share = torch.where(offered > missing, missing / offered.clamp(min=_LEAST), 1.0)
    return offered * share, wanted * share.gather(1, target) / _WORTH


_MOST_HITS = 2
_LEAST = 1e-9


def _near(traits: Traits, bodies: Combatants, target: Tensor) -> Tensor:
    """Return who is alive and has a target, alive as well and near enough, ``[B, N]`` bool."""
    position, alive = bodies.position, bodies.health > 0
    another = target != torch.arange(target.shape[1], device=target.device)
    way = position.gather(1, target.unsqueeze(-1).expand_as(position)) - position
    return another & alive & alive.gather(1, target) & ((way * way).sum(-1).sqrt() < traits.reach)


def _detail(traits: Traits) -> Details:
    assert traits.detail is not None
    return traits.detail
