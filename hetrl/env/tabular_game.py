"""Random cooperative Markov games, for tests against the exact solution."""

import inspect
import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from annotated_types import Len

from hetrl.arguments import Count, Seed, checked
from hetrl.env.finite_game import FiniteGame
from hetrl.env.team_env import Reward
from hetrl.errors import RecipeError
from hetrl.ops.markov_game import MarkovGame

_LARGEST = 2**24
"""Entries of the transition table that are still made without asking (128 MB)."""


class TabularGame(FiniteGame):
    """A random game of few states, which every agent sees one-hot, to be compared with its exact solution.

    s' ~ P(s' | s, a_1, ..., a_n),   reward = R(s, a_1, ..., a_n)

    P and the start are uniform on the simplex, R is standard normal. Agents with equally many actions form a layout
    group. The horizon truncates. ``game(gamma)`` gives the tables, with everything that linear algebra makes of them.

    Args:
        n_states: states, ``S``.
        n_actions: actions of each agent, at least two agents.
        game_seed: of the game itself; ``run.seed`` moves only what happens in it.
        n_envs: environments in the batch, ``N``.
        horizon: steps after which an episode is truncated [step].
        reward: the team's reward, as the mean or the sum over agents, each of which earns R, or none (``per_agent``).
        seed: of starts and transitions.
        device: where the environments live.

    Raises:
        RecipeError: an argument is unknown or out of range, or the table would not fit.
    Source: the setting of Kuba et al. 2022, arXiv:2109.11251 (cooperative Markov games).
    Differs: nothing; the paper draws no games.
    """

    def __init__(
        self,
        *,
        n_states: Count = 4,
        n_actions: Annotated[list[Count], Len(2, 16)] = [2, 3],  # noqa: B006 (never written to; it is the schema)
        game_seed: Seed = 0,
        n_envs: Count = 64,
        horizon: Count = 20,
        reward: Reward = "mean",
        seed: Seed = 0,
        device: str = "cpu",
    ) -> None:
        self.check_arguments({"n_states": n_states, "n_actions": n_actions})
        made = MarkovGame.random(n_states, n_actions, 0.0, torch.Generator().manual_seed(game_seed))
        super().__init__(
            made.transition,
            made.reward,
            made.start,
            n_envs=n_envs,
            horizon=horizon,
            one_shot=False,
            reward=reward,
            seed=seed,
            device=device,
        )

    __init__ = checked(__init__, "env/tabular_game")

    @classmethod
    def check_arguments(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse a game whose table of transitions is too large to make.

        Raises:
            RecipeError: saying how large it would be.
        """
        default = inspect.signature(cls.__init__).parameters
        n_states, n_actions = (arguments.get(word, default[word].default) for word in ("n_states", "n_actions"))
        entries = n_states * n_states * math.prod(n_actions)
        if entries > _LARGEST:
            raise RecipeError(
                f"task.n_actions: with n_states = {n_states} the table has {entries:,} transitions, more than "
                f"{_LARGEST:,}; use fewer agents, actions or states."
            )
