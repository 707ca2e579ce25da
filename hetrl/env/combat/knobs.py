"""How allies differ from their kinds, as a task says it."""

from collections.abc import Mapping
from typing import Annotated, Literal

from annotated_types import Interval

from hetrl.env.combat.maps import BattleMap
from hetrl.env.combat.units import HEALERS
from hetrl.errors import RecipeError, nearest

Trait = Literal["health", "damage", "reach", "sight", "reload", "speed"]
Knobs = Mapping[str, Mapping[Trait, Annotated[float, Interval(gt=0, le=1e6)]]]
"""A kind of unit or an ally's name -> trait -> what it is multiplied by, above 0 and finite, up to a million."""
Factors = dict[str, tuple[float, ...]]
"""Trait -> what each ally's is multiplied by."""


def names(plan: BattleMap) -> list[str]:
    """Return the allies' names: their kinds, and which of the kind."""
    return [f"{kind}_{plan.allies[:place].count(kind)}" for place, kind in enumerate(plan.allies)]


def factors(plan: BattleMap, knobs: Knobs) -> Factors:
    """Return what each ally's traits are multiplied by; what is told of a kind and of one of it is multiplied, too.

    Raises:
        RecipeError: no ally is of that name or kind, or it heals and what is told is of shots.
    """
    allies = names(plan)
    kinds = {kind: kind for kind in plan.allies} | dict(zip(allies, plan.allies, strict=True))
    for name in knobs:
        if name not in kinds:
            raise RecipeError(f"task.traits: no ally or kind of ally is called '{name}'.{nearest(name, kinds)}")
        shots = [trait for trait in ("damage", "reload") if trait in knobs[name]]
        if shots and kinds[name] in HEALERS:
            raise RecipeError(f"task.traits.{name}.{shots[0]}: '{name}' heals and does not shoot; drop {shots[0]}.")
    found: Factors = {}
    for trait in dict.fromkeys(trait for own in knobs.values() for trait in own):
        found[trait] = tuple(
            float(knobs.get(kind, {}).get(trait, 1.0) * knobs.get(name, {}).get(trait, 1.0))
            for kind, name in zip(plan.allies, allies, strict=True)
        )
    return found


def bodies(plan: BattleMap, found: Factors) -> list[str]:
    """Return each ally's body: its kind, or where those of a kind differ the first one's name that is like it."""
    allies = names(plan)
    own = [(kind, tuple(each[place] for each in found.values())) for place, kind in enumerate(plan.allies)]
    several = {kind for kind in plan.allies if len({factor for other, factor in own if other == kind}) > 1}
    return [allies[own.index(each)] if each[0] in several else each[0] for each in own]
