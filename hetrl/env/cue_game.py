"""A memory task for teams of unlike agents, whose optimum is known."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor

from hetrl import rng
from hetrl.arguments import Count, Fraction, Seed, checked
from hetrl.env.team_env import Reward, TeamEnv
from hetrl.env.transition import Masks
from hetrl.errors import RecipeError, RunError
from hetrl.team import Agent, Box, Discrete, Grouped, Team

_MOST_AGENTS = 1000


class CueGame(TeamEnv):
    """The team is shown one of K cues, waits, and then every agent has to say which it was.

    score_i = [a_i = 1 + k] where discrete,   max(0, 1 - (K - 1) |a_i - x_k|) where continuous,   x_k = k / (K - 1)

    The cue k, uniform over K, is seen at step 0 only, the answers count at step ``delay`` only, and that step
    terminates the episode. Every agent's reward is then the mean score of those still there, and 0 before. With K = 3
    and cue 1, a discrete agent that takes option 2 and a continuous one that gives 0.75 (half of the way to the next
    number) score 1 and 0.5: the reward is 0.75.

    *The optimum* is exactly 1 an episode (the number of agents with ``reward: sum``); where agents leave it is the
    probability that somebody is still there, 1 - (1 - (1 - leave)^delay)^n. *Chance*, the best that policies without
    memory can do where ``delay`` is at least 1, is 1 / K of it: of the K scores an action could earn at most one is 1,
    and their sum is at most 1. With ``delay`` 0 the cue is seen at the answer, and no memory is needed.

    A discrete agent sees the cue one-hot and whether it is now time to answer, ``[K + 1]``; it chooses among waiting
    (option 0; all that ``agent.action_mask`` allows before the answer) and the cues (all that it allows then). A
    continuous agent sees the cue as the number (k + 1) / K and the same flag, ``[2]``, and gives a number within 0 and
    1. The cue reads 0 after step 0. An agent that has left (``agent.active`` is False) sees zeros, and may only wait.

    Args:
        n_cues: cues, K, at least 2.
        delay: steps from the cue to the answer [step].
        discrete_agents: agents that choose; they come first in the team.
        continuous_agents: agents that give a number.
        leave: probability with which an agent drops out at the end of a step, for the rest of its episode [1].
        n_envs: environments in the batch, ``N``.
        reward: the team's reward, as the mean or the sum over agents, each of which earns the same, or none
            (``per_agent``).
        seed: of cues and of who leaves.
        device: where the environments live.

    Raises:
        RecipeError: an argument is unknown or out of range, there is no agent, or nobody has time to leave.
    Source: the delayed-cue task of memory tests in RL, e.g. Bakker 2001, Reinforcement Learning with Long Short-Term
        Memory, NeurIPS 14 (the T-maze, whose corridor is the delay).
    Differs: no corridor is walked; the team answers at once, and its agents may differ in kind.
    """

    def __init__(
        self,
        *,
        n_cues: Annotated[int, Ge(2)] = 2,
        delay: Annotated[int, Ge(0)] = 1,
        discrete_agents: Annotated[int, Ge(0)] = 2,
        continuous_agents: Annotated[int, Ge(0)] = 0,
        leave: Fraction = 0.0,
        n_envs: Count = 64,
        reward: Reward = "mean",
        seed: Seed = 0,
        device: str = "cpu",
    ) -> None:
        sizes = {"discrete_agents": discrete_agents, "continuous_agents": continuous_agents}
        self.check_arguments({"delay": delay, "leave": leave, **sizes})
        super().__init__(n_envs=n_envs, horizon=delay + 1, reward=reward, device=device)
        self.n_cues, self.delay, self.leave = n_cues, delay, leave
        self.team = _team(n_cues, discrete_agents, continuous_agents)
        self._one_hot = torch.eye(n_cues, device=self.device)
        self._cue = torch.zeros(n_envs, dtype=torch.int64, device=self.device)
        self._active = torch.ones(n_envs, len(self.team), dtype=torch.bool, device=self.device)
        self._generator = torch.Generator(self.device).manual_seed(seed)
        self._make_specs()

    __init__ = checked(__init__, "env/cue_game")

    @classmethod
    def check_arguments(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse a team of nobody, and leaving where the first step is the last.

        Raises:
            RecipeError: with what to write instead.
        """
        n_agents = arguments.get("discrete_agents", 2) + arguments.get("continuous_agents", 0)
        if n_agents == 0:
            raise RecipeError("task: discrete_agents and continuous_agents are both 0; a team has at least one agent.")
        if n_agents > _MOST_AGENTS:
            raise RecipeError(
                f"task: discrete_agents and continuous_agents are {n_agents:,} together; write at most "
                f"{_MOST_AGENTS:,}."
            )
        if arguments.get("leave", 0.0) > 0 and arguments.get("delay", 1) == 0:
            raise RecipeError(
                f"task.leave = {arguments['leave']}: with delay = 0 nobody has time to leave; use a delay of at least "
                "1, or leave = 0."
            )

    @staticmethod
    def provides(arguments: Mapping[str, Any]) -> list[str]:
        """Return the keys that a step writes, given the task's arguments."""
        masks = ["agent.action_mask"] if arguments.get("discrete_agents", 2) else []
        masks += ["agent.active"] if arguments.get("leave", 0.0) > 0 else []
        return [*TeamEnv.provides(arguments), *masks]

    # ----- the fast path

    def start(self) -> Grouped:
        """Show every environment a new cue. Returns the first observations, group -> ``[N, n, F]``."""
        self._cue = self._draw_cues(self.n_envs)
        self._steps = torch.zeros_like(self._steps)
        self._active = torch.ones_like(self._active)
        return self._observe()

    @property
    def masks(self) -> Masks:
        """Who may choose what, and who is still there, see :data:`~hetrl.env.transition.Masks`."""
        active = self._by_group(self._active)
        found: Masks = {}
        for group, agents in self.team.layout.items():
            if isinstance(agents[0].action, Discrete):
                answers = (active[group] & self._answering.unsqueeze(-1)).unsqueeze(-1)
                mask = torch.cat([~answers, answers.expand(-1, -1, self.n_cues)], -1)
                found["action_mask"] = {group: mask}
        if self.leave > 0:
            found["active"] = active
        return found

    def _simulate(self, actions: Mapping[str, Tensor]) -> tuple[Grouped, Grouped, Tensor, Tensor]:
        scores = torch.cat([self._scores(group, actions[group]) for group in self.team.layout], -1)
        present = (scores * self._active).sum(-1) / self._active.sum(-1).clamp(min=1)
        earned = torch.where(self._answering, present, 0.0)
        terminated = self._answering
        self._steps = self._steps + 1
        if self.leave > 0:
            stay = torch.rand(self._active.shape, generator=self._generator, device=self.device) >= self.leave
            self._active = self._active & stay
        reward = {
            group: earned.unsqueeze(1).expand(-1, len(agents)).clone() for group, agents in self.team.layout.items()
        }
        return self._observe(), reward, terminated, torch.zeros_like(terminated)

    def _reset_where(self, done: Tensor) -> Grouped:
        self._cue = torch.where(done, self._draw_cues(self.n_envs), self._cue)
        self._steps = self._steps.masked_fill(done, 0)
        self._active = self._active | done.unsqueeze(-1)
        return self._observe()

    @property
    def _answering(self) -> Tensor:
        """``[N]`` bool, where the present step is the one that counts."""
        return self._steps == self.delay

    def _scores(self, group: str, action: Tensor) -> Tensor:
        """What the actions ``[N, n, 1]`` are worth as answers, ``[N, n]``."""
        chosen, cue = action.squeeze(-1), self._cue.unsqueeze(-1)
        if isinstance(self.team.layout[group][0].action, Discrete):
            return (chosen == 1 + cue).to(torch.float32)
        spacing = 1 / (self.n_cues - 1)
        return (1 - (chosen.clamp(0, 1) - cue * spacing).abs() / spacing).clamp(min=0)

    def _observe(self) -> Grouped:
        shown = (self._steps == 0).to(torch.float32).unsqueeze(-1)
        flag = self._answering.to(torch.float32).unsqueeze(-1)
        self._observation = {}
        for group, active in self._by_group(self._active).items():
            discrete = isinstance(self.team.layout[group][0].action, Discrete)
            cue = self._one_hot[self._cue] if discrete else (self._cue.unsqueeze(-1) + 1) / self.n_cues
            seen = torch.cat([cue * shown, flag], -1)
            self._observation[group] = seen.unsqueeze(1) * active.unsqueeze(-1)
        return self._observation

    def _by_group(self, each: Tensor) -> Grouped:
        """Split ``[N, n]`` in team order by layout group; groups are contiguous in the team."""
        sizes = [len(agents) for agents in self.team.layout.values()]
        return dict(zip(self.team.layout, each.split(sizes, -1), strict=True))

    def _draw_cues(self, count: int) -> Tensor:
        return torch.randint(self.n_cues, (count,), generator=self._generator, device=self.device)

    # ----- random numbers and exact continuation

    def seed(self, seed: int) -> None:
        """Start the random stream afresh; the next :meth:`start` is the first of that seed."""
        self._generator.manual_seed(seed)

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Everything that the next steps depend on, as tensors."""
        return {
            "cue": self._cue.clone(),
            "steps": self._steps.clone(),
            "active": self._active.clone(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Continue bit for bit from ``state``, which an environment with the same arguments saved.

        Raises:
            RunError: it comes from another number of environments or agents.
        """
        if state["active"].shape != self._active.shape:
            raise RunError(
                f"state: saved with [n_envs, agents] = {list(state['active'].shape)}, this task has "
                f"{list(self._active.shape)}."
            )
        self._cue, self._steps, self._active = (
            state[word].to(self.device, copy=True) for word in ("cue", "steps", "active")
        )
        rng.go_on(self._generator, state["generator"])
        self._observe()


def _team(n_cues: int, discrete: int, continuous: int) -> Team:
    """Return the discrete agents, then the continuous ones, each kind a layout group."""
    kinds: dict[str, tuple[int, int, Box | Discrete]] = {
        "discrete": (discrete, n_cues + 1, Discrete((1 + n_cues,))),
        "continuous": (continuous, 2, Box((0.0,), (1.0,))),
    }
    agents = [
        Agent(f"{kind}_{index}", kind, index, observation_size, action, body=kind)
        for kind, (count, observation_size, action) in kinds.items()
        for index in range(count)
    ]
    return Team(tuple(agents), state_size=sum(agent.observation_size for agent in agents))
