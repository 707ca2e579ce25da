"""What the episodes that end come to beside the team's return: each agent's own, and what the environment tells."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hetrl import ranks
from hetrl.ops.episodes import finished_sums
from hetrl.team import Grouped, Team


class Figures:
    """Sums over the episodes that end in a collection, kept as tensors: nothing here waits for the device.

    Args:
        team: whose episodes they are.
        n_envs: environments, ``N``.
        device: where the figures lie.
    """

    def __init__(self, team: Team, n_envs: int, device: torch.device) -> None:
        self._groups = tuple(team.layout)
        self._names = [agent.name for agents in team.layout.values() for agent in agents]
        self._returns = torch.zeros(n_envs, len(self._names), device=device)
        self._told: dict[str, Tensor] = {}

    def tell(self, moved: Any) -> None:
        """Take note of what a step, a ``Transition`` (see ``env/transition``), tells of the episodes that it ended."""
        ended = moved.terminated | moved.truncated
        for name, value in moved.infos.items():
            counts = ended & value.isfinite()
            figures = torch.stack([torch.where(counts, value, 0.0).sum(), counts.sum()])
            self._told[name] = self._told[name] + figures if name in self._told else figures

    def told(self) -> dict[str, Tensor]:
        """Return name -> sum and number of the episodes of which it was told, ``[2]``; and begin anew."""
        told, self._told = self._told, {}
        return told

    def each(self, reward: Grouped) -> Tensor:
        """Return all agents' rewards side by side, ``[*B, n]``, as a copy, from layout group -> ``[*B, n]``."""
        return torch.cat([reward[group] for group in self._groups], -1)

    def agent_returns(self, each: Tensor, done: Tensor) -> dict[str, Tensor]:
        """Return agent's name -> sum of its own returns in the episodes that ended [reward], 0-d.

        NaN where all agents have earned the same in each of them, as a team does whose reward is shared.

        Args:
            each: the agents' rewards, ``[T, N, n]``; see :meth:`each`.
            done: where episodes ended, ``[T, N]``.
        """
        if len(self._names) == 1:
            return {}
        ends = done.unsqueeze(-1).expand_as(each)
        sums, carry = finished_sums(each.flatten(1), ends.flatten(1), self._returns.flatten())
        self._returns, sums = carry.view_as(self._returns), sums.view_as(each)
        differ = (sums.amax(-1) != sums.amin(-1)).any()
        if ranks.several():
            differ = ranks.total(differ.float()) > 0
        return dict(zip(self._names, torch.where(differ, sums.sum((0, 1)), torch.nan).unbind(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """What agents have earned in the episodes under way, ``[N, n]``."""
        return {"returns": self._returns}

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Continue from a state; from None, as earlier checkpoints have it, agents' returns are counted from here."""
        self._returns = torch.zeros_like(self._returns) if state is None else state["returns"].to(self._returns.device)
