"""What a net reads of what environments tell: images from 0 to 1, and numbers standardised where the task says so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hetrl import keys
from hetrl.engine.statistics import Statistics
from hetrl.network import Network, Policy
from hetrl.ops.scaled import scaled
from hetrl.team import Agent, Team

Lens = Callable[[Tensor], Tensor]
"""From an observation ``*B F`` or a state ``*B S`` as an environment gives it to what a network reads."""


class BehindLenses(Policy):
    """A network behind lenses: the one place where observations and states become what networks read.

    Whoever calls it, an update, collection, an evaluation or a figure, hands over what the environment gave. Its modes,
    and what collection asks of it, are those of the network.

    Args:
        net: the network.
        lenses: ``observation`` -> that of the agent whose it is; ``agents`` -> those of all, in team order; ``state``.
    """

    def __init__(self, net: Network, lenses: Mapping[str, Any]) -> None:
        super().__init__()
        self.net, self._lenses = net, lenses
        self.modes = net.modes  # type: ignore[misc]
        self.default_mode = net.default_mode  # type: ignore[misc]
        self.memory, self.chunk = net.memory, net.chunk
        self.draws = getattr(net, "draws", None)

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("modes", {}):
            return self._mode(name)
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "net":
                raise
            return getattr(self.net, name)

    def _mode(self, name: str) -> Callable[..., Any]:
        """Return a mode that takes what the environment gave."""
        function = getattr(self.net, name)
        reads = self.net.modes[name].reads
        lenses = {role: self._lens(key) for role, key in reads.items()}
        in_order = [lenses[role] for role in reads]

        def read(*given: Any, **named: Any) -> Any:
            return function(
                *(_through(lens, value) for lens, value in zip(in_order, given, strict=False)),
                **{role: _through(lenses.get(role), value) for role, value in named.items()},
            )

        return read

    def _lens(self, key: str) -> Any:
        """Return what stands before a key: one lens, one for each agent, or none."""
        word = keys.without_agent(key).removeprefix(f"{keys.NEXT}.")
        if word == "observation":
            return self._lenses["agents" if keys.scope(key) == keys.AGENTS else "observation"]
        return self._lenses.get("state") if word == "state" else None

    # ----- what collection asks

    def remember(self, seen: Tensor, memory: Tensor) -> Tensor:
        """Return the hidden state after a step."""
        lens = self._lenses["observation" if isinstance(self.net, Policy) else "state"]
        return self.net.remember(lens(seen), memory)

    def noise(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return the network's draws."""
        return self.net.noise(shape, generator)  # type: ignore[operator]

    def draw(self, observation: Tensor, noise: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return a sampled action, ``*B A``."""
        mask = () if action_mask is None else (action_mask,)
        return self.net.draw(self._known(observation), noise, *mask)  # type: ignore[operator]

    def greedy(self, observation: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Return the deterministic action, ``*B A``."""
        mask = () if action_mask is None else (action_mask,)
        return self.net.greedy(self._known(observation), *mask)  # type: ignore[operator]

    def _known(self, observation: Tensor) -> Tensor:
        """Return what the network acts on: a memory, which stands in the observation's place, is its own."""
        return observation if self.memory else self._lenses["observation"](observation)


class BehindNet(BehindLenses):
    """A policy behind another net of the recipe, its encoder: what acts, and whose modes take observations.

    Args:
        net: the policy.
        encoder: the net in front of it.
    """

    def __init__(self, net: Network, encoder: Network) -> None:
        eyes = _Eyes(encoder)
        super().__init__(net, {"observation": eyes})
        self.eyes = eyes


class _Eyes(nn.Module):
    """An encoder as a lens; it may be behind lenses itself."""

    def __init__(self, encoder: Network) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, observation: Tensor) -> Tensor:
        """Return the features, ``*B H``."""
        return getattr(self.encoder, str(self.encoder.default_mode))(observation)["features"]


def _through(lens: Any, value: Any) -> Any:
    if lens is None or value is None:
        return value
    if isinstance(value, tuple):
        return tuple(each(part) for each, part in zip(lens, value, strict=True))
    return lens(value)


@dataclass(frozen=True)
class Lenses:
    """What stands between the environment and the nets of a team."""

    team: Team
    groups: Mapping[str, Lens]
    """Layout group -> the lens of its observations."""
    state: Lens
    needed: bool
    """Whether they change anything."""

    @classmethod
    def of(cls, team: Team, statistics: Statistics | None) -> "Lenses":
        """Return the lenses of a team: standardising, or scaling images alone."""
        if statistics is not None:
            groups = {group: partial(statistics.standardized, group) for group in team.layout}
            return cls(team, groups, statistics.standardized_state, True)
        images = torch.uint8 in (team.state_dtype, *(agent.observation_dtype for agent in team.agents))
        return cls(team, dict.fromkeys(team.layout, scaled), scaled, images)

    def before(self, net: Network, agent: Agent) -> Network:
        """Return a net of an agent behind its lenses; itself where they would change nothing."""
        if not self.needed or not _looks(net):
            return net
        everybody = tuple(self.groups[other.group] for other in self.team.agents)
        return BehindLenses(net, {"observation": self.groups[agent.group], "agents": everybody, "state": self.state})


def _looks(net: Network) -> bool:
    """Whether a network reads anything that an environment gave."""
    words = {keys.without_agent(key) for table in net.modes.values() for key in table.reads.values()}
    return isinstance(net, Policy) or not words.isdisjoint(("observation", "state"))
