"""The policies of a team, to act with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hetrl.acting.agent_policy import AgentPolicy, generator_of
from hetrl.data.behaviour import Behaviour
from hetrl.errors import UnknownNameError, nearest
from hetrl.network import Policy
from hetrl.team import Agent, Team


class Policies(Mapping[str, AgentPolicy]):
    """Agent -> policy: what :meth:`hetrl.Run.policies` returns.

    ```python
    team = hetrl.Run("runs/balance").policies()
    actions = team({"agent_0": first, "agent_1": second})   # or team["agent_0"](first)
    ```

    Where agents share a network, each has a memory and draws of its own all the same.

    Args:
        team: the agents.
        policy: the network that acts for an agent.
        seed: of the draws; None for the deterministic actions.
    """

    def __init__(self, team: Team, policy: Callable[[Sequence[Agent]], Policy], seed: int | None = None) -> None:
        self.team = team
        behaviour = Behaviour(team, policy)
        self._each = {
            agent.name: AgentPolicy(
                agent,
                len(team.layout[agent.group]),
                policy((agent,)),
                behaviour,
                None if seed is None else generator_of(agent, seed),
            )
            for agent in team.agents
        }

    def __getitem__(self, name: str) -> AgentPolicy:
        """Return an agent's policy.

        Raises:
            UnknownNameError: there is no such agent.
        """
        if name not in self._each:
            raise UnknownNameError(f"no agent {name!r}.{nearest(str(name), self._each)}")
        return self._each[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._each)

    def __len__(self) -> int:
        return len(self._each)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self._each.values()))

    def __call__(
        self, observations: Mapping[str, Any], action_masks: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return what agents do, by name.

        Args:
            observations: agent -> what it sees; agents may be left out, such as those that have died.
            action_masks: agent -> the options that it may choose, of those that have a mask.

        Raises:
            UnknownNameError: there is no such agent.
            RunError: as for :meth:`AgentPolicy.__call__`.
        """
        masks = action_masks or {}
        for name in masks:
            if name not in observations:
                raise UnknownNameError(f"a mask of {name!r}, who sees nothing.{nearest(str(name), observations)}")
        return {name: self[name](seen, masks.get(name)) for name, seen in observations.items()}

    def reset(self, rows: Any = None) -> None:
        """Forget, all agents: an episode begins. See :meth:`AgentPolicy.reset`."""
        for policy in self._each.values():
            policy.reset(rows)
