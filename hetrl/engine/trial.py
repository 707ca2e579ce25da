"""Somebody's environments take a few steps before a run begins, so that what they give wrongly shows by then."""

import torch
from torch import Tensor

from hetrl.catalog import BUILT_IN
from hetrl.data.environment import used
from hetrl.data.intake import Intake
from hetrl.data.random_actions import RandomActions
from hetrl.engine.task import make_env
from hetrl.recipe.schema import Recipe
from hetrl.team import Box, Grouped, Team

_N_STEPS = 3


def try_out(recipe: Recipe) -> None:
    """Take a few steps in one environment of the recipe's task, and close it; not where the task is hetrl's own.

    Raises:
        RecipeError: the task refuses its arguments.
        RunError: the environment gives what it must not.
        DivergenceError: it gives a number that is NaN or infinite.
    """
    if recipe.task.name in BUILT_IN:
        return
    with used(make_env(recipe, torch.device("cpu"), 0, n_envs=1)) as env:
        intake, ages, generator = Intake(env.team), torch.zeros(1), torch.Generator().manual_seed(0)
        intake.start(env.start())
        for _ in range(_N_STEPS):
            moved = env.advance(_actions(env.team, env.masks.get("action_mask", {}), generator))
            given = {"reward": moved.reward, "next_observation": moved.next_observation}
            steps = {(word, group): [value] for word, parts in given.items() for group, value in parts.items()}
            intake.look(steps, moved.observation, ages)
            ages = (ages + 1).masked_fill(moved.terminated | moved.truncated, 0.0)


def _actions(team: Team, masks: Grouped, generator: torch.Generator) -> dict[str, Tensor]:
    """Return random actions of one environment; zeros, where some have no bounds to draw between."""
    if all(not isinstance(agent.action, Box) or agent.action.bounded for agent in team.agents):
        return RandomActions(team, 1, generator).draw(masks)
    return {group: torch.zeros(1, len(agents), agents[0].action.size) for group, agents in team.layout.items()}
