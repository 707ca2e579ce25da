"""What one of several processes takes of a run: its environments, and what its source of data collects of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hetrl.data.collected import shared
from hetrl.errors import RecipeError
from hetrl.ranks import Rank
from hetrl.recipe.check.amounts import entries, n_envs
from hetrl.recipe.schema import Recipe


@dataclass(frozen=True)
class Portion:
    """The numbers of the recipe that one process goes by."""

    n_envs: int
    data: Mapping[str, Any]
    """The arguments of ``data``."""

    @classmethod
    def of(cls, recipe: Recipe, rank: Rank) -> "Portion":
        """Return a process's share of a recipe whose names are known.

        Raises:
            RecipeError: something cannot be shared evenly.
        """
        envs = rank.part(n_envs(recipe), "task.n_envs")
        source = recipe.data.entry("data")
        return cls(envs, shared(source, recipe.data.arguments, rank, recipe.data.name))


def check_shares(recipe: Recipe) -> None:
    """Refuse what the processes of ``run.devices`` and ``run.nodes`` cannot share.

    Raises:
        RecipeError: with the numbers, and the nearest that can.
    """
    rank = Rank(0, recipe.run.n_ranks)
    if rank.count == 1:
        return
    if recipe.run.device.startswith("cuda:"):
        raise RecipeError(
            f"run.device = {recipe.run.device} is one GPU, and run.devices = {recipe.run.devices} are several; write "
            "run.device=cuda: each process takes one, from the first on."
        )
    share = Portion.of(recipe, rank)
    source = recipe.data.entry("data")
    source.check_arguments(share.data, share.n_envs)
    amounts = source.amounts(share.data, share.n_envs, recipe.run.frames)
    for phase in recipe.update:
        if amounts is None or not phase.trained:
            continue
        count, what = entries(phase, recipe, amounts[2])
        if phase.minibatches > count:
            raise RecipeError(
                f"{phase.where}.minibatches = {phase.minibatches} is more than the {count} {what} that each of "
                f"{rank.count} processes has of a batch (run.devices); write at most {count}, or take fewer processes."
            )
