"""An environment of several choices each, that draws afresh in every step what may be chosen, and counts what was."""

import torch

from hetrl.arguments import Count, Seed
from hetrl.env.team_env import Reward, TeamEnv
from hetrl.team import Discrete, Team

CHOICES = [3, 4]


class Masked(TeamEnv):
    """Three agents with two choices, of whom the last leaves after half of the episode, with nothing left to choose.

    An agent earns 1 for each of its choices that is the last one it may take.

    Args:
        n_envs: environments in the batch.
        horizon: steps in an episode.
        reward: the team's.
        choices: how many options each choice has.
        seed: of the masks.
        device: where they live.
    """

    checked, illegal = 0, 0
    """Choices of agents who were there, of all environments of this class, and those that were ruled out."""

    def __init__(
        self,
        *,
        n_envs: Count = 4,
        horizon: Count = 6,
        reward: Reward = "mean",
        choices: list[int] = CHOICES,
        seed: Seed = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__(n_envs=n_envs, horizon=horizon, reward=reward, device=device)
        self.choices = list(choices)
        self.team = Team.of(["a", "b", "c"], [sum(choices)] * 3, [Discrete(tuple(choices))] * 3)
        self._generator = torch.Generator().manual_seed(seed)
        self._steps = torch.zeros(n_envs, dtype=torch.int64)
        self._draw()
        self._make_specs()

    @staticmethod
    def provides(arguments):
        return [*TeamEnv.provides(arguments), "agent.action_mask", "agent.active"]

    def _draw(self):
        parts = []
        for size in self.choices:
            shape = (self.n_envs, 3, size)
            spared = torch.randint(size, (*shape[:2], 1), generator=self._generator)
            parts.append((torch.rand(shape, generator=self._generator) < 0.4).scatter(-1, spared, True))
        self._here = torch.ones(self.n_envs, 3, dtype=torch.bool)
        self._here[:, 2] = self._steps < self.horizon // 2
        self._mask = torch.cat(parts, -1) & self._here.unsqueeze(-1)
        self._observation = {"agents": self._mask.float()}
        return self._observation

    @property
    def masks(self):
        return {"action_mask": {"agents": self._mask}, "active": {"agents": self._here}}

    @property
    def agent_terminated(self):
        gone = torch.zeros_like(self._here)
        gone[:, 2] = self._steps == self.horizon // 2
        return {"agents": gone}

    def start(self):
        self._steps = torch.zeros_like(self._steps)
        return self._draw()

    def _simulate(self, actions):
        earned = torch.zeros(self.n_envs, 3)
        for dim, options in enumerate(self._mask.split(self.choices, -1)):
            taken = actions["agents"][..., dim : dim + 1].long()
            legal = options.gather(-1, taken).squeeze(-1)
            Masked.checked += int(self._here.sum())
            Masked.illegal += int((~legal & self._here).sum())
            last = options.size(-1) - 1 - options.flip(-1).long().argmax(-1)
            earned += (taken.squeeze(-1) == last) & self._here
        self._steps = self._steps + 1
        over = self._steps >= self.horizon
        return self._draw(), {"agents": earned}, torch.zeros_like(over), over

    def _reset_rows(self, rows):
        self._steps = self._steps.index_fill(0, rows, 0)
        kept = self._observation["agents"], self._mask, self._here
        self._draw()
        for old, new in zip(kept, (self._observation["agents"], self._mask, self._here), strict=True):
            others = torch.ones(self.n_envs, dtype=torch.bool).index_fill(0, rows, False)
            new[others] = old[others]
        return self._observation

    def seed(self, seed):
        self._generator.manual_seed(seed)

    def state_dict(self, *_, **__):
        return {
            "steps": self._steps.clone(), "mask": self._mask.clone(), "here": self._here.clone(),
            "generator": self._generator.get_state(),
        }  # fmt: skip

    def load_state_dict(self, state, *_, **__):
        self._steps, self._mask, self._here = (state[word].clone() for word in ("steps", "mask", "here"))
        self._generator.set_state(state["generator"])
        self._observation = {"agents": self._mask.float()}
