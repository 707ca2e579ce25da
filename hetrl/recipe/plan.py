"""What a checked recipe comes to: who shares each net, which of them acts, and what recurrent nets ask for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hetrl.errors import RecipeError, nearest
from hetrl.network import Policy
from hetrl.recipe.net import Per
from hetrl.recipe.schema import Recipe
from hetrl.team import Team


@dataclass(frozen=True)
class Plan:
    """What :func:`hetrl.check` returns of a recipe that links."""

    recipe: Recipe
    per: Mapping[str, Per]
    """Who shares each net."""
    policy: str
    """The net that acts."""

    @classmethod
    def of(cls, recipe: Recipe) -> "Plan":
        """Return the plan of a recipe whose nets are known.

        Raises:
            RecipeError: none of its nets can act, or several can and it does not say which.
        """
        return cls(recipe, {name: net.sharing for name, net in recipe.nets.items()}, acting_net(recipe))


def acting_net(recipe: Recipe) -> str:
    """Return the name of the net that acts.

    Raises:
        RecipeError: see :meth:`Plan.of`.
    """
    policies = [name for name, net in recipe.nets.items() if issubclass(net.network, Policy)]
    asked = recipe.data.arguments.get("policy")
    if asked is not None:
        if asked not in policies:
            raise RecipeError(f"data.policy: no policy '{asked}' under nets.{nearest(str(asked), policies)}")
        return str(asked)
    if len(policies) != 1:
        raise RecipeError(f"data: {len(policies)} nets can act ({', '.join(policies)}); say which, policy: name.")
    return policies[0]


def grouped(recipe: Recipe, team: Team) -> Team:
    """Return the team with the sharing groups that the recipe writes, if it does."""
    return team if recipe.groups is None else team.shared(recipe.groups)


def chunks(recipe: Recipe, names: Iterable[str] | None = None) -> dict[str, int]:
    """Return the recurrent nets (of ``names``, or all) with the steps that each unrolls at once."""
    found = {name: recipe.nets[name].chunk for name in (recipe.nets if names is None else names)}
    return {name: chunk for name, chunk in found.items() if chunk is not None}


def recurrent_critic(recipe: Recipe) -> str | None:
    """Return the recurrent net that does not act, whose memory is the team's; None where there is none."""
    return next((name for name in chunks(recipe) if not issubclass(recipe.nets[name].network, Policy)), None)
