"""How much memory will a replay buffer take?"""

from dataclasses import dataclass

from hetrl import allocation
from hetrl.data.replay import Replay
from hetrl.recipe.check.amounts import n_envs
from hetrl.recipe.schema import Recipe
from hetrl.team import Box, Team

_NUMBER, _INDEX, _FLAG = 4, 8, 1
"""Bytes of a number, of a discrete choice, and of a flag."""


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
    return Buffer(capacity, transition(team) * slots * several, transition(team) * needed * several)


def transition(team: Team) -> int:
    """Return the bytes of a stored step of one environment: what is seen before and after, actions, rewards and flags.

    Masks of agents and of their options come on top, where an environment has them.
    """
    found = 2 * _FLAG
    for agent in team.agents:
        action = _NUMBER if isinstance(agent.action, Box) else _INDEX
        found += 2 * agent.observation_size * agent.observation_dtype.itemsize + action * agent.action.size + _NUMBER
    return found + (2 * team.state_size * team.state_dtype.itemsize if team.own_state else 0)
