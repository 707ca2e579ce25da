"""Games of finitely many states and actions as vectorised environments."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hetrl import rng
from hetrl.env.team_env import Reward, TeamEnv
from hetrl.errors import RunError
from hetrl.ops.markov_game import MarkovGame
from hetrl.team import Agent, Discrete, Grouped, Team


class FiniteGame(TeamEnv):
    """``n_envs`` copies of a game that is given as tables. Every agent sees the state, one-hot, and earns the reward.

    Args:
        transition: ``[S, A_1, ..., A_n, S]``, probability of the next state.
        reward_table: ``[S, A_1, ..., A_n]``, the team's [reward].
        first: ``[S]``, probability of the first state.
        n_envs: environments in the batch, ``N``.
        horizon: steps in an episode.
        one_shot: whether the game is over at the horizon (terminated), rather than cut there (truncated).
        reward: see :data:`hetrl.env.team_env.Reward`.
        seed: of starts and transitions.
        device: where the tables and the environments live.
    """

    def __init__(
        self,
        transition: Tensor,
        reward_table: Tensor,
        first: Tensor,
        *,
        n_envs: int,
        horizon: int,
        one_shot: bool,
        reward: Reward,
        seed: int,
        device: str,
    ) -> None:
        super().__init__(n_envs=n_envs, horizon=horizon, reward=reward, device=device)
        self._tables = (transition, reward_table, first)
        self._one_shot = one_shot
        self._reward = reward_table.to(self.device, torch.float32)
        self._upto, self._first_upto = (table.cumsum(-1).to(self.device) for table in (transition, first))
        self._one_hot = torch.eye(len(first), device=self.device)
        self._at = torch.zeros(n_envs, dtype=torch.int64, device=self.device)
        self._generator = torch.Generator(self.device).manual_seed(seed)
        self.team = _team(len(first), reward_table.shape[1:])
        self._make_specs()

    def game(self, gamma: float) -> MarkovGame:
        """Return the game with a discount, in float64, to be solved exactly. It has no horizon."""
        return MarkovGame(*self._tables, gamma)

    # ----- the fast path

    def start(self) -> Grouped:
        """Reset every environment. Returns the first observations, group -> ``[N, n, S]``."""
        self._at = self._draw(self._first_upto.expand(self.n_envs, -1))
        self._steps = torch.zeros_like(self._steps)
        return self._observe()

    def _simulate(self, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor, Tensor]:
        chosen = (self._at, *(actions[agent.group][:, agent.index, 0] for agent in self.team.agents))
        earned = self._reward[chosen]
        self._at = self._draw(self._upto[chosen])
        self._steps = self._steps + 1
        over = self._steps >= self.horizon
        never = torch.zeros_like(over)
        reward = {
            group: earned.unsqueeze(1).expand(-1, len(agents)).clone() for group, agents in self.team.layout.items()
        }
        return self._observe(), reward, over if self._one_shot else never, never if self._one_shot else over

    def _reset_where(self, done: Tensor) -> Grouped:
        self._at = torch.where(done, self._draw(self._first_upto.expand(self.n_envs, -1)), self._at)
        self._steps = self._steps.masked_fill(done, 0)
        return self._observe()

    def _observe(self) -> Grouped:
        seen = self._one_hot[self._at].unsqueeze(1)
        self._observation = {
            group: seen.expand(-1, len(agents), -1).clone() for group, agents in self.team.layout.items()
        }
        return self._observation

    def _draw(self, upto: Tensor) -> Tensor:
        """Draw a state for each row of cumulative probabilities ``[N, S]``."""
        if upto.shape[-1] == 1:
            return torch.zeros(len(upto), dtype=torch.int64, device=self.device)
        point = torch.rand(len(upto), 1, generator=self._generator, device=self.device, dtype=upto.dtype)
        # The last entry is left out: rounding may put it below 1, and a point beyond it would be no state.
        return (point >= upto[:, :-1]).sum(-1)

    # ----- random numbers and exact continuation

    def seed(self, seed: int) -> None:
        """Start the random stream afresh; the next :meth:`start` is the first of that seed."""
        self._generator.manual_seed(seed)

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Everything that the next steps depend on, as tensors."""
        return {"at": self._at.clone(), "steps": self._steps.clone(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Continue bit for bit from ``state``, which an environment with the same arguments saved.

        Raises:
            RunError: it comes from another number of environments.
        """
        if state["steps"].shape != self._steps.shape:
            raise RunError(f"state: saved with n_envs = {len(state['steps'])}, this task has n_envs = {self.n_envs}.")
        self._at, self._steps = (state[word].to(self.device, copy=True) for word in ("at", "steps"))
        rng.go_on(self._generator, state["generator"])
        self._observe()


def _team(n_states: int, n_actions: tuple[int, ...]) -> Team:
    """Return agents in the order of the tables' dimensions; those with equally many actions form a layout group."""
    alike = len(set(n_actions)) == 1
    agents = []
    for place, size in enumerate(n_actions):
        group = "agents" if alike else f"choices_{size}"
        index = n_actions[:place].count(size)
        agents.append(Agent(f"agent_{place}", group, index, n_states, Discrete((size,)), body=group))
    return Team(tuple(agents), state_size=n_states * len(n_actions))
