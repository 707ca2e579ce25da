"""Made-up teams, and made-up inputs for the modes of a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import torch
from torch import Tensor
from torch.nn import functional

from hetrl import keys
from hetrl.glossary import OLD
from hetrl.network import Network, Policy
from hetrl.team import Agent, Box, Discrete, Team
from hetrl.testing.batch import N_OTHER, annotation, dims, made_up, sample_dim

SPACES: dict[type, Box | Discrete] = {Box: Box((-1.0, -2.0), (1.0, 0.5)), Discrete: Discrete((3,))}
"""An action space of each kind."""


def made_up_team(cls: type[Network]) -> Team:
    """Return a team of two agents in whose action spaces the network can act: one of each kind, or two alike."""
    kinds = [kind for kind in SPACES if not issubclass(cls, Policy) or kind in cls.serves]
    spaces = [SPACES[kind] for kind in (kinds * 2)[:2]]
    return Team.of(["one", "two"], [4 + (space != spaces[0]) for space in spaces], spaces)


@dataclass(frozen=True)
class Inputs:
    """Makes up what the modes of one network read.

    Sizes are those of the team where the key is one of the framework's words. What another mode of the same network
    writes is taken from there, a little moved. The rest has the shape that the mode is annotated with.
    """

    net: Network
    agent: Agent
    team: Team

    def recurrent(self, mode: str) -> bool:
        """Whether a mode unrolls chunks of steps, dimension 0 being time."""
        return self.net.chunk is not None and any(_word(key) == "memory" for key in self.net.modes[mode].reads.values())

    def rows(self, mode: str, n: int) -> tuple[int, ...]:
        """Return the batch dimensions of ``n`` rows: two chunks of steps come first where the mode is recurrent."""
        return (2 * (self.net.chunk or 1), n) if self.recurrent(mode) else (n,)

    def places(self, mode: str) -> dict[str, int]:
        """Return the place of the rows' dimension in each role; roles without one are left out."""
        hints, default = get_type_hints(getattr(type(self.net), mode)), int(self.recurrent(mode))
        found = {}
        for role, key in self.net.modes[mode].reads.items():
            own = sample_dim(hints.get(role))
            if key != keys.PLACE:
                found[role] = default if own is None else own
        return found

    def make(self, mode: str, n: int, dtype: torch.dtype, within: Sequence[str] = ()) -> dict[str, Any]:
        """Return a value of ``n`` rows for each role of a mode; optional ones that the agent has none of are left out.

        Args:
            mode: which.
            n: rows.
            dtype: of the floats.
            within: modes whose inputs are being made, whose outputs are not at hand.
        """
        generator = torch.Generator().manual_seed(1)
        hints = get_type_hints(getattr(type(self.net), mode))
        found = {}
        for role, key in self.net.modes[mode].reads.items():
            value = self._value(key, hints.get(role), mode, n, generator, (*within, mode))
            if value is not None:
                found[role] = _as(value, dtype)
        return found

    def _value(self, key: str, hint: Any, mode: str, n: int, generator: torch.Generator, within: Sequence[str]) -> Any:
        if key == keys.PLACE:
            return self.team.agents.index(self.agent)
        rows = self.rows(mode, n)
        if keys.scope(key) == keys.AGENTS:
            each = [self._known(_word(key), agent, rows, generator) for agent in self.team.agents]
            return tuple(self._annotated(hint, rows, generator) if value is None else value for value in each)
        known = self._known(_word(key), self.agent, rows, generator)
        if known is not None:
            return known
        if _word(key) == "action_mask":
            return None
        written = self._written(key, n, within, generator)
        if written is not None:
            return written
        if isinstance(self.net, Policy) and key.endswith("noise"):
            return self._noise(hint, rows, generator)
        return self._annotated(hint, rows, generator)

    def _known(self, word: str, agent: Agent, rows: tuple[int, ...], generator: torch.Generator) -> Tensor | None:
        """Return a value of the size that the team gives a word; None where it gives none."""
        if word in ("observation", "state", "memory"):
            size = {"observation": agent.observation_size, "state": self.team.state_size, "memory": self.net.memory}
            return torch.randn(*rows, size[word], generator=generator)
        if word == "is_init":
            return torch.rand(rows, generator=generator) < 0.3
        if word in ("action", "proposal", "candidates", "chosen"):
            several = (N_OTHER,) if word in ("candidates", "chosen") else ()
            return _action(agent, (*rows, *several), generator, encoded=word != "action")
        if word == "action_mask" and isinstance(agent.action, Discrete):
            return allowed(agent.action, rows, generator)
        return None

    def _written(self, key: str, n: int, within: Sequence[str], generator: torch.Generator) -> Tensor | None:
        """Return what another mode of the network writes under a key, or under it without its ``old_``; moved."""
        wanted = (key, key.replace(f".{OLD}", ".").removeprefix(OLD))
        for mode, table in self.net.modes.items():
            if self.recurrent(mode) != self.recurrent(within[-1]):
                continue
            role = next((role for role, written in table.writes.items() if written in wanted), None)
            if role is None or mode in within:
                continue
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(2)
                dtype = next((each.dtype for each in self.net.parameters()), torch.get_default_dtype())
                outputs = getattr(self.net, mode)(**self.make(mode, n, dtype, within))
            value = outputs.get(role) if isinstance(outputs, Mapping) else None
            if not isinstance(value, Tensor):  # the check of that mode says it
                continue
            noise = torch.randn(value.shape, generator=generator).to(value.dtype)
            return value + 0.1 * noise if value.is_floating_point() else value
        return None

    def _noise(self, hint: Any, rows: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Return the policy's own draws, several for each row where the annotation has a dimension more."""
        assert isinstance(self.net, Policy)
        own = self.net.noise((), generator).dim()
        shape, _ = annotation(hint)
        several = len(dims(shape)) - 1 - own if shape is not None else 0
        return self.net.noise((*rows, *(N_OTHER,) * several), generator)

    def _annotated(self, hint: Any, rows: tuple[int, ...], generator: torch.Generator) -> Any:
        shape, _ = annotation(hint)
        if shape is None:
            return torch.randn(rows, generator=generator)
        value = made_up(shape, torch.float64, generator)
        place = sample_dim(hint)
        if place is None:
            return value
        sizes = [*value.shape[:place], *rows, *value.shape[place + 1 :]]
        if dims(shape)[0] == "time" and len(rows) > 1:
            sizes = [*rows, *value.shape[place + 1 :]]
        return made_up(shape, torch.float64, generator, sizes)


def allowed(space: Discrete, rows: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return a mask of options, ``*rows options``, that leaves one of each choice at least."""
    parts = []
    for size in space.choices:
        spared = torch.randint(size, (*rows, 1), generator=generator)
        mask = torch.rand(*rows, size, generator=generator) < 0.5
        parts.append(mask.scatter(-1, spared, True))
    return torch.cat(parts, -1)


def _action(agent: Agent, rows: tuple[int, ...], generator: torch.Generator, *, encoded: bool) -> Tensor:
    """Return actions within the bounds; discrete ones as indices or, encoded, one-hot."""
    if isinstance(agent.action, Box):
        low, high = torch.tensor(agent.action.low), torch.tensor(agent.action.high)
        return low + (high - low) * (0.1 + 0.8 * torch.rand(*rows, len(low), generator=generator))
    chosen = [torch.randint(size, rows, generator=generator) for size in agent.action.choices]
    if not encoded:
        return torch.stack(chosen, -1)
    return torch.cat(
        [functional.one_hot(one, size) for one, size in zip(chosen, agent.action.choices, strict=True)], -1
    ).float()


def _word(key: str) -> str:
    return key.split(".")[-1].removeprefix(OLD)


def _as(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, tuple):
        return tuple(_as(part, dtype) for part in value)
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
