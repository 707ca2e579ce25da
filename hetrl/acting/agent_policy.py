"""One agent's policy, to act with: it takes what the agent sees, keeps its memory, and gives what the agent does."""

from typing import Any

import torch
from torch import Tensor

from hetrl import rng
from hetrl.acting.taken import Taken, take_mask, take_observation
from hetrl.data.behaviour import Behaviour
from hetrl.errors import RunError
from hetrl.network import Policy
from hetrl.team import Agent, Box


class AgentPolicy:
    """What one agent does, given what it sees.

    ```python
    policy = hetrl.Run("runs/balance").policies()["agent_0"]
    action = policy(observation)
    ```

    A recurrent policy keeps its memory from call to call, one for each row of a batch; :meth:`reset` begins an episode.
    The numbers are those of :meth:`hetrl.Run.evaluate`, bit for bit where as many rows are given as it has episodes.

    Attributes:
        agent: name, sizes and action space of the agent.
        stochastic: whether actions are drawn; otherwise they are the deterministic ones.
    """

    def __init__(
        self, agent: Agent, n_agents: int, policy: Policy, behaviour: Behaviour, generator: torch.Generator | None
    ) -> None:
        self.agent, self.stochastic = agent, generator is not None
        self._n_agents, self._policy, self._behaviour, self._generator = n_agents, policy, behaviour, generator
        self._memory: Tensor | None = None

    def __repr__(self) -> str:
        how = "drawn" if self.stochastic else "deterministic"
        memory = f", memory {self._policy.memory}" if self._policy.memory else ""
        return f"<policy of {self.agent.name}: {self.agent.sees} -> {self.agent.action}, {how}{memory}>"

    def __call__(self, observation: Any, action_mask: Any = None) -> Any:
        """Return what the agent does.

        Args:
            observation: what it sees, one row ``[F]`` or a batch ``[B, F]``, images with their shape or flat; a numpy
                array, a tensor or a list.
            action_mask: the options that it may choose, ``[options]`` or ``[B, options]``, true where it may; those of
                several choices side by side. For agents with discrete actions only.

        Returns:
            The action, of the kind that the observation is. Continuous: float32 ``[A]`` or ``[B, A]``, within the
            bounds. Discrete: the number of the option, int64; ``[choices]`` or ``[B, choices]`` where the agent makes
            several choices.

        Raises:
            RunError: an input has another size, or is not finite, or rules every option out; or a policy with memory is
                given more or fewer rows than before.
        """
        seen = take_observation(self.agent, observation)
        mask = take_mask(self.agent, action_mask, seen)
        rows = seen.rows
        if self._policy.memory:
            rows = self._memory = self._remember(seen)
        return seen.given_back(self._act(rows, mask))

    def reset(self, rows: Any = None) -> None:
        """Forget: an episode begins.

        Args:
            rows: of a batch, those that begin one: a mask ``[B]`` (such as a step's ``done``) or their numbers. Left
                out, all of them, and the next batch may be of another size.

        Raises:
            RunError: there are no such rows.
        """
        if rows is None:
            self._memory = None
        elif self._memory is not None:
            memory = self._memory.clone()
            try:
                memory[torch.as_tensor(rows)] = 0.0
            except (IndexError, TypeError, ValueError) as error:
                said = str(error).splitlines()[0]
                raise RunError(f"reset of '{self.agent.name}': of {len(memory)} rows, no such rows ({said}).") from None
            self._memory = memory

    # The layout group's batched call takes an observation of each of its agents: this one's is repeated, and its own
    # place read. A call of its own would round otherwise than the evaluation does.

    def _act(self, rows: Tensor, mask: Tensor | None) -> Tensor:
        group = self.agent.group
        masks = {} if mask is None else {group: self._spread(mask)}
        if self._generator is None:
            found = self._behaviour.greedy({group: self._spread(rows)}, masks)
        else:
            noise = self._policy.noise((len(rows),), self._generator)
            found = self._behaviour.draw({group: self._spread(rows)}, masks, {group: self._spread(noise)})
        action = found[group][:, self.agent.index]
        if isinstance(self.agent.action, Box):
            return within(self.agent.action, action)
        return action.squeeze(-1) if self.agent.action.size == 1 else action

    def _remember(self, seen: Taken) -> Tensor:
        group, n_rows = self.agent.group, len(seen.rows)
        if self._memory is None:
            self._memory = torch.zeros(n_rows, self._policy.memory)
        if len(self._memory) != n_rows:
            raise RunError(
                f"the policy of '{self.agent.name}' remembers {len(self._memory)} rows, and was given {n_rows}; "
                "reset() it first."
            )
        given = {group: self._spread(seen.rows)}, {group: self._spread(self._memory)}
        return self._behaviour.remember(*given)[group][:, self.agent.index]

    def _spread(self, rows: Tensor) -> Tensor:
        return rows.unsqueeze(1).expand(len(rows), self._n_agents, *rows.shape[1:])


def within(space: Box, action: Tensor) -> Tensor:
    """Return actions ``*B A`` within the bounds."""
    low, high = (torch.tensor(bound, dtype=action.dtype, device=action.device) for bound in (space.low, space.high))
    return torch.minimum(torch.maximum(action, low), high)


def generator_of(agent: Agent, seed: int) -> torch.Generator:
    """Return the generator that an agent's actions are drawn with, its own for each agent and seed."""
    return torch.Generator().manual_seed(rng.derive(seed, "acting", agent.name))
