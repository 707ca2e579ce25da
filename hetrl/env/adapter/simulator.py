"""Environments that are Python objects, each of which steps one team: what is asked of one, and of several together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from hetrl.env.adapter.workers import Bank, Here, played_again, rows_of

T = TypeVar("T")


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
    """Simulators, a row each, in this process or spread over several; see :mod:`hetrl.env.adapter.workers`.

    Args:
        make: makes that of a row; all that are made are closed, also where a later one cannot be made.
        count: how many.
        seed: of what is drawn while they are made from the generators of the process. Each row has a stream of these of
            its own, which an episode's seed starts afresh, and the process does not notice. None for simulators that
            leave them alone.
        workers: processes; None for this one.
    """

    def __init__(
        self, make: Callable[[int], Any], count: int, seed: int | None = None, workers: int | None = None
    ) -> None:
        self._make, self._count, self._seed, self._workers = make, count, seed, workers
        self._rows: Bank | None = None
        self.open()

    def open(self) -> None:
        """Make them, where they are not there, or no longer."""
        if self._rows is None:
            self._rows = rows_of(self._make, self._count, self._workers, self._seed)

    @property
    def all(self) -> list[Any]:
        """The simulators, where they are in this process."""
        assert isinstance(self._rows, Here)
        return self._rows.simulators

    def ask(self, work: Callable[..., T], *each: Sequence[Any]) -> list[T]:
        """Do a work with each of them and return what came of it; ``each`` argument has one value for each of them."""
        return self._open_rows.call(work, range(self._count), *each)

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> list[Told]:
        """Begin an episode in each of ``rows``."""
        return self._open_rows.call(_reset, rows, seeds, seeds=seeds)

    def step(self, actions: Iterable[Sequence[Any]]) -> list[Told]:
        """Step each of them; ``actions`` are by row."""
        return self._open_rows.call(_step, range(self._count), list(actions))

    def replay(self, seeds: Sequence[int], actions: Iterable[Iterable[Sequence[Any]]]) -> list[Told]:
        """Play an episode in each of them up to where its actions end; ``actions`` are by row and step."""
        episodes = [[(each,) for each in steps] for steps in actions]
        return played_again(self._open_rows, _reset, _step, seeds, episodes)

    def picture(self, row: int) -> np.ndarray:
        """Draw that of a row."""
        return self._open_rows.call(_picture, [row])[0]

    def close(self) -> None:
        """Close all of them, whatever they say to it, and their processes."""
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    @property
    def _open_rows(self) -> Bank:
        self.open()
        assert self._rows is not None
        return self._rows


def _reset(simulator: Simulator, seed: int) -> Told:
    return simulator.reset(seed)


def _step(simulator: Simulator, actions: Sequence[Any]) -> Told:
    return simulator.step(actions)


def _picture(simulator: Simulator) -> np.ndarray:
    return simulator.picture()
