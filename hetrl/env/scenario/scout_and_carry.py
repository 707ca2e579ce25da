"""Scout and carry: a drone that sees the goal, and a strong robot that sees the drone."""

import math

import torch
from torch import Tensor
from vmas.simulator.core import Agent, Box, Landmark, Sphere, World
from vmas.simulator.dynamics.holonomic import Holonomic
from vmas.simulator.dynamics.holonomic_with_rot import HolonomicWithRotation
from vmas.simulator.utils import Color

from hetrl.arguments import Fraction, Positive
from hetrl.env.scenario.eye import Eye
from hetrl.env.scenario.journey import Journey, between


class Scenario(Journey):
    """A heavy cage has to reach a goal, and the scout has to hover over it.

    left = distance of the cage from the goal's disc + 0.3 (distance of the scout from it)

    The *carrier* stands inside of the cage and pushes it from there; it is strong and slow, and sees the goal from next
    to it only. The *scout* is a drone: light and fast, it glides, flies over everything, and turns its camera, which
    looks half around and far. Its place is all that the carrier can go by. The scout's action has a turn (3 numbers),
    the carrier's has none (2); they observe 12 and 11 numbers.

    Args:
        difference: how different the bodies are, from none (0: two ground robots with equal eyes) to fully (1).
        cage_mass: of the cage [1]; the carrier's is 2.
    """

    def make_world(
        self,
        batch_dim: int,
        device: torch.device,
        *,
        difference: Fraction = 1.0,
        cage_mass: Positive = 4.0,
    ) -> World:
        """Make the world: the two agents, the cage and the goal."""
        self.viewer_zoom = 1.55
        world = World(batch_dim, device, x_semidim=1.5, y_semidim=1.5)
        flies = difference > 0
        radius = between(0.08, 0.06, difference)
        mass, drag = between(1.4, 1.0, difference), between(0.2, 0.1, difference)
        force = between(1.2, 0.8, difference)
        turn = 1.5 * drag * 0.5 * mass * radius**2 / world.dt  # torque for 1.5 rad / s
        scout = Agent(
            "scout",
            shape=Sphere(radius),
            mass=mass,
            drag=drag,
            collide=not flies,
            rotatable=flies,
            dynamics=HolonomicWithRotation() if flies else Holonomic(),
            u_multiplier=[force, force, turn] if flies else [force, force],
            sensors=[Eye(world, between(0.5, 4.0, difference), between(2 * math.pi, math.pi, difference))],
        )
        force = between(1.2, 3.0, difference)
        carrier = Agent(
            "carrier",
            shape=Sphere(between(0.08, 0.1, difference)),
            mass=between(1.4, 2.0, difference),
            drag=between(0.2, 0.25, difference),
            rotatable=False,
            u_multiplier=[force, force],
            sensors=[Eye(world, between(0.5, 0.1, difference))],
        )
        for agent in (scout, carrier):
            world.add_agent(agent)
        self.cage = Landmark("cage", shape=Box(0.4, 0.4, hollow=True), movable=True, mass=cage_mass)
        self.goal = Landmark("goal", shape=Sphere(0.15), collide=False, color=Color.GREEN)
        for thing in (self.cage, self.goal):
            world.add_landmark(thing)
        return world

    def place(self, env_index: int | None) -> None:
        """The cage near the middle with the carrier in it, the scout next to it, and the goal around it."""
        scout, carrier = self.world.agents
        where = self._scatter(self.cage, (-0.3, -0.3), (0.3, 0.3), env_index)
        carrier.set_pos(where, batch_index=env_index)
        self._scatter_around(where, 0.4, 0.5, scout, env_index)
        self._scatter_around(where, 0.7, 1.0, self.goal, env_index)
        scout.set_rot(2 * math.pi * torch.rand(len(where), 1, device=where.device), batch_index=env_index)

    def left(self) -> Tensor:
        """Return the distances of the cage and, less, of the scout from the goal's disc, ``[N]`` [unit]."""
        goal, (scout, _) = self.goal.state.pos, self.world.agents
        return self._outside(self.cage.state.pos, goal, 0.15) + 0.3 * self._outside(scout.state.pos, goal, 0.15)

    def observation(self, agent: Agent) -> Tensor:
        """Return own position and velocity, what is of use to the role, and the goal as the eye sees it.

        The scout also knows its heading, its turning and the carrier's place (``[N, 12]``), the carrier the
        places of its cage and of the scout (``[N, 11]``).
        """
        (scout, carrier), own = self.world.agents, agent.state
        if agent is scout:
            parts = [own.rot.cos(), own.rot.sin(), own.ang_vel, carrier.state.pos - own.pos]
        else:
            parts = [self.cage.state.pos - own.pos, scout.state.pos - own.pos]
        return torch.cat([own.pos, own.vel, *parts, agent.sensors[0].see(self.goal.state.pos)], -1)
