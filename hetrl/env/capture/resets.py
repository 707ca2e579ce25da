"""Resets of a simulator in full, as steps in which nobody acts: so they are captured as steps are."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from hetrl.rng import Stream
from hetrl.team import Grouped


class Resets:
    """What :class:`~hetrl.env.capture.capture.Capture` captures in the place of an environment: its spare's resets.

    Args:
        env: a ``Vmas``.
        simulator: what is reset, in which a first step was taken.
        stream: from which it draws.
    """

    def __init__(self, env: Any, simulator: Any, stream: Stream) -> None:
        self.scenario, self.n_envs, self.device = env.scenario, env.n_envs, env.device
        self.team = SimpleNamespace(layout={})  # nobody acts
        self._env, self._simulator, self._stream = env, simulator, stream

    def twin(self) -> "Resets":
        """The same of another environment."""
        other = self._env.twin()
        return Resets(other, other._simulator, other._stream)

    def start(self) -> Grouped:
        """Reset every row, once all has been made that a first step makes."""
        observation: Grouped = self._env.start()
        self._env._first_step(self._simulator)
        return observation

    def step_simulator(self, simulator: Any, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor]:
        """Reset every row. Returns observations, no rewards, and that nothing terminated."""
        simulator._reset(return_observations=False)
        nowhere = torch.zeros(self.n_envs, dtype=torch.bool, device=self.device)
        return self._env._observe(simulator), {}, nowhere

    def _reset_where(self, done: Tensor) -> None:
        """Step in the place of what a proof of steps does now and then: the next reset is of another state."""
        self._env._first_step(self._simulator)
