"""Jobs as processes of this machine, each with its threads, and with a GPU where it wants one."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hetrl.errors import RunError
from hetrl.runs.launch import Job, n_cores
from hetrl.runs.parent import followed

_VISIBLE = "CUDA_VISIBLE_DEVICES"


class LocalProcess:
    """A child of this process.

    Args:
        process: the child.
        gpu: the one it was given.
    """

    log: Path | None = None

    def __init__(self, process: "subprocess.Popen[bytes]", gpu: str | None = None) -> None:
        self.process, self.gpu = process, gpu

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""
        return self.process.poll()

    def stop(self, at_once: bool) -> None:
        """Ask it to finish its batch and save, or end it at once."""
        if at_once:
            self.process.kill()
        else:  # not SIGINT: a shell's background jobs ignore that one from birth on
            self.process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))


class LocalProcesses:
    """An executor of processes, so many at once.

    GPUs are dealt out: a job that wants one sees one alone, and no GPU has more than ``per_gpu`` jobs.

    Args:
        jobs: that are to come.
        at_once: how many at once; by default as many as there are cores for their threads, and GPUs.
        per_gpu: jobs on a GPU at once.

    Raises:
        RunError: so many at once are more than the GPUs take.
    """

    lasts = False

    def __init__(self, jobs: Sequence[Job], at_once: int | None = None, per_gpu: int | None = None) -> None:
        threads = max((job.threads for job in jobs), default=1)
        self.gpus = visible_gpus() if any(job.on_gpu for job in jobs) else []
        self._per_gpu = per_gpu or 1
        self.at_once = at_once or max(n_cores() // threads, 1)
        self._processes: list[LocalProcess] = []
        most = len(self.gpus) * self._per_gpu
        if self.gpus and self.at_once > most:
            if at_once is not None:
                raise RunError(
                    f"--at-once {at_once}: with {self._per_gpu} on each, {_count(self.gpus)} {_take(self.gpus)} {most} "
                    "runs at once; put more on each with --per-gpu."
                )
            self.at_once = most

    def about(self) -> str | None:
        """Return a line that says how GPUs are dealt out; None where none is used."""
        if not self.gpus:
            return None
        runs = "1 run" if self._per_gpu == 1 else f"{self._per_gpu} runs"
        return f"{_count(self.gpus)}, {runs} on each at once (--per-gpu)."

    def room(self, n_running: int) -> int:
        """Return how many more may be started."""
        return self.at_once - n_running

    def start(self, jobs: Sequence[Job]) -> None:
        """Start processes."""
        for job in jobs:
            job.process = self._started(job)

    def _started(self, job: Job) -> LocalProcess:
        # A session of its own: Ctrl-C in the terminal reaches this process alone, which then tells each run once.
        given, environment = followed()
        utf8 = {"PYTHONIOENCODING": "utf-8"}  # a file has the system's encoding otherwise
        gpu = self._freest() if job.on_gpu and self.gpus else None
        seen = {} if gpu is None else {_VISIBLE: gpu}
        environment = {"OMP_NUM_THREADS": str(job.threads), **environment, "COLUMNS": "200", **utf8, **seen}
        with job.log.open("ab") as log:
            process = subprocess.Popen(
                job.command, stdin=given, stdout=log, stderr=subprocess.STDOUT, env=environment, **alone()
            )
        self._processes.append(LocalProcess(process, gpu))
        return self._processes[-1]

    def _freest(self) -> str:
        """Return the GPU that has the fewest jobs now."""
        self._processes = [each for each in self._processes if each.poll() is None]
        taken = [each.gpu for each in self._processes]
        return min(self.gpus, key=taken.count)


def visible_gpus() -> list[str]:
    """Return the GPUs of this process, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [word.strip() for word in os.environ.get(_VISIBLE, "").split(",") if word.strip()]
    return named[:count] if named else [str(number) for number in range(count)]


def alone() -> dict[str, Any]:
    """Return what keeps a child out of the terminal's Ctrl-C: a session of its own; on Windows a group of processes.

    There a request to stop is Ctrl-Break, which goes to a group; SIGTERM would end it without a checkpoint.
    """
    group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", None)
    return {"start_new_session": True} if group is None else {"creationflags": group}


def _count(gpus: Sequence[str]) -> str:
    return "1 GPU" if len(gpus) == 1 else f"{len(gpus)} GPUs"


def _take(gpus: Sequence[str]) -> str:
    return "takes" if len(gpus) == 1 else "take"
