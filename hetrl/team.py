"""Who the agents are: names, layout groups, sizes of what they see and do, and who may share a network.

A *layout group* holds agents with equal observation and action sizes; their tensors are stored stacked
(TorchRL's multi-agent convention, ``td[group, "observation"]`` is ``[*B, n, F]``). A *sharing group* holds agents
that a network declared ``per: group`` serves with one set of parameters.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from hetrl.errors import RecipeError, nearest


@dataclass(frozen=True)
class Box:
    """A continuous action space, one ``low`` and ``high`` per dimension (bounds need not be symmetric)."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def size(self) -> int:
        """Entries of an action vector."""
        return len(self.low)

    @property
    def bounded(self) -> bool:
        """Whether every dimension has a finite low and high."""
        return all(map(math.isfinite, (*self.low, *self.high)))

    def __str__(self) -> str:
        return f"continuous[{self.size}]"


@dataclass(frozen=True)
class Discrete:
    """One or several discrete choices, ``choices[d]`` options in dimension ``d``."""

    choices: tuple[int, ...]

    @property
    def size(self) -> int:
        """Entries of an action vector (one index per choice)."""
        return len(self.choices)

    def __str__(self) -> str:
        return "discrete[" + ", ".join(map(str, self.choices)) + "]"


@dataclass(frozen=True)
class Agent:
    """One agent of a team."""

    name: str
    group: str
    """Layout group."""
    index: int
    """Position on the agent dimension of its layout group."""
    observation_size: int
    action: Box | Discrete
    body: str
    """Sharing group."""


@dataclass(frozen=True)
class Team:
    """The agents in team order, and the size of the global state."""

    agents: tuple[Agent, ...]
    state_size: int

    def __len__(self) -> int:
        return len(self.agents)

    def __getitem__(self, name: str) -> Agent:
        for agent in self.agents:
            if agent.name == name:
                return agent
        raise KeyError(f"no agent '{name}'.{nearest(name, self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Agents' names in team order."""
        return tuple(agent.name for agent in self.agents)

    @cached_property
    def layout(self) -> dict[str, tuple[Agent, ...]]:
        """Layout groups: name -> its agents by index."""
        return self._by("group", key=lambda agent: agent.index)

    @cached_property
    def bodies(self) -> dict[str, tuple[Agent, ...]]:
        """Sharing groups: name -> its agents in team order."""
        return self._by("body", key=lambda agent: self.agents.index(agent))

    def state(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Return the global state: all agents' observations side by side, in team order.

        Args:
            observation: layout group -> ``[*B, n, F]``.

        Returns:
            ``[*B, S]``; a view where one layout group holds the team in its order.
        """
        first = self.agents[0].group
        if self.layout[first] == self.agents:
            return observation[first].flatten(-2)
        return torch.cat([observation[agent.group].select(-2, agent.index) for agent in self.agents], -1)

    def reward(self, reward: Mapping[str, Tensor], kind: str) -> Tensor:
        """Return what the team earns, ``[*B]`` [reward].

        Args:
            reward: layout group -> each agent's own, ``[*B, n]``.
            kind: ``sum`` adds them up; otherwise their mean is taken.
        """
        each = torch.cat([reward[group] for group in self.layout], -1)
        return each.sum(-1) if kind == "sum" else each.mean(-1)

    def _by(self, field: str, key: Callable[[Agent], int]) -> dict[str, tuple[Agent, ...]]:
        groups: dict[str, list[Agent]] = {}
        for agent in self.agents:
            groups.setdefault(getattr(agent, field), []).append(agent)
        return {name: tuple(sorted(members, key=key)) for name, members in groups.items()}

    def shared(self, groups: Mapping[str, Sequence[str]]) -> "Team":
        """Return the team with its sharing groups replaced by ``groups`` (name -> agents' names).

        Raises:
            RecipeError: an agent is unknown, missing, in two groups, or grouped with one of another size.
        """
        body: dict[str, str] = {}
        for group, names in groups.items():
            if not names:
                raise RecipeError(f"task.groups.{group}: the group is empty; name its agents or drop it.")
            for name in names:
                if name not in self.names:
                    raise RecipeError(f"task.groups.{group}: no agent '{name}'.{nearest(name, self.names)}")
                if name in body:
                    raise RecipeError(f"task.groups: agent '{name}' is in both '{body[name]}' and '{group}'; keep one.")
                body[name] = group
            sizes = {(self[name].observation_size, self[name].action) for name in names}
            if len(sizes) > 1:
                raise RecipeError(
                    f"task.groups.{group}: its agents differ in observation size or action space, {sizes}; "
                    "only agents of equal sizes can share a network."
                )
        missing = [name for name in self.names if name not in body]
        if missing:
            raise RecipeError(f"task.groups: agents {missing} are in no group; name every agent once.")
        return replace(self, agents=tuple(replace(agent, body=body[agent.name]) for agent in self.agents))
