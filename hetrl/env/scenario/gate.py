"""Gate: a heavy guard stands on the plate that opens a gate, and a small runner goes through it."""

from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor
from vmas.simulator.core import Agent, Box, Landmark, Sphere, World
from vmas.simulator.utils import Color

from hetrl.arguments import Fraction
from hetrl.env.scenario.eye import Eye
from hetrl.env.scenario.journey import Journey, between

_GAP = 0.3


class Scenario(Journey):
    """The runner has to reach a goal behind a wall while the guard stands on the plate that holds the gate open.

    left = runner's way to the goal's disc, through the gap + guard's distance from the plate's disc

    The plate opens the gate under a mass of ``threshold`` or more: the *guard* has 4, the *runner* 1, and two alike
    have 2 each. The guard is strong, slow, and too wide for the gap. The runner is fast, and its eye looks neither
    through the wall nor through the closed gate. They observe 7 and 8 numbers and do 2 each.

    Args:
        difference: how different the bodies are, from none (0) to fully (1).
        threshold: mass that opens the gate [1], at most 4: the two together open it at every difference. With the
            default one agent alone can do it from a difference of 0.59.
    """

    def make_world(
        self,
        batch_dim: int,
        device: torch.device,
        *,
        difference: Fraction = 1.0,
        threshold: Annotated[float, Interval(gt=0, le=4)] = 3.0,
    ) -> World:
        """Make the world: the two agents, a wall with a gate, the plate and the goal."""
        self.threshold, self.viewer_zoom = threshold, 1.05
        world = World(batch_dim, device, x_semidim=1.0, y_semidim=1.0)
        side = 1.0 - _GAP / 2
        self.walls = [Landmark(name, shape=Box(0.1, side)) for name in ("wall_above", "wall_below")]
        self.gate = Landmark("gate", shape=Box(0.06, _GAP), color=Color.RED)
        self.plate = Landmark("plate", shape=Sphere(0.2), collide=False, color=Color.YELLOW)
        self.goal = Landmark("goal", shape=Sphere(0.1), collide=False, color=Color.GREEN)
        barriers = [*self.walls, self.gate]
        for name in ("guard", "runner"):
            guard = name == "guard"
            force = between(1.4, 2.0 if guard else 1.0, difference)
            agent = Agent(
                name,
                shape=Sphere(between(0.1, 0.22 if guard else 0.06, difference)),
                mass=between(2.0, 4.0 if guard else 1.0, difference),
                rotatable=False,
                u_multiplier=[force, force],
                sensors=[Eye(world, max_range=4.0, walls=barriers)],
                collision_filter=lambda other: not isinstance(other, Agent),
            )
            world.add_agent(agent)
        for thing in (*barriers, self.plate, self.goal):
            world.add_landmark(thing)
        return world

    def place(self, env_index: int | None) -> None:
        """Agents below left, the plate above left, the goal on the right, the gate shut."""
        guard, runner = self.world.agents
        for wall, sign in zip(self.walls, (1, -1), strict=True):
            y = sign * (0.5 + _GAP / 4)
            self._scatter(wall, (0.0, y), (0.0, y), env_index)
        self._scatter(self.gate, (0.0, 0.0), (0.0, 0.0), env_index)
        self._scatter(self.plate, (-0.7, 0.2), (-0.4, 0.7), env_index)
        self._scatter(self.goal, (0.4, -0.7), (0.8, 0.7), env_index)
        for agent in (guard, runner):
            self._scatter(agent, (-0.8, -0.8), (-0.3, -0.2), env_index)

    def pre_step(self) -> None:
        """Slide the gate by a tenth of the gap, open or shut."""
        pressed = self._load() >= self.threshold
        y = self.gate.state.pos[:, 1] + torch.where(pressed, 0.1 * _GAP, -0.1 * _GAP)
        self.gate.state.pos = torch.stack([torch.zeros_like(y), y.clamp(0, _GAP)], -1)

    def left(self) -> Tensor:
        """Return the runner's way to the goal and the guard's to the plate, ``[N]`` [unit]."""
        guard, runner = self.world.agents
        way = self._through_gap(runner.state.pos, self.goal.state.pos, 0.1)
        return way + self._outside(guard.state.pos, self.plate.state.pos, 0.2)

    def observation(self, agent: Agent) -> Tensor:
        """Return own position and velocity and what is of use to the role.

        The guard knows the plate's place and how far the gate is open (``[N, 7]``), the runner the latter and the goal
        as its eye sees it (``[N, 8]``).
        """
        own, opening = agent.state, self.gate.state.pos[:, 1:] / _GAP
        if agent is self.world.agents[0]:
            return torch.cat([own.pos, own.vel, self.plate.state.pos - own.pos, opening], -1)
        return torch.cat([own.pos, own.vel, opening, agent.sensors[0].see(self.goal.state.pos)], -1)

    def _load(self) -> Tensor:
        """The mass on the plate, ``[N]`` [1]."""
        plate = self.plate.state.pos
        on = [(self._outside(agent.state.pos, plate, 0.2) <= 0) * agent.mass for agent in self.world.agents]
        return torch.stack(on).sum(0)
