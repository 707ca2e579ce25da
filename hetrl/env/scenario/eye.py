"""An eye: sees a place within its range and view unless a wall stands before it."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from vmas.simulator.core import Entity, World
from vmas.simulator.sensors import Sensor


class Eye(Sensor):
    """Sees where a place is, relative to the agent, within a range, a field of view, and past walls.

    seen = [|p| <= max_range] [angle between p and the heading <= view / 2] [no wall between]

    Args:
        world: where the agent lives.
        max_range: how far it sees [unit].
        view: field of view around the agent's heading [rad]; 2 pi sees all around.
        walls: boxes along the axes that hide what is behind them; they may move.
    """

    def __init__(self, world: World, max_range: float, view: float = 2 * math.pi, walls: Sequence[Entity] = ()) -> None:
        super().__init__(world)
        self.max_range, self.view, self._walls = max_range, view, list(walls)
        sides = [(wall.shape.length / 2, wall.shape.width / 2) for wall in walls]
        self._sides = torch.tensor(sides, device=world.device).reshape(-1, 2)

    def see(self, place: Tensor) -> Tensor:
        """Return where a place ``[N, 2]`` is as seen from the agent, zeros where it is not seen, and whether it is.

        Returns:
            ``[N, 3]``.
        """
        away = place - self.agent.state.pos
        distance = torch.linalg.vector_norm(away, dim=-1, keepdim=True)
        seen = distance <= self.max_range
        if self.view < 2 * math.pi:
            angle = self.agent.state.rot
            ahead = away[:, :1] * angle.cos() + away[:, 1:] * angle.sin()
            seen = seen & (ahead >= distance * math.cos(self.view / 2))
        if self._walls:
            seen = seen & ~self._hidden(away)
        return torch.cat([torch.where(seen, away, 0.0), seen.to(away.dtype)], -1)

    def _hidden(self, away: Tensor) -> Tensor:
        """Whether the line of sight ``[N, 2]`` crosses a wall, ``[N, 1]``: it does where it is within both of a wall's
        sides at once, on its way from 0 to 1.
        """
        to_wall = torch.stack([wall.state.pos for wall in self._walls], 1) - self.agent.state.pos.unsqueeze(1)
        sight = torch.where(away.abs() < 1e-6, 1e-6, away).unsqueeze(1)
        one, other = (to_wall - self._sides) / sight, (to_wall + self._sides) / sight
        enter = torch.minimum(one, other).amax(-1).clamp(min=0)
        leave = torch.maximum(one, other).amin(-1).clamp(max=1)
        return (enter < leave).any(-1, keepdim=True)

    def measure(self) -> Tensor:
        """Refuse: an eye is asked about a place, with :meth:`see`."""
        raise NotImplementedError("an eye is asked about a place; use see(place).")

    def render(self, env_index: int = 0) -> list[Any]:
        """Return nothing to draw."""
        return []

    def to(self, device: torch.device) -> None:
        """Move to a device."""
        self._sides = self._sides.to(device)
