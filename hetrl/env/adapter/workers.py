"""Simulators that are Python objects, one for each row: in this process, or spread over several.

Each process is a :class:`concurrent.futures.ProcessPoolExecutor` with one worker, which owns the simulators of
neighbouring rows for good. That is what an executor of ``N`` workers, ``multiprocessing.Pool`` or joblib cannot promise
(a task goes to whoever is free). TorchRL's ``ParallelEnv``, gymnasium's ``AsyncVectorEnv`` and SuperSuit's vector
environments take a process for every single environment, or a team whose agents are alike and never leave, and have no
way to reset one row with a seed of its own, or to play its episode again.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext, suppress
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, TypeVar

import cloudpickle
import numpy as np
import torch

from hetrl.errors import RecipeError, RunError
from hetrl.rng import Interleaved, derive, kept

_METHOD = "fork" if sys.platform.startswith("linux") else "spawn"
_PATIENCE = 10.0
"""How long a process may take to close its simulators [s]."""
T = TypeVar("T")
Make = Callable[[int], Any]
"""Row -> its simulator."""


class Bank(Protocol):
    """The simulators of all rows."""

    def call(
        self, work: Callable[..., T], rows: Sequence[int], *each: Sequence[Any], seeds: Sequence[int] | None = None
    ) -> list[T]:
        """Do ``work(simulator, *arguments)`` for every one of ``rows`` and return what came of it, in their order.

        What a simulator draws from the generators of the process comes from a stream of its row, so that it is the same
        wherever it runs, and whoever runs beside it.

        Args:
            work: a function of a module or of a class, that takes and gives plain values (numbers, arrays).
            rows: which simulators.
            each: each argument, one value for each of ``rows``.
            seeds: start the streams of these rows afresh.
        """

    def close(self) -> None:
        """Close every simulator; once more does nothing."""


class Here:
    """Simulators in this process.

    Args:
        make: see :data:`Make`.
        n_rows: simulators.
        seed: of the streams in which each of them is made; None for those who leave the process's generators alone.
    """

    def __init__(self, make: Make, n_rows: int, seed: int | None) -> None:
        self._rows = _Owned(make, range(n_rows), seed)

    @property
    def simulators(self) -> list[Any]:
        """The simulators, by row."""
        return list(self._rows.simulators.values())

    def call(
        self, work: Callable[..., T], rows: Sequence[int], *each: Sequence[Any], seeds: Sequence[int] | None = None
    ) -> list[T]:
        """See :class:`Bank`."""
        return self._rows.call(work, _tasks(rows, each, seeds))

    def close(self) -> None:
        """Close every simulator."""
        self._rows.close()


class Processes:
    """Simulators in processes of their own, each with neighbouring rows.

    On Linux processes are forked, so that ``make`` may be anything (a lambda, a class of a notebook), and begin at
    once; elsewhere they are spawned, and ``make`` is sent with cloudpickle. They leave Ctrl-C to this process, and end
    with it, however it ends.

    Args:
        make: see :data:`Make`.
        n_rows: simulators.
        n_workers: processes; no more than there are rows.
        seed: see :class:`Here`.

    Raises:
        RecipeError: ``make`` cannot be sent to a process.
    """

    def __init__(self, make: Make, n_rows: int, n_workers: int, seed: int | None) -> None:
        shares = np.linspace(0, n_rows, min(n_workers, n_rows) + 1).round().astype(int).tolist()
        self._shares = list(pairwise(shares))
        given = make if _METHOD == "fork" else _sent(make)
        context = multiprocessing.get_context(_METHOD)
        self._pools: list[ProcessPoolExecutor] = []
        self._pids: list[int] = []
        try:
            for first, last in self._shares:
                self._pools.append(ProcessPoolExecutor(1, context, _begin, (given, first, last, seed)))
            with warnings.catch_warnings():
                # A fork while threads run: the child uses none of what they may hold.
                warnings.filterwarnings("ignore", ".*multi-threaded.*", DeprecationWarning)
                begun = [self._submit(pool, _begun) for pool in self._pools]
            self._pids = self._results(begun)
        except BaseException:
            self.close()
            raise

    def call(
        self, work: Callable[..., T], rows: Sequence[int], *each: Sequence[Any], seeds: Sequence[int] | None = None
    ) -> list[T]:
        """See :class:`Bank`.

        Raises:
            RunError: a process has ended.
        """
        tasks = _tasks(rows, each, seeds)
        shares = [[task for task in tasks if first <= task.row < last] for first, last in self._shares]
        pending = [
            self._submit(pool, _share, work, share) if share else None
            for pool, share in zip(self._pools, shares, strict=True)
        ]
        done: dict[int, T] = {}
        for share, values in zip(shares, self._results(pending), strict=True):
            done.update(zip((task.row for task in share), values, strict=True))
        return [done[row] for row in rows]

    def close(self) -> None:
        """Close every simulator, and wait for the processes; one that does not come to an end is killed."""
        pools, self._pools = self._pools, []
        ends = [self._submit(pool, _end) for pool in pools]
        for place, end in enumerate(ends):
            try:
                end.result(_PATIENCE)
            except TimeoutError:
                for pid in self._pids[place : place + 1]:
                    os.kill(pid, signal.SIGKILL)
            except BrokenProcessPool:
                pass  # it has ended already
        for pool in pools:
            pool.shutdown()

    @staticmethod
    def _submit(pool: ProcessPoolExecutor, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        try:
            return pool.submit(work, *arguments)
        except BrokenProcessPool as error:
            broken: Future[Any] = Future()
            broken.set_exception(error)
            return broken

    def _results(self, pending: Sequence[Future[Any] | None]) -> list[Any]:
        """What the processes made, all of them having finished; the first error of theirs is raised."""
        found: list[Any] = []
        problem: BaseException | None = None
        for place, future in enumerate(pending):
            try:
                values, error = ([], None) if future is None else future.result()
            except BrokenProcessPool:
                first, last = self._shares[place]
                values, error = [], RunError(
                    f"task.workers: process {place + 1} of {len(pending)} (environments {first} to {last - 1}) has "
                    "ended by itself; was it killed, or out of memory? The run stops."
                )  # fmt: skip
            problem = problem or (_received(error) if isinstance(error, tuple) else error)
            found.append(values)
        if problem is not None:
            raise problem
        return found


def rows_of(make: Make, n_rows: int, n_workers: int | None, seed: int | None) -> Bank:
    """Return the simulators of all rows, in ``n_workers`` processes, or with None in this one; see :class:`Here`."""
    return Here(make, n_rows, seed) if n_workers is None else Processes(make, n_rows, n_workers, seed)


# --------------------------------------------------------------------------- in either


class _Task(NamedTuple):
    row: int
    arguments: tuple[Any, ...]
    seed: int | None


def _tasks(rows: Sequence[int], each: Sequence[Sequence[Any]], seeds: Sequence[int] | None) -> list[_Task]:
    arguments = zip(*each, strict=True) if each else [()] * len(rows)
    begun: Sequence[int | None] = [None] * len(rows) if seeds is None else seeds
    return [_Task(*task) for task in zip(rows, arguments, begun, strict=True)]


class _Owned:
    """Simulators of some rows, and the streams of what they draw from the generators of the process."""

    def __init__(self, make: Make, rows: Iterable[int], seed: int | None) -> None:
        self.simulators: dict[int, Any] = {}
        self._turns: dict[int, Interleaved] = {}
        try:
            with nullcontext() if seed is None else kept():
                for row in rows:
                    if seed is not None:
                        self._turns[row] = Interleaved()
                        self._turns[row].begin(derive(seed, "row", str(row)))
                    self.simulators[row] = make(row)
                    if seed is not None:
                        self._turns[row].pause()
        except BaseException:
            self.close()
            raise

    def call(self, work: Callable[..., T], tasks: Sequence[_Task]) -> list[T]:
        if not self._turns:
            return [self._do(work, task) for task in tasks]
        found = []
        with kept():
            for task in tasks:
                turn = self._turns[task.row]
                turn.resume() if task.seed is None else turn.begin(task.seed)
                try:
                    found.append(self._do(work, task))
                finally:
                    turn.pause()
        return found

    def _do(self, work: Callable[..., T], task: _Task) -> T:
        try:
            return work(self.simulators[task.row], *task.arguments)
        except Exception as error:
            error.add_note(f"This was in environment {task.row} of the task (they count from 0).")
            raise

    def close(self) -> None:
        """Close all of them, whatever they say to it."""
        simulators, self.simulators = self.simulators, {}
        for simulator in simulators.values():
            with suppress(Exception):
                simulator.close()


# --------------------------------------------------------------------------- in a process

_mine: list[_Owned] = []
"""The simulators of the process that this is."""
_failed: list[Any] = []
"""What went wrong when they were made."""


def played_again(
    rows: Bank, reset: Callable[..., T], step: Callable[..., T], seeds: Sequence[int], episodes: Sequence[Sequence[Any]]
) -> list[T]:
    """Play an episode in each row up to where its actions end, and return what was told last.

    Each step is a turn of its own, as it was when it was first played: numpy's second normal is lost with a turn.

    Args:
        rows: all of them.
        reset: begins an episode; it is given a seed.
        step: takes a step; it is given what ``episodes`` has of it.
        seeds: by row.
        episodes: by row and step, the arguments of ``step``.
    """
    told = rows.call(reset, range(len(seeds)), seeds, seeds=seeds)
    for number in range(max(map(len, episodes), default=0)):
        going = [row for row, steps in enumerate(episodes) if number < len(steps)]
        columns = zip(*(episodes[row][number] for row in going), strict=True)
        for row, latest in zip(going, rows.call(step, going, *map(list, columns)), strict=True):
            told[row] = latest
    return told


def _begin(make: Any, first: int, last: int, seed: int | None) -> None:
    """Make the simulators of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_follow, daemon=True).start()
    torch.set_num_threads(1)
    try:
        _mine.append(_Owned(pickle.loads(make) if isinstance(make, bytes) else make, range(first, last), seed))
    except BaseException as error:
        _failed.append(_told(error))


def _follow() -> None:
    """End when the process that this one works for does, also where it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _begun() -> tuple[int, Any]:
    return os.getpid(), _failed[0] if _failed else None


def _share(work: Callable[..., Any], tasks: Sequence[_Task]) -> tuple[list[Any], Any]:
    """Do the work of a process; returns what came of it, and the error that ended it."""
    try:
        return _mine[0].call(work, tasks), None
    except Exception as error:
        return [], _told(error)


def _end() -> None:
    for owned in _mine:
        owned.close()


# --------------------------------------------------------------------------- what is sent


def _sent(make: Make) -> bytes:
    try:
        return cloudpickle.dumps(make)
    except Exception as error:
        raise RecipeError(
            f"task.workers: the environment cannot be sent to another process ({error}); make it by a function of a "
            "module, or leave workers out."
        ) from error


def _told(error: BaseException) -> tuple[bytes | None, str, str]:
    """An error as it is sent: itself, where it can be, its line, and where it was raised."""
    place = "".join(traceback.format_exception(error))
    for dumps in (pickle.dumps, cloudpickle.dumps):  # the latter also classes made in a function
        try:
            whole = dumps(error)
            pickle.loads(whole)
        except Exception:
            continue
        return whole, "", place
    return None, f"{type(error).__name__}: {error}", place


def _received(told: tuple[bytes | None, str, str]) -> BaseException:
    """The error that a process sent; its cause shows where it was raised there."""
    whole, line, place = told
    error = RunError(f"task: the environment raised {line}") if whole is None else pickle.loads(whole)
    error.__cause__ = _Elsewhere(place)
    return error


class _Elsewhere(Exception):
    """Where an error was raised, in another process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"
