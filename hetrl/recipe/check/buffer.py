"""How much memory will a replay buffer take?"""

from dataclasses import dataclass

from hetrl import allocation
from hetrl.data.replay import Replay, transition_bytes
from hetrl.recipe.check.amounts import n_envs
from hetrl.recipe.schema import Recipe
from hetrl.team import Team


@dataclass(frozen=True)
class Buffer:
    """What a replay buffer takes [byte]."""

    capacity: int
    """Transitions that fit in."""
    whole: int
    """When it is full."""
    filled: int
    """By the end of the run: memory is taken as steps are stored."""

    def __str__(self) -> str:
        return (
            f"Replay: data.capacity = {self.capacity} takes {allocation.size(self.whole)}, of which this run fills "
            f"{allocation.size(self.filled)}."
        )

    @property
    def warning(self) -> str | None:
        """What to say where the run fills more than is free on this machine; None where it does not."""
        free = allocation.free_memory()
        if free is None or self.filled <= free:
            return None
        return (
            f"data.capacity = {self.capacity}: the run fills {allocation.size(self.filled)} with stored steps, "
            f"and {allocation.size(free)} are free; write a smaller data.capacity."
        )


def buffer(recipe: Recipe, team: Team) -> Buffer | None:
    """Return what a recipe's replay buffer takes; None where its data keeps none.

    Args:
        recipe: one that links.
        team: its task's agents.
    """
    if not issubclass(recipe.data.entry("data"), Replay):
        return None
    capacity, several = recipe.data.arguments["capacity"], n_envs(recipe)
    slots = capacity // several
    needed = min(slots, -(-recipe.run.frames // several))
    step = several * transition_bytes(team, recipe.task.entry("env").provides(recipe.task.arguments))
    return Buffer(capacity, step * slots, step * needed)
