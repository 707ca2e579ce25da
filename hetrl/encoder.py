"""Encoders: networks from what is seen to features, and how they stand in front of another network."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hetrl.errors import RecipeError
from hetrl.network import Network
from hetrl.team import Agent, Team


class Encoder(Network):
    """Base of the entries of ``net/`` that a recipe writes as ``encoder: {use: net/...}`` of another net.

    A subclass sets :attr:`features` and defines one mode, ``encode``, from the role ``observation`` ``*B F`` to the
    role ``features`` ``*B H``, both per sample. ``agent.observation_shape`` says how the F numbers lie; bytes count
    from 0 to 1 by then.
    """

    default_mode: ClassVar[str | None] = "encode"
    features: int
    """How many numbers it makes of an observation, ``H``."""
    reads_zeros: ClassVar[bool] = False
    """Whether a 0 in an observation means something of its own, so that it may not be moved."""

    def forward(self, observation: Tensor) -> Tensor:
        """Return the features, ``*B H``."""
        return self.encode(observation)["features"]  # type: ignore[operator]


class Encoding:
    """An encoder that is yet to be built: what stands in a network's argument ``encoder``.

    Args:
        entry: the class.
        arguments: its keyword-only ones.
        where: its place in a recipe, for messages.
    """

    def __init__(
        self, entry: type[Encoder], arguments: Mapping[str, Any] | None = None, where: str = "encoder"
    ) -> None:
        self.entry, self.arguments, self.where = entry, dict(arguments or {}), where

    def __repr__(self) -> str:
        return f"Encoding({self.entry.__name__}, {self.arguments})"

    def built(self, agent: Agent, team: Team) -> Encoder:
        """Return the encoder of an agent's observation.

        Raises:
            RecipeError: it does not suit what the agent sees.
        """
        try:
            return self.entry(agent, team, **self.arguments)
        except RecipeError as error:
            raise RecipeError(f"{self.where}: {error}") from None


class StateEncoder(nn.Module):
    """The global state through an encoder: every agent's observation by itself, and the features side by side.

    Agents of one layout group have one encoder in common. A state that is not all observations side by side
    (``Team.state_shape``, ``Team.state_from``) is encoded as one observation.
    """

    def __init__(self, encoding: Encoding, team: Team) -> None:
        super().__init__()
        groups = list(team.layout.values())
        if team.state_shape or team.state_from:
            whole = team.agents[0].seeing(team.state_size)
            if team.state_shape:
                whole = replace(
                    Agent("state", "state", 0, team.state_size, whole.action, "state", team.state_shape),
                    listings=team.state_listings,
                )
            groups, team = [(whole,)], Team((whole,), team.state_size)
        built = [encoding.built(agents[0], team) for agents in groups]
        self.encoders = nn.ModuleList(built)
        self._sizes = [agent.observation_size for agent in team.agents]
        self._places = [[team.agents.index(agent) for agent in agents] for agents in groups]
        self.features = sum(each.features * len(own) for each, own in zip(built, groups, strict=True))

    def forward(self, state: Tensor) -> Tensor:
        """Return the features ``*B H`` of a state ``*B S``, in team order."""
        seen = state.split(self._sizes, -1)
        found: list[Tensor] = list(seen)
        for encoder, places in zip(self.encoders, self._places, strict=True):
            features = encoder(torch.stack([seen[place] for place in places], -2))
            for place, own in zip(places, features.unbind(-2), strict=True):
                found[place] = own
        return torch.cat(found, -1)


class Behind(nn.Module):
    """A module behind an encoder."""

    def __init__(self, encoder: nn.Module, body: nn.Module) -> None:
        super().__init__()
        self.encoder, self.body = encoder, body

    def forward(self, seen: Tensor) -> Any:
        """Return what the module makes of the features."""
        return self.body(self.encoder(seen))

    @property
    def last(self) -> nn.Linear:
        """The layer that gives the output."""
        return self.body.last  # type: ignore[return-value]


def in_front(encoding: Encoding | None, agent: Agent, team: Team) -> tuple[Encoder | None, int]:
    """Return the encoder of an agent's observation, and how many numbers come out of it; None, and those that go in."""
    if encoding is None:
        return None, agent.observation_size
    encoder = encoding.built(agent, team)
    return encoder, encoder.features


def in_front_of_state(encoding: Encoding | None, team: Team) -> tuple[StateEncoder | None, int]:
    """Return the encoder of the global state, and how many numbers come out of it; None, and those that go in."""
    if encoding is None:
        return None, team.state_size
    encoder = StateEncoder(encoding, team)
    return encoder, encoder.features


def behind(encoder: nn.Module | None, body: nn.Module) -> Any:
    """Return a module behind an encoder; the module alone where there is none."""
    return body if encoder is None else Behind(encoder, body)
