"""A recipe's task becomes environments on a device."""

from typing import Any

import torch

from hetrl import rng
from hetrl.allocation import allocating, refuse_above_all
from hetrl.data.environment import used
from hetrl.errors import RecipeError
from hetrl.recipe.schema import Recipe
from hetrl.team import Team

_MANY_ENVS = 100_000
"""From so many environments on it is asked first whether they fit: the system may grant memory that it has not."""


def team_of(recipe: Recipe) -> Team:
    """Return the agents of a recipe's task.

    Raises:
        RecipeError: the task refuses its arguments.
    """
    with used(make_env(recipe, torch.device("cpu"), 0, n_envs=1)) as env:
        return env.team


def make_env(recipe: Recipe, device: torch.device, seed: int, **changed: Any) -> Any:
    """Return the recipe's environments, with some arguments changed.

    Raises:
        RecipeError: the task refuses its arguments, or so many environments do not fit into the memory.
    """
    cls = recipe.task.entry("env")
    arguments = {**recipe.task.arguments, **changed}
    n_envs = arguments.get("n_envs", 1)
    if n_envs > _MANY_ENVS:
        with used(make_env(recipe, device, seed, **{**changed, "n_envs": 1})) as one:
            _refuse_too_many(one.team, n_envs, device)
    with allocating(f"task ({recipe.task.name}) with n_envs = {n_envs}"):
        try:
            return cls(**arguments, seed=seed, device=str(device))
        except RecipeError as error:
            raise RecipeError(f"task ({recipe.task.name}): {error}") from None


def _refuse_too_many(team: Team, n_envs: int, device: torch.device) -> None:
    """Refuse environments whose observations alone, before and after a step, are more than the memory."""
    n_bytes = sum(agent.observation_size * agent.observation_dtype.itemsize for agent in team.agents)
    refuse_above_all(f"task.n_envs = {n_envs}", 2 * n_bytes * n_envs, device)


def evaluation_env(recipe: Recipe, device: torch.device) -> Any:
    """Return the environments of an evaluation: one for each episode, always from the same seed."""
    seed = rng.derive(recipe.run.seed, "evaluation")
    return make_env(recipe, device, seed, n_envs=recipe.run.n_eval_episodes)
