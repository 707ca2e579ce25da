"""Actions that no policy chose."""

from collections.abc import Mapping

import torch
from torch import Tensor

from hetrl.errors import RecipeError
from hetrl.ops import categorical
from hetrl.team import Agent, Box, Discrete, Team


class RandomActions:
    """Uniform draws: between each dimension's own bounds, and over the options that are available.

    Args:
        team: who acts.
        n_envs: environments, ``N``.
        generator: of the draws; its device is theirs.

    Raises:
        RecipeError: a bound is infinite.
    """

    def __init__(self, team: Team, n_envs: int, generator: torch.Generator) -> None:
        self._n_envs, self._generator = n_envs, generator
        self._spaces = {group: _space(agents, generator.device) for group, agents in team.layout.items()}

    def draw(self, action_masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return actions ``[N, n, A]`` by layout group; ``action_masks`` ``[N, n, options]`` where there are any."""
        actions = {}
        for group, (n_agents, size, bounds, choices) in self._spaces.items():
            points = torch.rand(self._n_envs, n_agents, size, generator=self._generator, device=self._generator.device)
            if bounds is None:  # the best of as many draws as there are options: each is as likely as the others
                actions[group] = categorical.argmax(categorical.masked(points, action_masks.get(group)), choices)
            else:
                low, high = bounds
                actions[group] = low + (high - low) * points
        return actions


_Space = tuple[int, int, tuple[Tensor, Tensor] | None, tuple[int, ...]]


def _space(agents: tuple[Agent, ...], device: torch.device) -> _Space:
    """Return how many agents there are, how many numbers each draws, and their bounds ``[n, A]`` or choices."""
    boxes = [agent.action for agent in agents if isinstance(agent.action, Box)]
    if not boxes:
        assert isinstance(agents[0].action, Discrete)
        choices = agents[0].action.choices
        return len(agents), sum(choices), None, choices
    low, high = (torch.tensor(bounds, device=device) for bounds in ([b.low for b in boxes], [b.high for b in boxes]))
    if not (low.isfinite().all() and high.isfinite().all()):
        raise RecipeError(
            f"data.warmup: the actions of '{agents[0].name}' have no bounds to draw between; write warmup: 0."
        )
    return len(agents), boxes[0].size, (low, high), ()
