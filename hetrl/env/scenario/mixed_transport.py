"""Mixed transport: a strong pusher that knows only ahead, and light steerers who keep the package on course."""

import torch
from torch import Tensor
from vmas.simulator.core import Agent, Box, Landmark, Sphere, World
from vmas.simulator.utils import Color

from hetrl.arguments import Fraction, Positive
from hetrl.env.scenario.journey import Journey, between


class Scenario(Journey):
    """A heavy package has to reach a goal on the other side, and the steerers have to stay with it.

    left = (|dx| - 0.1)+ + 2 (|dy| - 0.1)+ + 0.3 sum over steerers of (distance from the package - 0.3)+

    (dx, dy) leads from the package to the goal.

    The *pusher* is a bulldozer: strong, slow, with a wide blade, and all its force goes ahead. The two *steerers* are
    light and fast, too weak to move the package across in time; they slide it along the blade. All observe and do
    equally much (10 and 2 numbers), so that one network could serve everybody. Agents pass through each other.

    Args:
        difference: how different the bodies are, from none (0) to fully (1).
        package_mass: of the package [1]; an agent's is 1 to 2.
    """

    def make_world(
        self,
        batch_dim: int,
        device: torch.device,
        *,
        difference: Fraction = 1.0,
        package_mass: Positive = 6.0,
    ) -> World:
        """Make the world: three agents, the package and the goal."""
        self.viewer_size, self.viewer_zoom = (900, 600), 0.85
        world = World(batch_dim, device, x_semidim=1.2, y_semidim=0.8)
        for name in ("pusher", "steerer_0", "steerer_1"):
            pusher = name == "pusher"
            force = between(1.2, 4.0 if pusher else 0.8, difference)
            across = (1 - difference) if pusher else 1.0
            agent = Agent(
                name,
                shape=Box(
                    between(0.15, 0.1 if pusher else 0.2, difference), between(0.2, 1.2 if pusher else 0.1, difference)
                ),
                mass=between(1.25, 2.0 if pusher else 1.0, difference),
                drag=between(0.15, 0.25 if pusher else 0.1, difference),
                max_speed=between(0.4, 0.25 if pusher else 0.7, difference),
                u_multiplier=[force, force * across],
                rotatable=False,
                collision_filter=lambda other: not isinstance(other, Agent),
            )
            world.add_agent(agent)
        self.package = Landmark("package", shape=Sphere(0.15), movable=True, mass=package_mass)
        self.goal = Landmark("goal", shape=Box(0.2, 0.2), collide=False, color=Color.GREEN)
        for thing in (self.package, self.goal):
            world.add_landmark(thing)
        return world

    def place(self, env_index: int | None) -> None:
        """Blade, package and goal from left to right, a steerer on either side of the package."""
        pusher, *steerers = self.world.agents
        self._scatter(pusher, (-1.0, 0.0), (-1.0, 0.0), env_index)
        self._scatter(self.package, (-0.75, -0.15), (-0.65, 0.15), env_index)
        self._scatter(self.goal, (0.7, -0.35), (0.9, 0.35), env_index)
        for steerer, side in zip(steerers, (0.4, -0.4), strict=True):
            self._scatter(steerer, (-0.8, side - 0.05), (-0.6, side + 0.05), env_index)

    def left(self) -> Tensor:
        """Return how far the package is from the goal, and, less, the steerers from the package, ``[N]`` [unit]."""
        package, (_, *steerers) = self.package.state.pos, self.world.agents
        ahead, aside = ((self.goal.state.pos - package).abs() - 0.1).clamp(min=0).unbind(-1)
        behind = [self._outside(steerer.state.pos, package, 0.3) for steerer in steerers]
        return ahead + 2 * aside + 0.3 * torch.stack(behind).sum(0)

    def observation(self, agent: Agent) -> Tensor:
        """Return own position and velocity, the package and its velocity, and where it has to go, ``[N, 10]``."""
        package = self.package.state
        parts = [agent.state.pos, agent.state.vel, package.pos - agent.state.pos, package.vel]
        return torch.cat([*parts, self.goal.state.pos - package.pos], -1)
