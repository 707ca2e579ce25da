"""Runs as jobs, side by side: started as there is room for them, watched, and told to stop."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol, Self

from hetrl.train.signals import TakenSignals

_POLL = 0.2
"""Seconds between two looks at the jobs."""
_REFUSED = 2
"""The exit code with which the command line refuses something."""


class Process(Protocol):
    """What a job is once it was started, wherever that is."""

    def poll(self) -> int | None:
        """Return its exit code; None while it lasts."""

    def stop(self, at_once: bool) -> None:
        """Ask it to finish its batch and save, or end it at once; does nothing where it has ended."""

    @property
    def log(self) -> Path | None:
        """Another file that says why it failed, beside that of the run."""


@dataclass
class Job:
    """A run that is to be trained, or continued, by a process of its own."""

    name: str
    """What it is called where it is shown."""
    run: Path
    """The folder of its run."""
    new: list[str]
    """The command that starts it."""
    on: list[str]
    """The command that goes on from its checkpoint."""
    frames: int
    """That it is to have."""
    threads: int = 1
    on_gpu: bool = False
    process: Process | None = None
    interrupted: bool = False
    """Whether it was told to stop while it still ran."""

    @property
    def log(self) -> Path:
        """The file that takes what it prints."""
        return self.run.with_name(self.run.name + ".log")

    @property
    def command(self) -> list[str]:
        """What to start now."""
        return self.on if (self.run / "checkpoints" / "last.ckpt").exists() else self.new

    def interrupt(self, at_once: bool = False) -> None:
        """Ask it to finish its batch and save, or end it at once; does nothing where it has ended."""
        if self.process is not None and self.process.poll() is None:
            self.interrupted = True
            self.process.stop(at_once)

    @property
    def ended(self) -> bool:
        """Whether it ran and has ended."""
        return self.process is not None and self.process.poll() is not None

    def ending(self, finished: bool) -> str:
        """Return ``done``, ``stopped`` or ``failed``; what was never started counts as stopped.

        Args:
            finished: whether the run has all its frames.
        """
        code = None if self.process is None else self.process.poll()
        if code == 0:
            return "done" if finished else "stopped"
        return "stopped" if code is None or (self.interrupted and code != _REFUSED) else "failed"

    def last_lines(self, count: int = 1) -> list[str]:
        """Return the last lines that it printed; of a job that never came so far, what its executor kept."""
        more = None if self.process is None else self.process.log
        for file in (self.log, more):
            if file is not None and file.exists():
                lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
                if said := [line.rstrip() for line in lines if line.strip()]:
                    return said[-count:]
        return []

    def last_words(self) -> str:
        """Return the last line that it printed."""
        return "".join(self.last_lines()).strip()


class Executor(Protocol):
    """Where jobs run."""

    def room(self, n_running: int) -> int:
        """Return how many more may be started."""

    def start(self, jobs: Sequence[Job]) -> None:
        """Give each job its process."""

    @property
    def lasts(self) -> bool:
        """Whether jobs go on without this process, and a closed terminal is no reason to stop them."""


class Source(Protocol):
    """Who has the jobs."""

    def take(self, count: int) -> Sequence[Job]:
        """Return at most so many jobs to start now."""

    def look(self, running: Sequence[Job]) -> None:
        """See how far those are that run."""

    def ended(self, job: Job) -> None:
        """Take note of a job that has ended."""


class StopSignals:
    """Hands a signal that asks for a stop on to the jobs: each finishes its batch and saves.

    A second Ctrl-C ends them at once; each keeps its last checkpoint. Where jobs last without this process, only Ctrl-C
    stops them; at any other signal they are left alone.
    """

    def __init__(self, lasts: bool = False) -> None:
        self.asked = False
        self.left = False
        """Whether the jobs go on alone."""
        self.running: list[Job] = []
        self._lasts = lasts
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
        """Interrupt every running job, unless they are left alone."""
        for job in () if self.left else self.running:
            job.interrupt(at_once)

    def __exit__(self, *error: object) -> None:
        self._signals.give_back()


def command_line(words: Sequence[str], wandb: str | None) -> list[str]:
    """Return the command that trains one run; what lies in the current folder is not imported."""
    more = [] if wandb is None else ["--wandb", wandb]
    return [sys.executable, "-P", "-m", "hetrl", "train", *words, *more]


def n_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_side_by_side(source: Source, executor: Executor, stop: StopSignals) -> None:
    """Run jobs until none is left, or a stop was asked for and all have ended."""
    try:
        while True:
            fresh = [] if stop.asked else source.take(executor.room(len(stop.running)))
            if fresh:
                stop.running += fresh
                executor.start(fresh)
                if stop.asked:  # while they were being started
                    stop.forward()
            if stop.left or not stop.running:
                break
            time.sleep(_POLL)
            source.look(stop.running)
            for job in [job for job in stop.running if job.ended]:
                stop.running.remove(job)
                source.ended(job)
    finally:
        stop.forward()  # nothing goes on alone
