"""An environment whose every step is written down beforehand: who earns what, is there, ends, and what is told."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

from hetrl.arguments import Count, Seed
from hetrl.data.on_policy import OnPolicy
from hetrl.data.replay import Replay
from hetrl.env.team_env import Reward, TeamEnv
from hetrl.team import Discrete, Team


class Scripted(TeamEnv):
    """Agents who see the number of the step that they are about to take, and get what the script says.

    Args:
        script: what each step of an episode brings: ``reward``, a number for each agent; ``active``, who takes part
            after it (everybody, if left out); ``ended``, whose story ended with it; ``info``, what is told. An episode
            is terminated with the last of them, or cut with ``cut``.
        choices: options of each of an agent's choices.
        cut: whether the last step truncates.
        n_envs: environments in the batch.
        reward: the team's.
        seed: of nothing.
        device: where it lives.
    """

    def __init__(
        self,
        *,
        script: Sequence[Mapping[str, Any]],
        choices: Sequence[int] = (2,),
        cut: bool = False,
        n_envs: Count = 1,
        reward: Reward = "mean",
        seed: Seed = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__(n_envs=n_envs, horizon=len(script), reward=reward, device=device)
        self.script, self.cut, self.n_agents = script, cut, len(script[0]["reward"])
        names = [f"a_{index}" for index in range(self.n_agents)]
        self.team = Team.of(names, [1] * self.n_agents, [Discrete(tuple(choices))] * self.n_agents)
        self.at = 0
        self.taken: list[Any] = []
        self._make_specs()

    def start(self):
        self.at = 0
        return self._observe()

    def _observe(self):
        self._observation = {"agents": torch.full((self.n_envs, self.n_agents, 1), float(self.at))}
        return self._observation

    @property
    def _latest(self):
        return self.script[self.at - 1] if self.at else {}

    def _flags(self, word, default):
        return torch.tensor(self._latest.get(word, [default] * self.n_agents), dtype=torch.bool).repeat(self.n_envs, 1)

    @property
    def masks(self):
        found = {}
        if any("active" in step for step in self.script):
            found["active"] = {"agents": self._flags("active", True)}
        if any("mask" in step for step in self.script):
            here = self.script[self.at % len(self.script)]["mask"]
            found["action_mask"] = {"agents": torch.tensor(here, dtype=torch.bool).repeat(self.n_envs, 1, 1)}
        return found

    @property
    def agent_terminated(self):
        if not any("ended" in step for step in self.script):
            return {}
        return {"agents": self._flags("ended", False)}

    @property
    def infos(self):
        told = self._latest.get("info", {})
        return {name: torch.full((self.n_envs,), float(value)) for name, value in told.items()}

    def _simulate(self, actions):
        self.taken.append(actions["agents"].clone())
        self.at += 1
        over = torch.full((self.n_envs,), self.at == len(self.script))
        reward = {"agents": torch.tensor(self._latest["reward"], dtype=torch.float32).repeat(self.n_envs, 1)}
        return self._observe(), reward, over & (not self.cut), over & self.cut

    def _reset_rows(self, rows):
        return self.start()

    def seed(self, seed):
        pass

    def state_dict(self, *_, **__):
        return {"at": self.at}

    def load_state_dict(self, state, *_, **__):
        self.at = state["at"]
        self._observe()


class Waiting:
    """Acts with option 0."""

    def refresh(self):
        pass

    def blank(self, observations):
        return {}

    def remember(self, observations, memories):
        return {}

    def greedy(self, observations, action_masks):
        return {name: torch.zeros((*seen.shape[:2], 1), dtype=torch.int64) for name, seen in observations.items()}

    def explore(self, observations, action_masks, generator):
        return self.greedy(observations, action_masks)


def source(kind, script, n_steps, n_envs=2, reward="mean", data=MappingProxyType({}), **values):
    """Return a source of ``n_steps`` a collection, attached to scripted environments whose agents wait."""
    env = Scripted(script=script, n_envs=n_envs, reward=reward, **values)
    n = n_steps * n_envs
    made = OnPolicy(frames=n) if kind == "on_policy" else Replay(capacity=64, batch=2, warmup=0, frames=n, **data)
    made.attach(env, Waiting(), reward, seed=0)
    return made
