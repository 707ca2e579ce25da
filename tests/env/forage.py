"""A little PettingZoo environment for tests of what is registered."""

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv


class Forage(ParallelEnv):
    """Two agents who earn ``pay`` a step."""

    metadata = {"name": "forage"}
    render_mode = "rgb_array"
    possible_agents = ["ann", "bob"]

    def __init__(self, width: int = 3, *, sizes: tuple[int, int] = (1, 2), pay: float = 1.0, kind=None):
        if width < 1:
            raise ValueError(f"a width of {width}\nis none")
        self.width, self.sizes, self.pay, self.kind = width, sizes, pay, kind

    def observation_space(self, agent):
        return spaces.Box(0, 1, (self.width,), np.float32)

    def action_space(self, agent):
        return spaces.Discrete(3)

    def reset(self, seed=None, options=None):
        self.rng, self.agents, self.steps = np.random.default_rng(seed), list(self.possible_agents), 0
        return self._seen(), {agent: {} for agent in self.agents}

    def step(self, actions):
        self.steps += 1
        live = list(self.agents)
        cut = self.steps >= 5
        self.agents = [] if cut else live
        return self._seen(), dict.fromkeys(live, self.pay), dict.fromkeys(live, False), dict.fromkeys(live, cut), {
            agent: {} for agent in live
        }  # fmt: skip

    def render(self):
        return np.zeros((8, 8, 3), np.uint8)

    def close(self):
        pass

    def _seen(self):
        return {agent: self.rng.random(self.width, dtype=np.float32) for agent in self.possible_agents}
