"""Environments that are Python objects, each of which steps one team: what is asked of one, and of several together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, NamedTuple, Protocol

import numpy as np

from hetrl.rng import State, Stream


class Told(NamedTuple):
    """What a simulator tells after a reset or a step, in numbers and arrays alone; sequences are in team order."""

    observation: Sequence[Any]
    """What each agent sees, of its observation's shape; 0 for who is not there."""
    reward: Sequence[float] = ()
    """What each was paid for the step."""
    terminated: bool = False
    """The episode came to an end of its own."""
    truncated: bool = False
    """It was cut, by the environment itself. Never together with ``terminated``."""
    active: Sequence[bool] = ()
    """Who is there; whoever took part in the last step, where the episode is over."""
    action_mask: Sequence[Any] = ()
    """What each may choose, options of all choices side by side; True for everything."""
    agent_terminated: Sequence[bool] = ()
    """Whose own story ended with the step."""
    state: Any = None
    """The environment's own state, where it is asked for."""
    infos: Mapping[str, float] = {}
    """What is told of an episode that is over."""


class Simulator(Protocol):
    """One environment of one team. It stays in its process; what goes in and out can be pickled."""

    def reset(self, seed: int) -> Told:
        """Begin an episode."""

    def step(self, actions: Sequence[Any]) -> Told:
        """Let the team act; ``actions`` are in team order, also those of who is not there."""

    def picture(self) -> np.ndarray:
        """Draw it, ``[H, W, 3]`` uint8."""

    def close(self) -> None:
        """Give back what it holds."""


class Simulators:
    """Simulators in this process, stepped one after the other.

    Args:
        make: makes that of a row; all that are made are closed, also where a later one cannot be made.
        count: how many.
        seed: of a private stream for what they draw from the generators of the process, which must not notice; None
            for simulators that do not.
    """

    def __init__(self, make: Callable[[int], Any], count: int, seed: int | None = None) -> None:
        self._make, self._count = make, count
        self._stream = None if seed is None else Stream(seed)
        self._shield: AbstractContextManager[Any] = self._stream or nullcontext()
        self.all: list[Any] = []
        self.open()

    def open(self) -> None:
        """Make them, where they are not there, or no longer."""
        if self.all:
            return
        try:
            with self._shield:
                for row in range(self._count):
                    self.all.append(self._make(row))
        except BaseException:
            self.close()
            raise

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> list[Told]:
        """Begin an episode in each of ``rows``."""
        with self._shield:
            return [self.all[row].reset(seed) for row, seed in zip(rows, seeds, strict=True)]

    def step(self, actions: Iterable[Sequence[Any]]) -> list[Told]:
        """Step each of them; ``actions`` are by row."""
        with self._shield:
            return [each.step(acts) for each, acts in zip(self.all, actions, strict=True)]

    def replay(self, seeds: Sequence[int], actions: Iterable[Iterable[Sequence[Any]]]) -> list[Told]:
        """Play an episode in each of them up to where its actions end; ``actions`` are by row and step."""
        told = []
        with self._shield:
            for each, seed, steps in zip(self.all, seeds, actions, strict=True):
                last = each.reset(seed)
                for acts in steps:
                    last = each.step(acts)
                told.append(last)
        return told

    def picture(self, row: int) -> np.ndarray:
        """Draw that of a row."""
        with self._shield:
            return self.all[row].picture()

    def seed(self, seed: int) -> None:
        """Start the private stream afresh."""
        if self._stream is not None:
            self._stream.seed(seed)

    def stream(self) -> State | None:
        """Return the state of the private stream; None without one."""
        return None if self._stream is None else self._stream.state_dict()

    def set_stream(self, state: State) -> None:
        """Continue the private stream."""
        assert self._stream is not None
        self._stream.load_state_dict(state)

    def close(self) -> None:
        """Close all of them, whatever they say to it."""
        for each in self.all:
            with suppress(Exception), self._shield:
                each.close()
        self.all = []
