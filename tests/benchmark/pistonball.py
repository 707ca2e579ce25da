"""Pistonball from images: pistons push a ball to the left wall, and each sees a strip of pixels above itself.

    pip install "pettingzoo[butterfly]"
    python tests/benchmark/pistonball.py FRAMES [OVERRIDE ...]          such as 300_000 run.seed=1

The environment is PettingZoo's ``pistonball_v6``; what it shows (457 x 120 pixels, RGB, for each piston) is cut down
here by slices: every eighth pixel, one colour, and of two steps, so that it can be seen where the ball goes.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pygame
from gymnasium.spaces import Box
from pettingzoo import ParallelEnv
from pettingzoo.butterfly.pistonball.pistonball import raw_env

import hetrl

STEP = 8
"""Pixels between those that are kept."""
GREEN = 1
EYE = "{use: net/convolutional, filters: [16, 32], kernels: [5, 3], strides: [2, 2], size: 64}"


class Pistonball(ParallelEnv):
    """Pistonball as small images, ``[58, 15, 2]`` bytes: the step before, and now.

    Args:
        n_pistons: agents.
        max_cycles: steps of an episode.
    """

    metadata = {"name": "pistonball", "render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(self, n_pistons: int = 10, max_cycles: int = 125) -> None:
        self.max_cycles = max_cycles
        self.aec = raw_env(n_pistons=n_pistons, continuous=True, max_cycles=max_cycles, render_mode="rgb_array")
        self.possible_agents = list(self.aec.possible_agents)
        self.agents: list[str] = []
        side = self.aec.screen_height - 2 * self.aec.wall_width - self.aec.piston_body_height
        shape = (-(-side // STEP), -(-3 * self.aec.piston_width // STEP), 2)
        self._space = Box(0, 255, shape, np.uint8)

    def observation_space(self, agent: str) -> Box:
        """Return the space of the images."""
        return self._space

    def action_space(self, agent: str) -> Box:
        """Return how far a piston may move, down or up."""
        return Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
        """Drop a ball."""
        self.aec.reset(seed=seed)
        self.agents = list(self.possible_agents)
        self._now = self._strips()
        return self._seen(self._now), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, np.ndarray]) -> tuple[dict[str, Any], ...]:
        """Move all pistons."""
        for agent in self.possible_agents:
            self.aec.step(actions[agent])
        before, self._now = self._now, self._strips()
        ends = [dict(self.aec.terminations), dict(self.aec.truncations)]
        told = self._seen(before), dict(self.aec.rewards), *ends, {agent: {} for agent in self.possible_agents}
        if self.aec.terminate or self.aec.truncate:
            self.agents = []
        return told

    def render(self) -> np.ndarray:
        """Draw the whole table."""
        return np.transpose(pygame.surfarray.array3d(self.aec.screen), (1, 0, 2))

    def close(self) -> None:
        """Give the screen back."""
        self.aec.close()

    def _strips(self) -> list[np.ndarray]:
        """Return what is above each piston now, and its neighbours, ``[58, 15]``."""
        aec = self.aec
        bottom = aec.screen_height - aec.wall_width - aec.piston_body_height
        pixels = pygame.surfarray.pixels3d(aec.screen)[:, aec.wall_width : bottom : STEP, GREEN]
        first = aec.wall_width - aec.piston_width
        strips = []
        for place in range(len(self.possible_agents)):
            left = first + place * aec.piston_width
            strips.append(np.array(pixels[left : left + 3 * aec.piston_width : STEP].T))
        return strips

    def _seen(self, before: list[np.ndarray]) -> dict[str, np.ndarray]:
        pairs = zip(self.possible_agents, before, self._now, strict=True)
        return {agent: np.stack([then, now], -1) for agent, then, now in pairs}


def main(frames: str, *overrides: str) -> None:
    """Train, and draw the curve."""
    from hetrl.runs.run import train

    hetrl.register("env/my.pistonball", Pistonball)
    recipe = hetrl.load(
        "mappo",
        "task={use: env/my.pistonball, n_envs: 8, horizon: 125}",
        "nets.actor={use: net/gaussian_policy, per: team, hidden: [64], initial_std: 0.5}",
        f"nets.actor.encoder={EYE}",
        f"nets.value.encoder={EYE}",
        "data.frames=2000",
        f"run.frames={frames}",
        f"run.eval_every={max(int(frames) // 10, 2000)}",
        "run.n_eval_episodes=8",
        *overrides,
    )
    folder = train(recipe)
    print(Path(folder.path) / "metrics.csv")


if __name__ == "__main__":
    main(*sys.argv[1:])
