"""What a job of a cluster does: it trains one run as a process of its own, and saves and queues again before its end.

Nothing heavy is imported: the job only watches.
"""

import csv
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from hetrl.disk import replace_text
from hetrl.runs.parent import followed

_POLL = 0.2
_SIGNALS = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT")
"""Whatever says that the job's time is up; submitit's own is USR2, and it has SIGTERM ignored."""


@dataclass(frozen=True)
class JobFiles:
    """The files beside a run by which its job and whoever started it know of each other."""

    run: Path

    @property
    def number(self) -> Path:
        """The job's number, while it is queued or runs."""
        return self.run.with_name(f"{self.run.name}.job")

    @property
    def code(self) -> Path:
        """The exit code, once it has ended by itself."""
        return self.run.with_name(f"{self.run.name}.code")

    @property
    def stop(self) -> Path:
        """Its presence asks the job to save and end, and not to queue again."""
        return self.run.with_name(f"{self.run.name}.stop")

    def clear(self) -> None:
        """Remove them."""
        for file in (self.number, self.code, self.stop):
            file.unlink(missing_ok=True)


@dataclass
class Job:
    """Is handed to the cluster and called there.

    Called again after it was queued again, it goes on from the run's checkpoint.
    """

    run: Path
    log: Path
    new: list[str]
    """The command that starts the run."""
    on: list[str]
    """The command that goes on from its checkpoint."""
    frames: int
    environment: dict[str, str] = field(default_factory=dict)
    """More of the process's."""

    def __call__(self) -> int:
        """Train until the end, or until a signal comes, and return the exit code."""
        files, asked = JobFiles(self.run), self._listen()
        process = self._start()
        told = False
        while process.poll() is None:
            if not told and (asked or files.stop.exists()):
                told = True
                process.send_signal(signal.SIGTERM)
            time.sleep(_POLL)
        code = process.returncode
        if asked and not files.stop.exists() and self._frames_logged() < self.frames:
            _queue_again()  # and does not come back where that is possible
        replace_text(files.code, f"{code}\n")
        return code

    def _listen(self) -> list[int]:
        """Take the signals over, from submitit, and return the list that they are put into."""
        asked: list[int] = []

        def note(number: int, frame: FrameType | None) -> None:
            asked.append(number)

        for name in _SIGNALS:
            signal.signal(getattr(signal, name), note)
        return asked

    def _start(self) -> "subprocess.Popen[Any]":
        command = self.on if (self.run / "checkpoints" / "last.ckpt").exists() else self.new
        given, environment = followed()
        environment |= {"COLUMNS": "200", "PYTHONIOENCODING": "utf-8", **self.environment}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=given,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                # Some clusters send a job's signals to all of its processes, and this one would end a run unsaved.
                preexec_fn=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),
            )

    def _frames_logged(self) -> float:
        """Return the frames of the last row of the metrics: a run that stops has saved after that."""
        try:
            with (self.run / "metrics.csv").open(encoding="utf-8", newline="") as file:
                return max((float(row["frames"]) for row in csv.DictReader(file)), default=0)
        except (OSError, KeyError, ValueError):  # it ended before the first one, or while one was written
            return 0


def _queue_again() -> None:
    """Put the job back into Slurm's queue, and wait for the end that this is; return where there is no Slurm."""
    number = os.environ.get("SLURM_JOB_ID")
    if number is None:
        return
    try:
        subprocess.run(["scontrol", "requeue", number], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"job {number} cannot be queued again: {error}", flush=True)
        return
    while True:
        time.sleep(60)
