"""Do recurrent nets get what they need: memories that collection carries, and chunks that fit the batch?"""

from collections.abc import Iterable
from typing import Any

from hetrl.errors import RecipeError
from hetrl.network import Policy
from hetrl.recipe.plan import acting_net, chunks
from hetrl.recipe.schema import Recipe


def memories(recipe: Recipe, data: Any, n_envs: int) -> list[str]:
    """Return the keys of the memories that collection carries for a recipe's nets.

    Args:
        recipe: whose nets are asked.
        data: the class behind ``data``.
        n_envs: the task's environments.

    Raises:
        RecipeError: collection carries no such memory, or its batches do not divide into the chunks.
    """
    carried: dict[str, str] = {}
    policy = acting_net(recipe)
    for name, chunk in chunks(recipe).items():
        net = recipe.nets[name]
        acts = issubclass(net.network, Policy)
        if acts and name != policy:
            raise RecipeError(
                f"{net.where}: only the net that acts, '{policy}', has its memory collected; make it the same."
            )
        if not acts and net.sharing != "team":
            raise RecipeError(f"{net.where}: a recurrent net that does not act is one for the team; write per: team.")
        data.check_chunk(recipe.data.arguments, n_envs, name, chunk)
        key = next(table.reads["memory"] for table in net.network.modes.values() if "memory" in table.reads)
        if key in carried:
            raise RecipeError(
                f"{net.where}: collection carries one '{key}', and '{carried[key]}' has it; drop one of the two."
            )
        carried[key] = name
    return list(carried)


def check_chunks(recipe: Recipe, where: str, nets: Iterable[str]) -> None:
    """Refuse recurrent nets whose chunks differ in the steps of one phase, which have the same minibatches.

    Raises:
        RecipeError: naming the two.
    """
    found = chunks(recipe, nets)
    if len(set(found.values())) > 1:
        each = ", ".join(f"{name}: {chunk}" for name, chunk in found.items())
        raise RecipeError(f"{where}: the nets of its steps are unrolled in different chunks ({each}); make them equal.")
