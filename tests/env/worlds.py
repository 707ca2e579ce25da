"""Small parallel environments for tests, and a name for them in a recipe."""

from typing import Literal

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

import hetrl
from hetrl import catalog
from hetrl.env.adapter.parallel import Parallel
from hetrl.env.team_env import Reward

TINY = ("data.frames=40", "run.frames=80", "run.eval_every=null", "run.device=cpu", "nets.value.hidden=[8]",
        "nets.actor={use: net/categorical_policy, hidden: [8]}", "run.n_eval_episodes=2")  # fmt: skip


class Living(ParallelEnv):
    """Two agents, ten steps, a point a step for each who lives. Everything is made and closed under ``made``."""

    metadata, render_mode = {"name": "living"}, None
    possible_agents = ["a_0", "a_1"]
    die = {}
    """Agent -> the step at whose end it dies."""
    length = 10
    made: list["Living"]

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        cls.made = []

    def __init__(self):
        self.closed = False
        self.made.append(self)

    def observation_space(self, agent):
        return spaces.Box(0, 1, (4,), np.float32)

    def action_space(self, agent):
        return spaces.Discrete(3)

    def see(self, agent):
        return self.rng.random(4).astype(np.float32)

    def info(self, agent):
        return {}

    def reset(self, seed=None, options=None):
        self.rng, self.agents, self.t = np.random.default_rng(seed), list(self.possible_agents), 0
        return {a: self.see(a) for a in self.agents}, {a: self.info(a) for a in self.agents}

    def step(self, actions):
        self.actions, live = actions, list(self.agents)
        assert set(actions) == set(live)
        self.t += 1
        end, cut = {a: self.die.get(a) == self.t for a in live}, dict.fromkeys(live, self.t >= self.length)
        self.agents = [a for a in live if not (end[a] or cut[a])]
        return {a: self.see(a) for a in live}, dict.fromkeys(live, 1.0), end, cut, {a: self.info(a) for a in live}

    def close(self):
        assert not self.closed
        self.closed = True


Living.made = []


def varied(**words):
    """A class of :class:`Living` with other attributes or methods."""
    return type("Varied", (Living,), words)


def made(factory, n_envs=1, horizon=20, **words):
    """Return it adapted and started."""
    env = Parallel(factory=factory, n_envs=n_envs, horizon=horizon, **words)
    env.start()
    return env


def entry(factory):
    """Return a class that makes it, as recipes name one."""

    class Own(Parallel):
        """An environment of a test.

        Args:
            n_envs: environments in the batch.
            horizon: steps after which an episode is cut.
            reward: the team's.
            seed: of all episodes.
            device: where the tensors live.
            state: whose state.
            repeats: whether it does.
        """

        def __init__(
            self,
            *,
            n_envs: int = 4,
            horizon: int = 20,
            reward: Reward = "mean",
            seed: int = 0,
            device: str = "cpu",
            state: Literal["own", "observations"] | None = None,
            repeats: bool = True,
        ) -> None:
            super().__init__(
                factory=factory, n_envs=n_envs, horizon=horizon, reward=reward, seed=seed, device=device, state=state,
                repeats=repeats,
            )  # fmt: skip

        @staticmethod
        def provides(arguments):
            return Parallel.provides({**arguments, "factory": factory})

    return Own


def recipe(monkeypatch, factory, *overrides, base="happo", words=TINY):
    """Return a recipe whose task is that environment."""
    monkeypatch.setitem(catalog.REGISTERED, "env/test.own", entry(factory))
    return hetrl.load(base, "task={use: env/test.own}", *words, *overrides)
