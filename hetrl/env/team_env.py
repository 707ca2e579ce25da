"""What every environment of a team has in common: its TorchRL face, team reward, state, and resets."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Bounded, Categorical, Composite, MultiCategorical, Unbounded
from torchrl.envs import EnvBase

from hetrl.env.transition import Masks, Transition
from hetrl.errors import RecipeError, RunError
from hetrl.team import Box, Grouped, Team

Reward = Literal["mean", "sum", "per_agent", "of_the_living"]
"""How the team's reward is made of the agents': their mean, their sum, not at all, or as the mean of those who took
part. The mean and the sum count whatever the environment pays, also to who is out."""


class TeamEnv(EnvBase):
    """``n_envs`` environments stepped as one batch, by collection as plain tensors and by TorchRL as TensorDicts.

    A subclass sets ``team`` and calls :meth:`_make_specs` when it is built, keeps the latest ``_observation``, and
    defines :meth:`start`, :meth:`_simulate` and :meth:`_reset_where` (or :meth:`_reset_rows`, where a simulator on the
    host resets row by row), :meth:`seed`, and the state's two methods; where actions are masked or agents drop out,
    :attr:`masks` too, and :attr:`agent_terminated` where they end on their own; where there is more to tell of an
    episode, :attr:`infos`; where there is something to see, :meth:`_picture`.

    No step waits for a device. Whether any episode has ended is asked on a CPU alone, where it costs nothing and saves
    most resets (:attr:`asks`); elsewhere every step ends with a reset, of nobody where nothing ended.

    Args:
        n_envs: environments in the batch, ``N``.
        horizon: steps after which an episode is cut.
        reward: see :data:`Reward`.
        device: where the tensors live.

    Raises:
        RecipeError: there is no such device.
    """

    team: Team
    pace: ClassVar[int] = 20
    """Steps that a film shows in a second."""

    def __init__(self, *, n_envs: int, horizon: int, reward: Reward, device: str) -> None:
        try:
            place = torch.device(device)
        except RuntimeError as error:
            raise RecipeError(f"task.device: {device!r} is no torch device; use 'cpu', 'cuda' or 'cuda:0'.") from error
        super().__init__(device=place, batch_size=torch.Size([n_envs]))
        self.n_envs, self.horizon, self.reward_kind = n_envs, horizon, reward
        self._steps = torch.zeros(n_envs, dtype=torch.int64, device=self.device)
        self._observation: Grouped = {}
        self.asks = self.device.type == "cpu"
        """Whether the host asks the device questions in a step."""

    @staticmethod
    def provides(arguments: Mapping[str, Any]) -> list[str]:
        """Return the keys that a step writes, given the task's arguments."""
        team = [] if arguments.get("reward") == "per_agent" else ["reward"]
        return ["agent.observation", "agent.reward", "state", *team]

    @classmethod
    def check_arguments(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments that do not go together, before anything is built; nothing, unless overridden.

        Raises:
            RecipeError: with what to write instead.
        """

    # ----- what a subclass defines

    def start(self) -> Grouped:
        """Reset every environment. Returns the first observations, group -> ``[N, n, F]``."""
        raise NotImplementedError

    def _simulate(self, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor, Tensor]:
        """Step without resets: observations, agents' rewards ``[N, n]``, terminated and truncated ``[N]``."""
        raise NotImplementedError

    def _reset_where(self, done: Tensor) -> Grouped:
        """Reset the environments where ``done`` (``[N]`` bool) is set, and return the latest observations with theirs.

        What every environment has becomes ``torch.where(done, fresh, old)``, and random numbers are drawn for all of
        them: neither then depends on how many there are. Unless overridden, the rows are picked for
        :meth:`_reset_rows`, for which the host waits.
        """
        return self._reset_rows(done.nonzero().squeeze(-1))

    def _reset_rows(self, rows: Tensor) -> Grouped:
        """Reset the rows ``[k]`` and return the latest observations with theirs replaced."""
        raise NotImplementedError

    def _some_ended(self, done: Tensor) -> bool:
        """Whether an episode has ended, where ``done`` (``[N]`` bool) is set; True where the host would have to wait.

        To be overridden where the host knows without asking.
        """
        return not self.asks or bool(done.any())

    def seed(self, seed: int) -> None:
        """Start the random stream afresh; the next :meth:`start` is the first of that seed."""
        raise NotImplementedError

    def _picture(self, row: int) -> np.ndarray:
        """A picture of environment ``row``, for :meth:`frame`."""
        kind = type(self).__module__.rpartition(".")[2]
        raise RunError(f"env/{kind} draws no pictures; evaluate it without --video.")

    def frame(self, row: int = 0) -> np.ndarray:
        """Draw environment ``row`` as it is now, ``[H, W, 3]`` uint8, without a display.

        Raises:
            RunError: there is no such row, or nothing to see in this kind of environment, or nothing to draw it with.
        """
        if not 0 <= row < self.n_envs:
            raise RunError(f"frame: no environment {row}, there are {self.n_envs}; rows count from 0.")
        return self._picture(row)

    # ----- the fast path: plain tensors

    @property
    def masks(self) -> Masks:
        """Which actions each agent may take now and who takes part, see :data:`~hetrl.env.transition.Masks`."""
        return {}

    @property
    def agent_terminated(self) -> Grouped:
        """Whose own story ended with the latest step, see ``Transition.agent_terminated``; asked after each step."""
        return {}

    @property
    def infos(self) -> dict[str, Tensor]:
        """What is told of the episodes that have just ended, see ``Transition.infos``.

        Asked after a step that ended one, before the reset.
        """
        return {}

    def advance(self, actions: Mapping[str, Tensor]) -> Transition:
        """Take one step, then reset what finished.

        Args:
            actions: group -> ``[N, n, A]``; real numbers, clamped to the bounds, or integers for discrete actions.
        """
        following, reward, terminated, truncated = self._simulate(actions)
        done = terminated | truncated
        next_masks, own = self.masks, self.agent_terminated
        if not self._some_ended(done):
            return Transition(following, reward, terminated, truncated, following, next_masks, next_masks, own)
        infos = self.infos
        observation = self._reset_where(done)
        return Transition(following, reward, terminated, truncated, observation, self.masks, next_masks, own, infos)

    def team_reward(self, reward: Mapping[str, Tensor], active: Mapping[str, Tensor] | None = None) -> Tensor | None:
        """The team's reward ``[N]`` from the agents' own (group -> ``[N, n]``); None for ``per_agent``.

        Args:
            reward: what each earned.
            active: who took part, by group; see :meth:`Team.reward`.
        """
        if self.reward_kind == "per_agent":
            return None
        return self.team.reward(reward, self.reward_kind, active)

    def state(self, observation: Mapping[str, Tensor]) -> Tensor:
        """The global state ``[N, S]``: all agents' observations side by side, in team order, or the environment's own,
        which comes with the observations (see :data:`~hetrl.team.Grouped`).
        """
        return self.team.state(observation)

    # ----- TorchRL

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDict:
        mask = None if tensordict is None else tensordict.get("_reset", None)
        if mask is None or mask.all() or not self._observation:
            observation = self.start()
        elif self._some_ended(mask):
            observation = self._reset_where(mask.reshape(self.n_envs))
        else:
            observation = self._observation
        done = torch.zeros(self.n_envs, 1, dtype=torch.bool, device=self.device)
        return self._as_tensordict(observation, done, done.clone(), done.clone())

    def _step(self, tensordict: TensorDictBase) -> TensorDict:
        actions = {group: tensordict.get((group, "action")) for group in self.team.layout}
        active = self.masks.get("active") if self.reward_kind == "of_the_living" else None
        observation, reward, terminated, truncated = self._simulate(actions)
        done = terminated | truncated
        result = self._as_tensordict(observation, *(flag.unsqueeze(-1) for flag in (done, terminated, truncated)))
        for group, value in reward.items():
            result.set((group, "reward"), value.unsqueeze(-1))
        team_reward = self.team_reward(reward, active)
        if team_reward is not None:
            result.set("reward", team_reward.unsqueeze(-1))
        return result

    def _set_seed(self, seed: int | None) -> None:
        self.seed(0 if seed is None else seed)

    def _as_tensordict(self, observation: Grouped, done: Tensor, terminated: Tensor, truncated: Tensor) -> TensorDict:
        words = {"observation": observation, **self.masks}
        groups = {
            group: TensorDict(
                {word: parts[group] for word, parts in words.items() if group in parts},
                batch_size=observation[group].shape[:2], device=self.device,
            )
            for group in self.team.layout
        }  # fmt: skip
        flags = {"done": done, "terminated": terminated, "truncated": truncated}
        return TensorDict(
            {**groups, "state": self.state(observation), **flags}, batch_size=self.batch_size, device=self.device
        )

    def _make_specs(self) -> None:
        n_envs, device = self.n_envs, self.device
        action, observation, reward = {}, {}, {}
        for group, agents in self.team.layout.items():
            shape, space = (n_envs, len(agents)), agents[0].action
            leaf: Any
            if isinstance(space, Box):
                low, high = (torch.tensor(b, device=device).expand(*shape, -1) for b in (space.low, space.high))
                leaf = Bounded(low, high, torch.Size([*shape, space.size]), device=device, dtype=torch.float32)
            elif space.size == 1:
                leaf = Categorical(space.choices[0], torch.Size([*shape, 1]), device=device, dtype=torch.int64)
            else:
                leaf = MultiCategorical(
                    space.choices, torch.Size([*shape, space.size]), device=device, dtype=torch.int64
                )
            size, dtype = agents[0].observation_size, agents[0].observation_dtype
            seen: dict[str, Any] = {"observation": Unbounded((*shape, size), device=device, dtype=dtype)}
            for word, parts in self.masks.items():
                if group in parts:
                    seen[word] = Categorical(2, parts[group].shape, device=device, dtype=torch.bool)
            action[group] = Composite({"action": leaf}, shape=shape, device=device)
            observation[group] = Composite(seen, shape=shape, device=device)
            reward[group] = Composite({"reward": Unbounded((*shape, 1), device=device)}, shape=shape, device=device)
        size, dtype = self.team.state_size, self.team.state_dtype
        state: dict[str, Any] = {"state": Unbounded((n_envs, size), device=device, dtype=dtype)}
        team: dict[str, Any] = (
            {} if self.reward_kind == "per_agent" else {"reward": Unbounded((n_envs, 1), device=device)}
        )
        flags = {
            name: Categorical(2, torch.Size([n_envs, 1]), device=device, dtype=torch.bool)
            for name in ("done", "terminated", "truncated")
        }
        self.action_spec = Composite(action, shape=(n_envs,), device=device)
        self.observation_spec = Composite({**observation, **state}, shape=(n_envs,), device=device)
        self.reward_spec = Composite({**reward, **team}, shape=(n_envs,), device=device)
        self.done_spec = Composite(flags, shape=(n_envs,), device=device)
