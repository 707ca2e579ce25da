"""The processes of several runs: started as there is room for them, watched, and told to stop."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, Self

from rich.console import Console

from hetrl.runs.board import SeedsBoard
from hetrl.runs.parent import followed
from hetrl.train.signals import TakenSignals

_POLL = 0.2
"""Seconds between two looks at the processes."""
_REFUSED = 2
"""The exit code with which the command line refuses something."""


class Process(Protocol):
    """What a run is once it was started, wherever that is; a :class:`subprocess.Popen` is one."""

    @property
    def returncode(self) -> Any:
        """Its exit code; None while it lasts."""

    def poll(self) -> int | None:
        """Look at it, and return its exit code."""

    def send_signal(self, sig: int) -> None:
        """Ask it to finish its batch and save."""

    def kill(self) -> None:
        """End it at once."""


@dataclass
class SeedProcess:
    """The process that trains one seed."""

    seed: int
    run: Path
    """The folder of its run."""
    command: list[str]
    process: Process | None = None
    interrupted: bool = False
    """Whether it was told to stop while it still ran."""
    new: list[str] | None = None
    """The command that starts the run, where a job may come to it before it has a checkpoint."""
    on: list[str] | None = None
    """The command that goes on from a checkpoint."""
    frames: int = 0
    """That the run is to have."""
    name: str = ""
    """What it is called where it is shown, where its seed alone does not tell it from others."""
    when_stopped: str = "stopped"
    """What its ending is called where it was told to stop."""

    @property
    def key(self) -> int | str:
        """What it is called where it is shown."""
        return self.name or self.seed

    @property
    def title(self) -> str:
        """The same, in a sentence."""
        return self.name or f"seed {self.seed}"

    @property
    def log(self) -> Path:
        """The file that takes what it prints."""
        return self.run.with_name(self.run.name + ".log")

    def start(self, threads: int, more: Mapping[str, str] | None = None) -> None:
        """Start it here, with so many threads for torch where the environment does not say otherwise.

        Args:
            threads: of torch.
            more: of its environment.
        """
        # A session of its own: Ctrl-C in the terminal reaches this process alone, which then tells each seed once.
        given, environment = followed()
        utf8 = {"PYTHONIOENCODING": "utf-8"}  # a file has the system's encoding otherwise
        environment = {"OMP_NUM_THREADS": str(threads), **environment, "COLUMNS": "200", **utf8, **(more or {})}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=given, stdout=log, stderr=subprocess.STDOUT, env=environment, **alone()
            )

    def interrupt(self, at_once: bool = False) -> None:
        """Ask it to finish its batch and save, or end it at once; does nothing where it has ended."""
        # Not SIGINT: a shell's background jobs ignore that one from birth on.
        if self.process is not None and self.process.poll() is None:
            self.interrupted = True
            if at_once:
                self.process.kill()
            else:
                self.process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))

    @property
    def ended(self) -> bool:
        """Whether it ran and has ended."""
        return self.process is not None and self.process.poll() is not None

    def ending(self, finished: bool) -> str:
        """Return ``done``, ``failed`` or :attr:`when_stopped`; what was never started counts as stopped.

        Args:
            finished: whether the run has all its frames.
        """
        code = None if self.process is None else self.process.returncode
        if code == 0:
            return "done" if finished else self.when_stopped
        return self.when_stopped if code is None or (self.interrupted and code != _REFUSED) else "failed"

    def last_words(self) -> str:
        """Return the last line that it printed."""
        return "".join(self.last_lines(1)).strip()

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines that it printed, without empty ones; of a job that never came so far, none."""
        if not self.log.exists():
            return []
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        return [line.rstrip() for line in lines if line.strip()][-count:]


class Executor(Protocol):
    """Where runs are trained."""

    at_once: int
    lasts: bool
    """Whether they go on without this process, so that a closed terminal is no reason to stop them."""

    def say(self, console: Console) -> None:
        """Say how GPUs are dealt out, where there are any."""

    def adopt(self, seed: SeedProcess) -> bool:
        """Give a run the process that it has from an earlier call; whether there is one."""

    def start(self, seed: SeedProcess) -> None:
        """Give a run its process."""


class StopSignals:
    """Hands a signal that asks for a stop on to the seeds: each finishes its batch and saves.

    A second Ctrl-C ends them at once; each keeps its last checkpoint. Where they last without this process, only Ctrl-C
    stops them, and any other signal leaves them alone.
    """

    def __init__(self, lasts: bool = False) -> None:
        self.asked = False
        self.left = False
        """Whether the runs go on alone."""
        self._lasts = lasts
        self.running: list[SeedProcess] = []
        self._n_interrupts = 0
        self._signals = TakenSignals()

    def __enter__(self) -> Self:
        def stop(number: int, frame: FrameType | None) -> None:
            self.asked = True
            self._n_interrupts += number == signal.SIGINT
            self.left = self._lasts and not self._n_interrupts
            self.forward(at_once=self._n_interrupts > 1)

        self._signals.take(stop)
        return self

    def forward(self, at_once: bool = False) -> None:
        """Interrupt every running seed, unless they go on alone."""
        for seed in () if self.left else self.running:
            seed.interrupt(at_once)

    def __exit__(self, *error: object) -> None:
        self._signals.give_back()


def command_line(words: Sequence[str], wandb: str | None) -> list[str]:
    """Return the command that trains one seed; what lies in the current folder is not imported."""
    more = [] if wandb is None else ["--wandb", wandb]
    return [sys.executable, "-P", "-m", "hetrl", "train", *words, *more]


def alone() -> dict[str, Any]:
    """Return what keeps a child out of the terminal's Ctrl-C: a session of its own; on Windows a group of processes.

    There a request to stop is Ctrl-Break, which goes to a group; SIGTERM would end it without a checkpoint.
    """
    group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", None)
    return {"start_new_session": True} if group is None else {"creationflags": group}


def n_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_side_by_side(
    seeds: Iterable[SeedProcess],
    executor: Executor,
    stop: StopSignals,
    board: SeedsBoard,
    look: Callable[[SeedProcess, bool], None] = lambda seed, ended: None,
) -> None:
    """Run the seeds, so many at once as there is room for, until all have ended or a stop was asked for.

    Args:
        seeds: each is taken when there is room for it, so that it may depend on how others have ended.
        executor: where they run.
        stop: hands signals on to them.
        board: shows them.
        look: is given each that runs, and whether it has ended, at every look at the processes.
    """
    waiting, more = iter(seeds), True
    try:
        while (more or stop.running) and not stop.left:
            while more and len(stop.running) < executor.at_once and not stop.asked:
                seed = next(waiting, None)
                if seed is None:
                    more = False
                else:
                    _begin(seed, executor, stop)
            time.sleep(_POLL)
            ended = [seed for seed in stop.running if seed.ended]
            board.update([seed.key for seed in stop.running])
            for seed in stop.running:
                look(seed, seed in ended)
            for seed in ended:
                stop.running.remove(seed)
                board.end(seed.key, seed.ending)
            more = more and not stop.asked
    except BaseException:
        stop.left = executor.lasts and not stop.asked
        raise
    finally:
        stop.forward()  # nothing goes on alone, unless it lasts


def _begin(seed: SeedProcess, executor: Executor, stop: StopSignals) -> None:
    stop.running.append(seed)
    if seed.process is None:
        executor.start(seed)
    if stop.asked and not stop.left:  # while it was being started
        seed.interrupt()
