"""What kinds of units there are, and their numbers as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class UnitType:
    """A kind of unit. Distances are from centre to centre, in cells of the map; times are in seconds."""

    name: str
    health: float
    damage: float
    """Of one shot [health]."""
    reach: float
    """An opponent nearer than this can be hit."""
    sight: float
    """A unit nearer than this is seen."""
    radius: float
    reload: float
    """Between two shots."""
    speed: float
    """Cells a second."""
    shield: float = 0.0
    """Health in front of health: armour does not help it, and it comes back; see ``combat/detailed``."""
    armour: float = 0.0
    """What each hit on its health is weakened by [health]."""
    hits: int = 1
    """How often a shot hits; armour counts each time."""
    armoured: bool = False
    bonus: float = 0.0
    """What each hit does more to who is armoured [health]."""
    air: bool = False
    """Whether it flies: nobody on the ground is in its way."""
    hits_air: bool = True
    """Whether it can shoot at who flies."""
    heals: float = 0.0
    """Health given back a second; who heals does not attack."""


UNIT_TYPES = (
    UnitType("marine", health=45, damage=9, reach=5, sight=9, radius=0.375, reload=0.61, speed=3.15),
    UnitType("marauder", health=125, damage=10, reach=6, sight=10, radius=0.5625, reload=1.07, speed=2.25),
    UnitType("stalker", health=160, damage=13, reach=6, sight=10, radius=0.625, reload=1.87, speed=4.13),
    UnitType("zealot", health=150, damage=8, reach=2, sight=9, radius=0.5, reload=0.86, speed=3.15),
    UnitType("zergling", health=35, damage=5, reach=2, sight=8, radius=0.375, reload=0.5, speed=4.13),
    UnitType("hydralisk", health=80, damage=12, reach=5, sight=9, radius=0.625, reload=0.59, speed=3.15),
)
"""The place of a kind is its number, and its place in what units see. Shields are part of health, and a shot is worth
the same to all. New kinds go to the end."""
DETAILED_TYPES = (
    UnitType("marine", health=45, damage=6, reach=5, sight=9, radius=0.375, reload=0.61, speed=3.15),
    UnitType("marauder", health=125, damage=10, reach=6, sight=10, radius=0.5625, reload=1.07, speed=3.15,
             armour=1, armoured=True, bonus=10, hits_air=False),
    UnitType("stalker", health=80, damage=13, reach=6, sight=10, radius=0.625, reload=1.34, speed=4.13,
             shield=80, armour=1, armoured=True, bonus=5),
    UnitType("zealot", health=100, damage=8, reach=2, sight=9, radius=0.5, reload=0.86, speed=3.15,
             shield=50, armour=1, hits=2, hits_air=False),
    UnitType("zergling", health=35, damage=5, reach=2, sight=8, radius=0.375, reload=0.5, speed=4.13, hits_air=False),
    UnitType("hydralisk", health=80, damage=12, reach=5, sight=9, radius=0.625, reload=0.59, speed=3.15),
    UnitType("medivac", health=150, damage=0, reach=4, sight=11, radius=0.75, reload=1, speed=3.5,
             armour=1, armoured=True, air=True, hits_air=False, heals=9),
)  # fmt: skip
"""The same kinds with shields, armour and bonus damage by themselves, and one more. Reach and sight are as above."""
HEALERS = {unit.name for unit in DETAILED_TYPES if unit.heals}
TYPE_NUMBERS = {unit.name: number for number, unit in enumerate(DETAILED_TYPES)}
N_BASE_TYPES = 6
"""Kinds that every map tells apart in what is seen."""


@dataclass(frozen=True)
class Traits:
    """The numbers of units ``[*B, N]``, each as its kind has them; see :class:`UnitType`."""

    health: Tensor
    damage: Tensor
    reach: Tensor
    sight: Tensor
    radius: Tensor
    reload: Tensor
    speed: Tensor
    one_hot: Tensor
    """``[*B, N, kinds]``."""
    detail: "Details | None" = None
    """What only detailed rules know of."""


@dataclass(frozen=True)
class Details:
    """More numbers of units ``[*B, N]``; see :class:`UnitType`."""

    shield: Tensor
    armour: Tensor
    hits: Tensor
    armoured: Tensor
    bonus: Tensor
    air: Tensor
    hits_air: Tensor
    heals: Tensor


def trait_table(device: torch.device) -> dict[str, Tensor]:
    """Return the field of :class:`Traits` -> its value for each kind, ``[kinds]``."""
    return {**_table(UNIT_TYPES, _WORDS, device), "one_hot": torch.eye(len(UNIT_TYPES), N_BASE_TYPES, device=device)}


def detailed_table(device: torch.device, n_kinds: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the same of detailed rules, telling ``n_kinds`` apart; and field of :class:`Details` -> its values."""
    one_hot = torch.eye(len(DETAILED_TYPES), n_kinds, device=device)
    table = {**_table(DETAILED_TYPES, _WORDS, device), "one_hot": one_hot}
    return table, _table(DETAILED_TYPES, tuple(field.name for field in fields(Details)), device)


_WORDS = ("health", "damage", "reach", "sight", "radius", "reload", "speed")


def _table(kinds: Sequence[UnitType], words: Sequence[str], device: torch.device) -> dict[str, Tensor]:
    return {word: torch.tensor([_number(getattr(unit, word)) for unit in kinds], device=device) for word in words}


def _number(value: float | bool) -> float | bool:
    return value if isinstance(value, bool) else float(value)
