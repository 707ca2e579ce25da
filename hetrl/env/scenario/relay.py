"""Relay: one sees where to go and only talks, one hears it and passes it on, one is last to know and slow."""

import torch
from torch import Tensor
from vmas.simulator.core import Agent, Landmark, Sphere, World
from vmas.simulator.dynamics.holonomic import Holonomic
from vmas.simulator.dynamics.static import Static
from vmas.simulator.utils import Color, TorchUtils

from hetrl.arguments import Fraction
from hetrl.env.scenario.eye import Eye
from hetrl.env.scenario.journey import Journey, between

_WORDS = 2
"""Numbers that are said at a time."""
_LOUDEST = 2.0
"""Wide enough for a policy's noise around a mean of up to 1: a clipped word would mean less than was meant."""
_FRESH = 0.2
"""The share of the latest words in what is heard."""


class Scenario(Journey):
    """Runner and hauler have to meet at a target that only the lookout sees from afar.

    left = runner's distance from the target's disc + hauler's
    heard_{t+1} = 0.8 heard_t + 0.2 said_t

    The *lookout* stands still, sees the target wherever it is, and says two numbers (within 2). The *runner* is fast,
    hears the lookout, and says two numbers of its own. The *hauler* is slow and heavy, and hears the runner alone.
    Runner and hauler see the target from next to it only. Words sink in over about five steps, and mean what the team
    makes of them. The three do 2, 4 and 2 numbers and observe 3, 9 and 9.

    Args:
        difference: how different the bodies are, from none (0: all move, talk, and see equally far) to fully (1).
    """

    _heard: Tensor

    def make_world(self, batch_dim: int, device: torch.device, *, difference: Fraction = 1.0) -> World:
        """Make the world: the three agents and the target."""
        self.viewer_zoom = 1.05
        world = World(batch_dim, device, x_semidim=1.0, y_semidim=1.0)
        alike = difference == 0
        for name, mass, force, radius, sight in (
            ("lookout", 2.0, 1.4, 0.08, 4.0),
            ("runner", 1.0, 1.0, 0.06, 0.15),
            ("hauler", 4.0, 2.4, 0.12, 0.15),
        ):
            moves, talks = alike or name != "lookout", alike or name != "hauler"
            strength = between(1.4, force, difference)
            agent = Agent(
                name,
                shape=Sphere(between(0.08, radius, difference)),
                mass=between(2.0, mass, difference),
                movable=moves,
                rotatable=False,
                collide=False,
                dynamics=Holonomic() if moves else Static(),
                action_size=2 * moves + _WORDS * talks,
                u_range=[1.0] * 2 * moves + [_LOUDEST] * _WORDS * talks,
                u_multiplier=[strength] * 2 * moves + [1.0] * _WORDS * talks,
                sensors=[Eye(world, between(0.4, sight, difference))],
            )
            world.add_agent(agent)
        self.target = Landmark("target", shape=Sphere(0.1), collide=False, color=Color.GREEN)
        world.add_landmark(self.target)
        return world

    def place(self, env_index: int | None) -> None:
        """The lookout in the middle, the movers near it, the target around them; nothing has been said."""
        lookout, *movers = self.world.agents
        self._scatter(lookout, (0.0, 0.0), (0.0, 0.0), env_index)
        for mover in movers:
            where = self._scatter(mover, (-0.25, -0.25), (0.25, 0.25), env_index)
        self._scatter_around(torch.zeros_like(where), 0.5, 0.9, self.target, env_index)
        silence = torch.zeros(self.world.batch_dim, 2, _WORDS, device=self.world.device)
        self._heard = silence if env_index is None else TorchUtils.where_from_index(env_index, silence, self._heard)

    def pre_step(self) -> None:
        """Let what the lookout and the runner say in this step sink in, ``[N, 2, words]``."""
        said = torch.stack([agent.action.u[:, -_WORDS:] for agent in self.world.agents[:2]], 1)
        self._heard = (1 - _FRESH) * self._heard + _FRESH * said

    def left(self) -> Tensor:
        """Return the movers' distances from the target's disc, ``[N]`` [unit]."""
        _, runner, hauler = self.world.agents
        target = self.target.state.pos
        return self._outside(runner.state.pos, target, 0.1) + self._outside(hauler.state.pos, target, 0.1)

    def observation(self, agent: Agent) -> Tensor:
        """Return the target as the eye sees it, and of those who move also place, velocity and what they have heard."""
        seen = agent.sensors[0].see(self.target.state.pos)
        if not agent.movable:
            return seen
        speaker = self.world.agents.index(agent) - 1
        heard = self._heard[:, speaker] if speaker >= 0 else torch.zeros_like(agent.state.pos)
        return torch.cat([agent.state.pos, agent.state.vel, heard, seen], -1)
