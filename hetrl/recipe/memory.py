"""What recurrent nets ask of a recipe: memories that collection carries, and chunks that fit the batch."""

from collections.abc import Iterable, Mapping
from typing import Any

from hetrl import catalog
from hetrl.errors import RecipeError
from hetrl.network import Network, Policy
from hetrl.recipe.read import Per, Recipe


def chunks(recipe: Recipe, names: Iterable[str] | None = None) -> dict[str, int]:
    """Return the recurrent nets (of ``names``, or all) with the steps of their chunks."""
    found = {}
    for name in recipe.nets if names is None else names:
        chunk = _entry(recipe, name).chunk_of(recipe.nets[name].arguments)
        if chunk is not None:
            found[name] = chunk
    return found


def team_net(recipe: Recipe) -> str | None:
    """Return the recurrent net that does not act; its memory is the team's."""
    return next((name for name in chunks(recipe) if not issubclass(_entry(recipe, name), Policy)), None)


def memories(recipe: Recipe, per: Mapping[str, Per], policy: str, data: Any, n_envs: int) -> list[str]:
    """Return the keys of the memories that collection carries for a recipe's nets.

    Args:
        recipe: whose nets are asked.
        per: who shares each of them.
        policy: the net that acts.
        data: the class behind ``data``.
        n_envs: the task's environments.

    Raises:
        RecipeError: collection carries no such memory, or its batches do not divide into the chunks.
    """
    keys: dict[str, str] = {}
    for name, chunk in chunks(recipe).items():
        cls, where = _entry(recipe, name), recipe.nets[name].where
        if issubclass(cls, Policy) and name != policy:
            raise RecipeError(
                f"{where}: only the net that acts, '{policy}', has its memory collected; make it the same."
            )
        if not issubclass(cls, Policy) and per[name] != "team":
            raise RecipeError(f"{where}: a recurrent net that does not act is one for the team; write per: team.")
        if not hasattr(data, "check_chunk"):
            raise RecipeError(f"{where}: {recipe.data.name} keeps no memories of a recurrent net; use data/on_policy.")
        data.check_chunk(recipe.data.arguments, n_envs, name, chunk)
        key = next(table.reads["memory"] for table in cls.modes.values() if "memory" in table.reads)
        if key in keys:
            raise RecipeError(
                f"{where}: collection carries one '{key}', and '{keys[key]}' has it; drop one of the two."
            )
        keys[key] = name
    return list(keys)


def check_phase(recipe: Recipe, where: str, nets: Iterable[str]) -> None:
    """Refuse recurrent nets whose chunks differ in the steps of one phase, which have the same minibatches.

    Raises:
        RecipeError: naming the two.
    """
    found = chunks(recipe, nets)
    if len(set(found.values())) > 1:
        each = ", ".join(f"{name}: {chunk}" for name, chunk in found.items())
        raise RecipeError(f"{where}: the nets of its steps are unrolled in different chunks ({each}); make them equal.")


def _entry(recipe: Recipe, name: str) -> type[Network]:
    return catalog.resolve(recipe.nets[name].use, "net")
