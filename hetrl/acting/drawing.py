"""The team's policies, acting with drawn actions in an evaluation."""

import torch
from torch import Tensor

from hetrl.acting.agent_policy import generator_of
from hetrl.data.behaviour import Actions, Behaviour
from hetrl.team import Grouped, Team


class Drawing:
    """Stands in for a :class:`~hetrl.data.behaviour.Behaviour` where actions are to be drawn.

    Each agent draws with a generator of its own, as :class:`~hetrl.acting.policies.Policies` do: a closed loop of those
    and an evaluation of this one, with the same seed, take the same actions.

    Args:
        behaviour: the policies.
        team: the agents.
        seed: of the draws.
    """

    def __init__(self, behaviour: Behaviour, team: Team, seed: int) -> None:
        self._behaviour, self._team = behaviour, team
        self._generators = {agent.name: generator_of(agent, seed) for agent in team.agents}

    def refresh(self) -> None:
        """Take the policies' current weights."""
        self._behaviour.refresh()

    def blank(self, observations: Grouped) -> dict[str, Tensor]:
        """Return memories of nothing."""
        return self._behaviour.blank(observations)

    def remember(self, observations: Grouped, memories: Grouped) -> dict[str, Tensor]:
        """Return the memories after a step."""
        return self._behaviour.remember(observations, memories)

    def greedy(self, observations: Grouped, action_masks: Grouped) -> Actions:
        """Return drawn actions."""
        noise = {}
        for group, agents in self._team.layout.items():
            seen = observations[group]
            each = [self._behaviour.noise(agent, len(seen), self._generators[agent.name]) for agent in agents]
            noise[group] = torch.stack(each, 1).to(seen.device)  # drawn on the CPU: the same on any device
        return self._behaviour.draw(observations, action_masks, noise)
