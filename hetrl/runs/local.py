"""Runs as processes of this machine: so many at once, and GPUs dealt out among them."""

import os
from collections.abc import Sequence

from rich.console import Console

from hetrl.errors import RunError
from hetrl.runs.job import JobFiles
from hetrl.runs.launch import SeedProcess, n_cores
from hetrl.runs.squeue import queued

VISIBLE = "CUDA_VISIBLE_DEVICES"


class LocalProcesses:
    """Starts processes here; where they train on a GPU, each sees the one that has the fewest of them.

    Args:
        threads: of each.
        at_once: how many; by default as many as there are cores for their threads, and no more than one on each GPU.
        on_gpu: whether they train on a GPU, and leave it open on which.
    """

    lasts = False

    def __init__(self, threads: int, at_once: int | None = None, on_gpu: bool = False) -> None:
        self.gpus = Gpus(visible_gpus() if on_gpu else [])
        self.threads = threads
        room = max(n_cores() // threads, 1)
        self.at_once = at_once or (min(room, len(self.gpus.names)) if self.gpus.names else room)

    def say(self, console: Console) -> None:
        """Say how GPUs are dealt out, where there are any."""
        if line := self.gpus.about(self.at_once):
            console.print(line, highlight=False, soft_wrap=True)

    def adopt(self, seed: SeedProcess) -> bool:
        """None is left of an earlier call: processes end with the one that started them.

        Raises:
            RunError: Slurm has a job that trains this run, or will.
        """
        file = JobFiles(seed.run).number
        number = file.read_text().strip() if file.exists() else None
        if number is not None and number in (queued() or ()):
            raise RunError(
                f"{seed.run} is trained by job {number} of Slurm; --on slurm watches it, scancel {number} ends it."
            )
        return False

    def start(self, seed: SeedProcess) -> None:
        """Start a process."""
        gpu = self.gpus.deal(seed)
        seed.start(self.threads, {} if gpu is None else {VISIBLE: gpu})


class Gpus:
    """Deals GPUs out: the next run gets the one with the fewest that have not ended.

    Args:
        names: as ``CUDA_VISIBLE_DEVICES`` names them; none where nobody wants one.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._held: list[tuple[str, SeedProcess]] = []

    def deal(self, seed: SeedProcess) -> str | None:
        """Return the GPU of a run that is to be started; None where there is none to deal."""
        if not self.names:
            return None
        self._held = [(gpu, other) for gpu, other in self._held if not other.ended]
        taken = [gpu for gpu, _ in self._held]
        gpu = min(self.names, key=taken.count)
        self._held.append((gpu, seed))
        return gpu

    def about(self, at_once: int) -> str | None:
        """Return in a line how many runs a GPU has at once."""
        if not self.names:
            return None
        most = -(-at_once // len(self.names))
        runs, gpus = f"{most} run{'s' * (most > 1)}", f"{len(self.names)} GPU{'s' * (len(self.names) > 1)}"
        return f"{gpus}: at most {runs} on each at once, {at_once} in all (--at-once sets how many)."


def visible_gpus() -> list[str]:
    """Return the GPUs of this process, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [word.strip() for word in os.environ.get(VISIBLE, "").split(",") if word.strip()]
    return named[:count] if named else [str(number) for number in range(count)]
