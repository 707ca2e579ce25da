"""What our scenarios have in common: a way to go together, and one reward for all."""

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from vmas.simulator.core import Agent
from vmas.simulator.scenario import BaseScenario
from vmas.simulator.utils import TorchUtils

from hetrl.env.scenario import Position


def between(common: float, own: float, difference: float) -> float:
    """Return a property of a body that is ``common`` to all at difference 0 and its ``own`` at 1.

    common^(1 - difference) own^difference

    >>> between(1.0, 4.0, 0.5)
    2.0
    """
    return common ** (1 - difference) * own**difference


class Journey(BaseScenario):
    """A team has a way to go together; all earn the share of it that a step has covered, and 1 for arriving.

    reward_t = (left_{t-1} - left_t) / left_0 + [left_t = 0]

    ``left`` is how far the team is from its end [unit], 0 only at the end. Arriving *terminates* the episode, whose
    return is then exactly 2; before, it is 1 - left / left_0.
    """

    @abstractmethod
    def place(self, env_index: int | None) -> None:
        """Put everything where an episode begins, in one environment or in all of them."""

    @abstractmethod
    def left(self) -> Tensor:
        """Return how far the team is from its end, ``[N]`` [unit]."""

    def reset_world_at(self, env_index: int | None = None) -> None:
        """Begin an episode in one environment or in all of them."""
        self.place(env_index)
        left = self.left()
        if env_index is None:
            self._left, self._whole, self._arrived = left, left.clone(), torch.zeros_like(left, dtype=torch.bool)
        else:
            self._left = TorchUtils.where_from_index(env_index, left, self._left)
            self._whole = TorchUtils.where_from_index(env_index, left, self._whole)
            self._arrived = TorchUtils.where_from_index(env_index, False, self._arrived)

    def reward(self, agent: Agent) -> Tensor:
        """Return what everyone earns, ``[N]``; worked out once a step, when the first agent asks."""
        if agent is self.world.agents[0]:
            left = self.left()
            self._arrived = left <= 0
            self._earned = (self._left - left) / self._whole + self._arrived
            self._left = left
        return self._earned

    def done(self) -> Tensor:
        """Return where the team has arrived, ``[N]`` bool."""
        return self._arrived

    # ----- for those who place things and measure ways

    def _scatter(self, thing: Any, low: Position, high: Position, env_index: int | None) -> Tensor:
        """Put a thing anywhere in a rectangle, and return where: ``[N or 1, 2]``."""
        rows, device = (self.world.batch_dim if env_index is None else 1), self.world.device
        corner, side = torch.tensor(low, device=device), torch.tensor(high, device=device)
        where = corner + (side - corner) * torch.rand(rows, 2, device=device)
        thing.set_pos(where, batch_index=env_index)
        return where

    def _scatter_around(self, middle: Tensor, near: float, far: float, thing: Any, env_index: int | None) -> Tensor:
        """Put a thing in any direction of ``middle`` ``[N or 1, 2]``, from ``near`` to ``far`` away."""
        draw = torch.rand(2, len(middle), device=middle.device)
        angle, distance = 2 * math.pi * draw[0], near + (far - near) * draw[1]
        where = middle + distance.unsqueeze(-1) * torch.stack([angle.cos(), angle.sin()], -1)
        thing.set_pos(where, batch_index=env_index)
        return where

    @staticmethod
    def _outside(place: Tensor, goal: Tensor, radius: float) -> Tensor:
        """How far places ``[N, 2]`` are from a disc around the goals ``[N, 2]``, ``[N]``."""
        return (torch.linalg.vector_norm(place - goal, dim=-1) - radius).clamp(min=0)

    @classmethod
    def _through_gap(cls, place: Tensor, goal: Tensor, radius: float) -> Tensor:
        """The way from places ``[N, 2]`` to a disc around goals on the right, through a gap at the origin, ``[N]``."""
        origin = torch.zeros_like(place)
        ahead = cls._outside(place, origin, 0.0) + cls._outside(goal, origin, radius)
        return torch.where(place[:, 0] < 0, ahead, cls._outside(place, goal, radius))
