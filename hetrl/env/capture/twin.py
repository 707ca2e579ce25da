"""States to trace and prove from: ordinary ones, and such with contacts, ends and resets."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hetrl.team import Box


class Twin:
    """An environment beside the one that is captured.

    Args:
        env: a ``Vmas`` that is not captured.
        generator: of its own.
    """

    def __init__(self, env: Any, generator: torch.Generator) -> None:
        self._env, self._generator = env, generator

    @property
    def simulator(self) -> Any:
        """The simulator."""
        return self._env._simulator

    def actions(self) -> Mapping[str, Tensor]:
        """Draw actions, now and then beyond their bounds."""
        drawn = {}
        for group, agents in self._env.team.layout.items():
            space, shape = agents[0].action, (self._env.n_envs, len(agents))
            if isinstance(space, Box):
                low, high = torch.tensor(space.low), torch.tensor(space.high)
                value = low + (high - low) * (1.2 * self._random(*shape, space.size) - 0.1)
            else:
                value = torch.stack([(self._random(*shape) * n).long() for n in space.choices], -1)
            drawn[group] = value.to(self._env.device)
        return drawn

    def _random(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._generator)

    def disturb(self, number: int) -> None:
        """Every third time put bodies onto others; every seventh, reset a third of the rows."""
        if number % 7 == 6 and self._env.n_envs > 1:
            done = self._random(self._env.n_envs) < 1 / 3
            if done.any() and not done.all():
                self._env._reset_where(done.to(self._env.device))
        elif number % 3 == 2:
            self._huddle(rows=self._random(self._env.n_envs) < 0.5)

    def _huddle(self, rows: Tensor) -> None:
        """Move what can move, in some rows, to about a body's size from some other body."""
        world = self.simulator.world
        entities = world.entities
        for entity in entities:
            if not entity.movable or len(entities) < 2:
                continue
            other = entities[int(self._random(1) * len(entities))]
            if other is entity:
                continue
            reach = entity.shape.circumscribed_radius() + other.shape.circumscribed_radius()
            angle = 2 * torch.pi * self._random(len(rows))
            way = torch.stack([angle.cos(), angle.sin()], -1) * reach * (0.2 + 1.2 * self._random(len(rows), 1))
            near = other.state.pos + way.to(other.state.pos)
            moved = torch.where(rows.to(near.device).unsqueeze(-1), near, entity.state.pos)
            if world.x_semidim is not None:
                moved[:, 0] = moved[:, 0].clamp(-world.x_semidim, world.x_semidim)
            if world.y_semidim is not None:
                moved[:, 1] = moved[:, 1].clamp(-world.y_semidim, world.y_semidim)
            # A new tensor, as the physics makes: the old one may be held elsewhere.
            entity.state._pos = moved
