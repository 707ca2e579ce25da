"""Fork: an island parts a river into two equally good arms, and each of two boats chooses its own once."""

from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor
from vmas.simulator.core import Agent, Box, Landmark, Sphere, World
from vmas.simulator.dynamics.common import Dynamics
from vmas.simulator.scenario import BaseScenario
from vmas.simulator.utils import Color, TorchUtils

_STEPS = 10
"""How many steps the river takes a boat from its start, x = -1, to x = 1."""
_LENGTH = 2.0
_FASTEST = 1.0
"""The most that a course leads aside [unit/s]; a step is 0.1 s."""
_BANK = 0.9
"""Where the banks begin, above and below the middle [unit]."""
_BOW, _STERN, _BEAM = -0.05, 0.75, 0.25
"""Where the island begins and ends, and how wide it is [unit]."""
_RADIUS = 0.05
_WATER = (214, 230, 242)


class Rudder(Dynamics):
    """A force to the side, and no other: the river does the rest."""

    @property
    def needed_action_size(self) -> int:
        """One number."""
        return 1

    def process_action(self) -> None:
        """Put the force into the agent's state."""
        aside = self.agent.action.u
        self.agent.state.force = torch.cat([torch.zeros_like(aside), aside], -1)


class Scenario(BaseScenario):
    """A river carries two boats past an island; the team is paid if they have come through different arms.

    course_t = clamp(course_{t-1} + rudder_t) for t <= choices, then it stands;   y_t = y_{t-1} + 0.1 course_t

    The boats are alike, begin at the same place, pass through each other, and drift from x = -1 to x = 1 in 10 steps,
    at whose end the episode *terminates* and pays 1 or 0. A boat that touches the island or a bank stays there and has
    come through no arm, and nobody is paid. With one choice, a rudder of 0.35 to 0.85 leads through the upper arm and
    one of -0.85 to -0.35 through the lower: less ends at the island's bow, more at a bank. The arms are a quarter of
    the rudders each, so that two drawn from all of them are paid once in eight. A policy that both boats share, and
    that has nothing but the start to tell them apart, earns at most a half: both arms equally often.

    A boat observes its place and velocity (4 numbers) and does one. The horizon has to be 10 or more.

    Args:
        choices: steps in which the rudder answers, from the first one on; the island begins where the fifth ends.
        together: pay for the same arm in place of different ones.
    """

    _late: Tensor

    def make_world(
        self,
        batch_dim: int,
        device: torch.device,
        *,
        choices: Annotated[int, Interval(ge=1, le=5)] = 1,
        together: bool = False,
    ) -> World:
        """Make the world: two boats, the island and the banks."""
        self.choices, self.together = choices, together
        self.viewer_size, self.viewer_zoom = (900, 900), 1.1
        self.decor = [([(-1.1, _BANK), (1.1, _BANK), (1.1, -_BANK), (-1.1, -_BANK)], _WATER)]
        world = World(batch_dim, device, x_semidim=1.1, y_semidim=1.0 + _RADIUS, drag=0.0)
        for name in ("boat_0", "boat_1"):
            shape, moves = Sphere(_RADIUS), Rudder()
            world.add_agent(Agent(name, shape=shape, rotatable=False, collide=False, dynamics=moves, action_size=1))
        self._half = torch.tensor([_STERN - _BOW, _BEAM], device=device) / 2  # here, so that a step copies nothing
        self.island = Landmark("island", shape=Box(_STERN - _BOW, _BEAM), color=Color.GRAY)
        self.banks = [
            Landmark(name, shape=Box(2.2, 1.0 + _RADIUS - _BANK), color=Color.GRAY)
            for name in ("upper_bank", "lower_bank")
        ]
        for thing in (self.island, *self.banks):
            world.add_landmark(thing)
        return world

    def reset_world_at(self, env_index: int | None = None) -> None:
        """Both boats in the middle of the river, on a straight course; in one environment or in all of them."""
        middle = (1.0 + _RADIUS + _BANK) / 2
        for thing, place in (
            (self.island, ((_BOW + _STERN) / 2, 0.0)),
            *zip(self.banks, ((0.0, middle), (0.0, -middle)), strict=True),
            *((boat, (-_LENGTH / 2, 0.0)) for boat in self.world.agents),
        ):
            thing.set_pos(torch.tensor(place, device=self.world.device), batch_index=env_index)
        pace = _LENGTH / (_STEPS * self.world.dt)
        for boat in self.world.agents:
            boat.set_vel(torch.tensor([pace, 0.0], device=self.world.device), batch_index=env_index)
        begun = torch.zeros(self.world.batch_dim, dtype=torch.long, device=self.world.device)
        self._late = begun if env_index is None else TorchUtils.where_from_index(env_index, begun, self._late)

    def process_action(self, agent: Agent) -> None:
        """Make a rudder the force that turns the course by it within a step; none where it answers no more."""
        course = agent.state.vel[:, 1:]
        turned = (course + _FASTEST * agent.action.u).clamp(-_FASTEST, _FASTEST)
        answers = (self._late < self.choices).unsqueeze(-1) & self._afloat(agent).unsqueeze(-1)
        agent.action.u = torch.where(answers, (turned - course) * agent.mass / self.world.dt, 0.0)

    def post_step(self) -> None:
        """Stop the boats that have touched something, and count the step."""
        for boat in self.world.agents:
            place = boat.state.pos
            to_island = (place - self.island.state.pos).abs() - self._half
            near_island = torch.linalg.vector_norm(to_island.clamp(min=0), dim=-1) < _RADIUS
            stopped = near_island | (place[:, 1].abs() > _BANK - _RADIUS)
            boat.state.vel = torch.where(stopped.unsqueeze(-1), 0.0, boat.state.vel)
        self._late = self._late + 1

    def observation(self, agent: Agent) -> Tensor:
        """Return own place and velocity, ``[N, 4]``; the place along the river says how late it is."""
        return torch.cat([agent.state.pos, agent.state.vel], -1)

    def reward(self, agent: Agent) -> Tensor:
        """Return what everyone earns, ``[N]``: 1 at the end if both are through and their arms are as asked."""
        one, other = self.world.agents
        through = self.done() & self._afloat(one) & self._afloat(other)
        same_arm = (one.state.pos[:, 1] > 0) == (other.state.pos[:, 1] > 0)
        return (through & (same_arm == self.together)).float()

    def done(self) -> Tensor:
        """Return where the river has been gone down, ``[N]`` bool."""
        return self._late >= _STEPS

    @staticmethod
    def _afloat(boat: Agent) -> Tensor:
        """Where the river still carries a boat, ``[N]`` bool."""
        return boat.state.vel[:, 0] > 0
