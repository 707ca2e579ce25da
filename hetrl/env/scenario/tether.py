"""Tether: a tractor that steers like a car's axle, and a trailer that steps aside, tied together."""

from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor
from vmas.simulator.core import Agent, Box, Landmark, Sphere, World
from vmas.simulator.dynamics.diff_drive import DiffDrive
from vmas.simulator.dynamics.holonomic import Holonomic
from vmas.simulator.joints import Joint
from vmas.simulator.utils import Color

from hetrl.arguments import Fraction
from hetrl.env.scenario.journey import Journey, between

_GAP = 0.5


class Scenario(Journey):
    """Tractor and trailer have to go through a gap together and each to its own dock, one beside the other.

    left = tractor's way to its dock's disc + trailer's, both through the gap

    The *tractor* has a differential drive: it goes where it is heading and turns, is strong, and cannot step aside. The
    *trailer* is holonomic: it moves in all directions, and is heavy and weak. A stiff bar ties their middles together.
    The docks stand side by side across the way, the trailer's above or below the tractor's: the tractor has to pull,
    and the trailer to swing around it. They observe 11 and 8 numbers and do 2 each.

    Args:
        difference: how different the bodies are, from none (0: both holonomic) to fully (1).
        length: of the bar [unit], 0.2 to 0.6: the bodies do not overlap, and the docks are within reach.
    """

    def make_world(
        self,
        batch_dim: int,
        device: torch.device,
        *,
        difference: Fraction = 1.0,
        length: Annotated[float, Interval(ge=0.2, le=0.6)] = 0.35,
    ) -> World:
        """Make the world: the two agents and the bar, a wall with a gap, and the docks."""
        self.length = length
        self.viewer_size, self.viewer_zoom = (800, 600), 0.95
        world = World(batch_dim, device, substeps=4, x_semidim=1.2, y_semidim=0.9)
        for name in ("tractor", "trailer"):
            drives = name == "tractor" and difference > 0
            force = between(1.5, 6.0 if name == "tractor" else 1.0, difference)
            agent = Agent(
                name,
                shape=Sphere(0.08),
                mass=between(2.4, 2.0 if name == "tractor" else 3.0, difference),
                drag=0.0 if drives else 0.25,
                max_f=force,
                rotatable=drives,
                dynamics=DiffDrive(world) if drives else Holonomic(),
                u_multiplier=[0.4, 1.5] if drives else [force, force],
            )
            world.add_agent(agent)
        tractor, trailer = world.agents
        world.add_joint(Joint(tractor, trailer, dist=length, mass=1.0))
        self.walls = [Landmark(name, shape=Box(0.1, 0.9 - _GAP / 2)) for name in ("wall_above", "wall_below")]
        self.docks = [
            Landmark(f"{agent.name}_dock", shape=Sphere(0.12), collide=False, color=color)
            for agent, color in zip(world.agents, (Color.BLUE, Color.ORANGE), strict=True)
        ]
        for thing in (*self.walls, *self.docks):
            world.add_landmark(thing)
        return world

    def place(self, env_index: int | None) -> None:
        """Tractor before trailer on the left, docks on the right."""
        tractor, trailer = self.world.agents
        for wall, sign in zip(self.walls, (1, -1), strict=True):
            y = sign * (0.45 + _GAP / 4)
            self._scatter(wall, (0.0, y), (0.0, y), env_index)
        where = self._scatter(tractor, (-0.6, -0.4), (-0.5, 0.4), env_index)
        trailer.set_pos(where - where.new_tensor([self.length, 0.0]), batch_index=env_index)
        where = self._scatter(self.docks[0], (0.7, -0.2), (0.9, 0.2), env_index)
        side = torch.where(torch.rand(len(where), 1, device=where.device) < 0.5, -self.length, self.length)
        self.docks[1].set_pos(torch.cat([where[:, :1], where[:, 1:] + side], -1), batch_index=env_index)

    def left(self) -> Tensor:
        """Return both ways to the docks, ``[N]`` [unit]."""
        tractor, trailer = self.world.agents
        first, second = self.docks
        to_first = self._through_gap(tractor.state.pos, first.state.pos, 0.12)
        return to_first + self._through_gap(trailer.state.pos, second.state.pos, 0.12)

    def observation(self, agent: Agent) -> Tensor:
        """Return own position and velocity, the other one's place and the own dock's, and the tractor's heading.

        The tractor also knows how fast it turns: ``[N, 11]`` and ``[N, 8]``.
        """
        (tractor, trailer), own = self.world.agents, agent.state
        if agent is tractor:
            parts, other, dock = [own.rot.cos(), own.rot.sin(), own.ang_vel], trailer, self.docks[0]
        else:
            parts, other, dock = [], tractor, self.docks[1]
        return torch.cat([own.pos, own.vel, *parts, other.state.pos - own.pos, dock.state.pos - own.pos], -1)
