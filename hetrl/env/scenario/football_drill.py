"""What the football drills have in common: half a pitch, a scripted keeper and defender, the end, and the reward."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from vmas.scenarios.football import Scenario as Football
from vmas.simulator.core import Agent, Sphere, World
from vmas.simulator.utils import TorchUtils

from hetrl.arguments import NonNegative, Positive
from hetrl.env.scenario import Position

_GRASS, _STRIPE, _CHALK = (226, 240, 224), (219, 235, 216), (250, 252, 250)
_TOUCH = 0.005
"""Gap between two bodies at which they touch [unit]."""


class FootballDrill(Football):
    """A few attackers with the ball, close to the goal, against a keeper and one defender: a goal or nothing.

    reward_t = [goal] + phi_{t+1} - phi_t,   phi = shaping max(0, 1 - d / d_0) in play and 0 once the episode is over

    d is the ball's distance from the middle of the goal, d_0 what it was at the start. All attackers earn the same. The
    shaping of an episode that terminates adds up to 0, so its return is 1 with a goal and 0 without one: the mean
    return is the rate of goals, but for episodes that the horizon cuts (at most ``shaping`` each).

    An episode *terminates* with a goal, when the ball passes a side line or the goal line beside the goal, and when the
    keeper or the defender touches it. An attacker's action is its force in both directions, its turn, and its kick.
    That moves the ball to where the attacker faces, if the ball is within 0.08 unit and 45 degrees of it and nobody is
    closer. It sees everybody's place, velocity and force, the ball's, and where it faces itself.

    The keeper moves along its line, to where it shadows the goal from the ball or where a shot is going to cross the
    line; the defender runs at the ball. Both draw no random numbers, and have inertia like the attackers.

    A subclass says who stands where, in units: the pitch ends at x = 1.5 and y = -0.75 and 0.75, and the goal's posts
    are at y = -0.175 and 0.175. An attacker runs at 0.15 unit/s at most, the ball at 0.6, and a step is 0.1 s.
    """

    attackers: tuple[Position, ...]
    defender: Position
    carrier: int
    """Which attacker starts with the ball."""
    facing: float
    """Where the carrier faces, with the ball before it [rad]; 0 is towards the goal line, where the others face."""

    def make_world(
        self,
        batch_dim: int,
        device: torch.device,
        *,
        keeper_speed: Positive = 0.5,
        defender_speed: Positive = 0.5,
        spread: NonNegative = 0.03,
        shaping: NonNegative = 0.5,
    ) -> World:
        """Make the world.

        Args:
            batch_dim: environments.
            device: where they live.
            keeper_speed: the keeper's speed and force as shares of an attacker's [1].
            defender_speed: the same of the defender [1].
            spread: side of the square in which each player starts [unit].
            shaping: what the ball's way into the goal is worth while it is in play [reward]; 0 leaves the goal alone.
        """
        self.keeper_speed, self.defender_speed = keeper_speed, defender_speed
        self.spread, self.shaping = spread, shaping
        world = super().make_world(
            batch_dim,
            device,
            viewer_size=(1000, 1000),
            n_blue_agents=len(self.attackers),
            n_red_agents=0,
            enable_shooting=True,
            u_rot_multiplier=0.003,
            u_shoot_multiplier=1.0,
            ball_max_speed=0.6,
        )
        self.render_origin, self.viewer_zoom = (0.85, 0.0), 0.8
        self.decor = self._pitch()
        return world

    def init_agents(self, world: World) -> None:
        """Add the attackers, as football makes them, and opponents of our own."""
        super().init_agents(world)
        # Football's own opponents dribble, and draw random numbers that couple the environments.
        self.red_controller = None
        self.keeper = self._opponent("keeper", self._keep, self.keeper_speed)
        self.chaser = self._opponent("defender", self._chase, self.defender_speed)
        self.red_agents = world.red_agents = [self.keeper, self.chaser]
        for agent in self.red_agents:
            world.add_agent(agent)

    def _opponent(self, name: str, script: Any, speed: float) -> Agent:
        return Agent(
            name,
            shape=Sphere(self.agent_size),
            action_script=script,
            u_multiplier=self.u_multiplier * speed,
            max_speed=self.max_speed * speed,
            color=self.red_color,
        )

    # ----- how it begins

    def reset_agents(self, env_index: int | None = None) -> None:
        """Put everybody in place, the carrier with its face to where it is going to play."""
        rows, device = (self.world.batch_dim if env_index is None else 1), self.world.device
        players = [*self.blue_agents, *self.red_agents]
        places = torch.tensor([*self.attackers, (self._keeper_line, 0.0), self.defender], device=device)
        places = places + (torch.rand(rows, len(players), 2, device=device) - 0.5) * self.spread
        for player, place in zip(players, places.unbind(1), strict=True):
            player.set_pos(place, batch_index=env_index)
        carrier = self.blue_agents[self.carrier]
        carrier.set_rot(torch.full((rows, 1), self.facing, device=device), batch_index=env_index)

    def reset_ball(self, env_index: int | None = None) -> None:
        """Put the ball before the carrier."""
        carrier, world = self.blue_agents[self.carrier].state, self.world
        reach = self.agent_size + self.ball_size + _TOUCH
        before = carrier.pos + reach * torch.cat([carrier.rot.cos(), carrier.rot.sin()], -1)
        self.ball.set_pos(before if env_index is None else before[env_index], batch_index=env_index)
        super().reset_ball(env_index)
        distance = self._distance()
        if env_index is None:
            self._start_distance, self._potential = distance, torch.zeros(world.batch_dim, device=world.device)
        else:
            self._start_distance = TorchUtils.where_from_index(env_index, distance, self._start_distance)
            self._potential = TorchUtils.where_from_index(env_index, 0.0, self._potential)

    # ----- what the opponents do

    @property
    def _keeper_line(self) -> float:
        return self.pitch_length / 2 - 2 * self.agent_size

    def _keep(self, keeper: Agent, world: World) -> None:
        (x, y), (forward, aside) = self.ball.state.pos.unbind(-1), self.ball.state.vel.unbind(-1)
        behind = 2 * self.agent_size  # from the keeper's line to the goal
        shadow = y * behind / (self.pitch_length / 2 - x).clamp(min=behind)
        crossing = y + aside * (self._keeper_line - x) / forward.clamp(min=0.1)
        place = torch.where((forward > 0.1) & (x < self._keeper_line), crossing, shadow)
        place = place.clamp(-self.goal_size / 2, self.goal_size / 2)
        self._run(keeper, torch.stack([torch.full_like(place, self._keeper_line), place], -1))

    def _chase(self, chaser: Agent, world: World) -> None:
        self._run(chaser, self.ball.state.pos)

    @staticmethod
    def _run(player: Agent, place: Tensor) -> None:
        """Run to a place with full force, and brake before it."""
        push = 40 * (place - player.state.pos - player.state.vel)
        player.action.u = push.clamp(-1, 1) * player.action.u_multiplier_tensor

    # ----- how it ends, and what it is worth

    def reward(self, agent: Agent) -> Tensor:
        """Return what everyone earns, ``[N]``; worked out once a step, when the first agent asks."""
        if agent is self.world.agents[0]:
            self._judge()
        return self._earned

    def _judge(self) -> None:
        ball = self.ball.state.pos
        x, y = ball.unbind(-1)
        line, between_posts = self.pitch_length / 2, y.abs() <= self.goal_size / 2
        goal = (x > line + self.ball_size / 2) & between_posts
        out = (y.abs() > self.pitch_width / 2 - 2 * self.agent_size) | ((x > line - self.ball_size) & ~between_posts)
        opponents = torch.stack([player.state.pos for player in self.red_agents], 1)
        gap = torch.linalg.vector_norm(opponents - ball.unsqueeze(1), dim=-1) - self.agent_size - self.ball_size
        self._done = goal | out | (gap < _TOUCH).any(-1)
        nearer = self.shaping * (1 - self._distance() / self._start_distance).clamp(min=0)
        potential = torch.where(self._done, 0.0, nearer)
        self._earned = goal + potential - self._potential
        self._potential = potential

    def _distance(self) -> Tensor:
        """How far the ball is from the middle of the goal, ``[N]`` [unit]."""
        return torch.linalg.vector_norm(self.ball.state.pos - self.right_goal_pos, dim=-1)

    # ----- what it looks like

    def _pitch(self) -> list[tuple[list[Position], tuple[int, int, int]]]:
        """Grass in stripes, with the lines of the pitch and of the area before the goal."""
        end, side, area = self.pitch_length / 2, self.pitch_width / 2, (0.45, 0.45)
        stripe = self.pitch_length / 12
        grass = [
            (_box(-end + i * stripe, -side, -end + (i + 1) * stripe, side), (_GRASS, _STRIPE)[i % 2]) for i in range(12)
        ]
        corners = [(-end, -side), (end, -side), (end, side), (-end, side), (-end, -side)]
        before_goal = [(end, -area[1]), (end - area[0], -area[1]), (end - area[0], area[1]), (end, area[1])]
        paths = [corners, before_goal, [(0.0, -side), (0.0, side)]]
        chalk = 0.005
        lines = [
            (_box(min(a, c) - chalk, min(b, d) - chalk, max(a, c) + chalk, max(b, d) + chalk), _CHALK)
            for path in paths
            for (a, b), (c, d) in pairwise(path)
        ]
        return [*grass, *lines]


def _box(left: float, bottom: float, right: float, top: float) -> list[Position]:
    return [(left, bottom), (right, bottom), (right, top), (left, top)]
