"""Matrix games with a common payoff."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from hetrl.arguments import Count, Seed, checked
from hetrl.env.finite_game import FiniteGame
from hetrl.env.team_env import Reward
from hetrl.errors import RecipeError, nearest

GAMES: dict[str, list[Any]] = {
    "penalty": [[5, -20, -20], [-20, 10, -20], [-20, -20, 20]],
}
"""Payoffs with a name. ``penalty``: Liu et al. 2024, arXiv:2306.10715."""


class MatrixGame(FiniteGame):
    """One state, one payoff for the whole team: ``n_envs`` plays of a matrix game at a time.

    reward = payoff[a_1]...[a_n]

    With ``penalty`` and both agents taking action 0 it is 5; with actions 0 and 1 it is -20.

    Every agent observes the constant 1. With ``horizon`` 1 the game is *one-shot*: its only step terminates the
    episode, so no value follows. With a longer one it is *repeated*: like everywhere else the horizon truncates, and
    the value of playing on counts. Agents with equally many actions form a layout group.

    Args:
        payoff: nested lists of numbers, one level for each agent, or the name of a game (``penalty``) [reward].
        n_envs: environments in the batch, ``N``.
        horizon: plays in an episode [step].
        reward: the team's reward, as the mean or the sum over agents, each of which earns the payoff, or none
            (``per_agent``).
        seed: has no effect, as nothing is random; here as every environment takes it.
        device: where the environments live.

    Raises:
        RecipeError: ``payoff`` is no such table, or an argument is unknown or out of range.
    Source: the game ``penalty`` of Liu et al., ICLR 2024, arXiv:2306.10715.
    Differs: nothing.
    """

    def __init__(
        self,
        *,
        payoff: str | list[Any],
        n_envs: Count = 64,
        horizon: Count = 1,
        reward: Reward = "mean",
        seed: Seed = 0,
        device: str = "cpu",
    ) -> None:
        table = torch.tensor(_levels(payoff), dtype=torch.float64).unsqueeze(0)
        super().__init__(
            torch.ones(*table.shape, 1, dtype=torch.float64),
            table,
            torch.ones(1, dtype=torch.float64),
            n_envs=n_envs,
            horizon=horizon,
            one_shot=horizon == 1,
            reward=reward,
            seed=seed,
            device=device,
        )

    __init__ = checked(__init__, "env/matrix_game")

    @classmethod
    def check_arguments(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse a payoff that is no table of numbers with a level for each of at least two agents.

        Raises:
            RecipeError: saying where in the table.
        """
        _levels(arguments["payoff"])


def _levels(payoff: Any) -> list[Any]:
    """Return the nested lists that ``payoff`` is or names, checked."""
    if isinstance(payoff, str):
        if payoff not in GAMES:
            raise RecipeError(f"task.payoff: no game '{payoff}'.{nearest(payoff, GAMES)}")
        return GAMES[payoff]
    sizes: list[int] = []
    inner = payoff
    while isinstance(inner, list) and inner:
        sizes.append(len(inner))
        inner = inner[0]
    if len(sizes) < 2:
        raise RecipeError(
            f"task.payoff: it has {len(sizes)} level{'s' * (len(sizes) != 1)} of lists; write one for each of at least "
            "two agents, such as [[1, 0], [0, 1]]."
        )
    _check_level(payoff, sizes, "task.payoff")
    return payoff


def _check_level(value: Any, sizes: list[int], where: str) -> None:
    if not sizes:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number:
            raise RecipeError(f"{where}: {value!r} is no finite number; every joint action has one payoff.")
        return
    if not isinstance(value, list):
        raise RecipeError(f"{where}: {value!r} stands where a list of {sizes[0]} is; nest all entries equally deep.")
    if len(value) != sizes[0]:
        raise RecipeError(
            f"{where}: a list of {len(value)} stands where a list of {sizes[0]} is; every joint action needs a payoff."
        )
    for place, inner in enumerate(value):
        _check_level(inner, sizes[1:], f"{where}[{place}]")
