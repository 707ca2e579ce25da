"""Who meets whom."""

from dataclasses import dataclass

from hetrl.env.combat.units import HEALERS
from hetrl.errors import RecipeError, nearest


@dataclass(frozen=True)
class BattleMap:
    """The units of both sides, in their order."""

    allies: tuple[str, ...]
    enemies: tuple[str, ...]
    drawn: bool = False
    """Whether each episode draws the kinds of units, the same for both sides, and where they start; the names above
    then only count."""
    detailed: bool = False
    """Whether its rules are detailed unless a task says otherwise, see :mod:`~hetrl.env.combat.detailed`."""

    @property
    def sides(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The allies, and the enemies."""
        return self.allies, self.enemies

    @property
    def heals(self) -> bool:
        """Whether somebody heals."""
        return not HEALERS.isdisjoint((*self.allies, *self.enemies))

    def __str__(self) -> str:
        both = (self.allies, self.enemies)
        if self.drawn:
            return " against ".join(f"{len(side)} of any kind" for side in both)
        return " against ".join(
            ", ".join(f"{side.count(kind)} {kind}" for kind in dict.fromkeys(side)) for side in both
        )


def _map(
    allies: dict[str, int], enemies: dict[str, int] | None = None, drawn: bool = False, detailed: bool = False
) -> BattleMap:
    """A map of so many of each kind; a mirror where only the allies are told."""
    sides = [
        tuple(kind for kind, count in side.items() for _ in range(count))
        for side in (allies, allies if enemies is None else enemies)
    ]
    return BattleMap(sides[0], sides[1], drawn, detailed)


MAPS = {
    "3m": _map({"marine": 3}),
    "8m": _map({"marine": 8}),
    "25m": _map({"marine": 25}),
    "5m_vs_6m": _map({"marine": 5}, {"marine": 6}),
    "10m_vs_11m": _map({"marine": 10}, {"marine": 11}),
    "27m_vs_30m": _map({"marine": 27}, {"marine": 30}),
    "2s3z": _map({"stalker": 2, "zealot": 3}),
    "3s5z": _map({"stalker": 3, "zealot": 5}),
    "3s5z_vs_3s6z": _map({"stalker": 3, "zealot": 5}, {"stalker": 3, "zealot": 6}),
    "3s_vs_5z": _map({"stalker": 3}, {"zealot": 5}),
    "6h_vs_8z": _map({"hydralisk": 6}, {"zealot": 8}),
    "smacv2_5_units": _map({"unit": 5}, drawn=True),
    "smacv2_10_units": _map({"unit": 10}, drawn=True),
    "smacv2_20_units": _map({"unit": 20}, drawn=True),
    "MMM": _map({"marauder": 2, "marine": 7, "medivac": 1}, detailed=True),
    "MMM2": _map({"marauder": 2, "marine": 7, "medivac": 1}, {"marauder": 3, "marine": 8, "medivac": 1}, detailed=True),
    "5m2d_vs_8m": _map({"marine": 5, "medivac": 2}, {"marine": 8}, detailed=True),
}
"""Name -> map."""


def battle_map(name: str) -> BattleMap:
    """Return the map of that name.

    Raises:
        RecipeError: there is none.
    """
    if name not in MAPS:
        raise RecipeError(f"task.map: no map {name!r}.{nearest(str(name), MAPS)}")
    return MAPS[name]
