"""What kinds of units there are, and their numbers as tensors."""

from dataclasses import dataclass

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
TYPE_NUMBERS = {unit.name: number for number, unit in enumerate(UNIT_TYPES)}
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


def trait_table(device: torch.device) -> dict[str, Tensor]:
    """Return the field of :class:`Traits` -> its value for each kind, ``[kinds]``."""
    words = ("health", "damage", "reach", "sight", "radius", "reload", "speed")
    table = {word: torch.tensor([float(getattr(unit, word)) for unit in UNIT_TYPES], device=device) for word in words}
    return {**table, "one_hot": torch.eye(len(UNIT_TYPES), N_BASE_TYPES, device=device)}
