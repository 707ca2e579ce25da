"""Any multi-agent environment of TorchRL (Bou et al. 2023, arXiv 2306.00577), by a factory."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor
from torchrl.envs import EnvBase, StepCounter, TransformedEnv

from hetrl.arguments import Count, Seed, checked
from hetrl.env.team_env import Reward, TeamEnv
from hetrl.env.torchrl_factory import make
from hetrl.env.torchrl_reader import Reader
from hetrl.env.torchrl_specs import Reading, read, title
from hetrl.env.torchrl_world import Batch, Copies, Copy, Written, close
from hetrl.env.transition import Masks
from hetrl.env.workers import rows_of
from hetrl.errors import RecipeError, RunError
from hetrl.rng import Stream, derive
from hetrl.team import Box, Grouped


class TorchRL(TeamEnv):
    """``n_envs`` rows of a TorchRL environment, with the groups, agents and actions that its specs tell of.

    *Who.* The groups are those of ``group_map``, or else the nested keys of the action specs; an action at the root is
    that of a team of one. *What they see* is the leaf ``observation`` of a group (all that is under it), or else all its
    leaves of real numbers, flat and side by side. A root leaf ``state`` is the team's state. *Who may do what* is told by
    ``action_mask``, *who takes part* by ``mask``, or by an end of an agent's own (``done`` in its group where the root
    has one as well, or where others go on). *Rewards* are each agent's, or one at the root which every agent earns. *An
    episode* ends where the root says so, or where it says nothing when every agent has ended; ``horizon`` cuts it.

    *Rows.* A factory that takes ``n_envs``, ``num_envs``, ``num_workers`` or ``batch_size`` makes all of them at once,
    and rows are reset by its own ``_reset`` mask. So are those of an environment that is not batch-locked, where it
    resets an empty batch of any size. Otherwise it is called once for each row. ``seed`` and ``device`` are given to a
    factory that takes them.

    Args:
        factory: makes an ``EnvBase``: a class, a function, a ``functools.partial``.
        n_envs: environments in the batch, ``N``.
        horizon: steps after which an episode is cut; by default what a ``StepCounter`` of the environment, or its
            ``max_steps``, says [step].
        reward: see :data:`~hetrl.env.team_env.Reward`.
        seed: of all episodes.
        device: where the tensors live; the environment stays where it is.
        state: ``own`` is the environment's, where it has one; ``observations`` are those of all agents side by side.
        repeats: whether an episode repeats itself from its seed and actions; otherwise who resumes begins afresh.
        workers: processes over which the rows are spread, where each is an environment of its own; None for this one.

    Raises:
        RecipeError: the factory makes no such environment, or its specs cannot be used.
    Source: Bou et al. 2023, TorchRL, arXiv 2306.00577, for the interface.
    Differs: actions beyond the bounds are clamped; where a step is both terminated and truncated it is terminated.
    """

    def __init__(
        self,
        *,
        factory: Callable[..., Any],
        n_envs: Count = 16,
        horizon: Count | None = None,
        reward: Reward = "mean",
        seed: Seed = 0,
        device: str = "cpu",
        state: Literal["own", "observations"] = "own",
        repeats: bool = True,
        workers: Count | None = None,
    ) -> None:
        self._world: Batch | Copies | None = None
        super().__init__(n_envs=n_envs, horizon=horizon or 1, reward=reward, device=device)
        self._factory = factory
