"""Runs as jobs that submitit hands to Slurm, or to its local executor."""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from signal import SIGTERM
from typing import Any, Protocol

from rich.console import Console

from hetrl.disk import replace_text
from hetrl.errors import DependencyError, RunError, nearest
from hetrl.runs.job import Job, JobFiles
from hetrl.runs.launch import SeedProcess
from hetrl.runs.local import VISIBLE, LocalProcesses
from hetrl.runs.squeue import queued

PLACES = ("local", "slurm", "submitit-local")
"""Where runs are trained: processes here, jobs of Slurm, or jobs of submitit's that run here."""
_LOOK = 5.0
"""Seconds between two questions to Slurm."""
_GONE = 2
"""Looks in a row at which a job that has left no exit code must be gone: a shared disk may be late."""
_YEAR = 60 * 24 * 365


class Queue(Protocol):
    """Jobs of one place."""

    def submit(self, job: Job, name: str) -> str:
        """Hand a job over, and return its number."""

    def there(self, number: str) -> bool:
        """Whether a job is waiting or runs."""

    def interrupt(self, number: str) -> None:
        """Send a job SIGTERM; one that waits is taken out."""

    def cancel(self, number: str) -> None:
        """End a job at once."""


class Slurm:
    """Slurm's queue, asked with ``squeue``: accounting, which a small cluster lacks, is not needed.

    Args:
        folder: of submitit's files, on a disk that all machines share.
        words: what each job asks for, submitit's or Slurm's words: ``{"partition": "gpu", "time": 240}``.

    Raises:
        RunError: the time is missing, or submitit refuses a word.
    """

    def __init__(self, folder: Path, words: Mapping[str, Any]) -> None:
        submitit = _submitit()
        refuse_without_time(words)
        try:
            self._executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=0)
        except RuntimeError as error:
            raise RunError(f"--on slurm: {error}") from None
        known = self._executor._valid_parameters()
        own = {word: value for word, value in words.items() if word in known}
        more = {word: value for word, value in words.items() if word not in known}
        self._given = {**own, **({"additional_parameters": more} if more else {})}
        self._seen: set[str] = set()
        self._looked = 0.0

    def submit(self, job: Job, name: str) -> str:
        """Hand a job over, and return its number."""
        try:
            self._executor.update_parameters(**self._given, job_name=name)
            return str(self._executor.submit(job).job_id)
        except Exception as error:  # of submitit's many kinds
            raise RunError(f"--on slurm: {name} was not taken: {' '.join(str(error).split())}") from error

    def there(self, number: str) -> bool:
        """Whether a job is waiting or runs; where Slurm does not answer, it is taken to be."""
        if time.monotonic() - self._looked > _LOOK:
            found = queued()
            if found is None:
                return True
            self._seen, self._looked = found, time.monotonic()
        return number in self._seen

    def interrupt(self, number: str) -> None:
        """Take a waiting job out; one that runs sees the file that asks it to stop."""
        _quietly("scancel", "--state=PENDING", number)

    def cancel(self, number: str) -> None:
        """End a job at once."""
        _quietly("scancel", number)


class SubmititHere:
    """The local executor of submitit: jobs as Slurm would have them, on this machine."""

    def __init__(self, folder: Path, words: Mapping[str, Any]) -> None:
        self._executor = _submitit().LocalExecutor(folder=folder, max_num_timeout=0)
        # By default it ends jobs after two minutes.
        self._executor.update_parameters(timeout_min=float(words.get("time", _YEAR)))
        self._jobs: dict[str, Any] = {}

    def submit(self, job: Job, name: str) -> str:
        """Hand a job over, and return its number."""
        found = self._executor.submit(job)
        self._jobs[str(found.job_id)] = found
        return str(found.job_id)

    def there(self, number: str) -> bool:
        """Whether a job of this process runs."""
        return number in self._jobs and self._jobs[number]._process.poll() is None

    def interrupt(self, number: str) -> None:
        """Send SIGTERM to the job's controller, which hands it on."""
        self._jobs[number]._process.send_signal(SIGTERM)

    def cancel(self, number: str) -> None:
        """End a job at once."""
        self._jobs[number].cancel()


class Submitted:
    """A job, as :class:`~hetrl.runs.launch.Process` has it.

    Args:
        queue: where it was handed to.
        number: its number there.
        run: the folder of its run.
    """

    def __init__(self, queue: Queue, number: str, run: Path) -> None:
        self.returncode: int | None = None
        self._queue, self._number, self._files, self._gone = queue, number, JobFiles(run), 0
        self._looked = 0.0

    def poll(self) -> int | None:
        """Return the exit code that the job has left; 1 where it is gone without one."""
        if self.returncode is None:
            self.returncode = self._code()
        if self.returncode is None and time.monotonic() - self._looked > 1:
            self._looked = time.monotonic()
            self._gone = 0 if self._queue.there(self._number) else self._gone + 1
            if self._gone >= _GONE:
                self.returncode = self._code()
                self.returncode = 1 if self.returncode is None else self.returncode
        if self.returncode is not None:
            self._files.clear()
        return self.returncode

    def _code(self) -> int | None:
        try:
            return int(self._files.code.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def send_signal(self, sig: int) -> None:
        """Ask the job to save and end, and not to queue again."""
        self._files.stop.touch()
        self._queue.interrupt(self._number)

    def kill(self) -> None:
        """End it at once."""
        self._files.stop.touch()
        self._queue.cancel(self._number)


class Submits:
    """Starts runs as jobs. Those of Slurm last without this process, and are found again.

    Args:
        queue: where they are handed to.
        threads: of each.
        at_once: how many may wait and run at once.
        here: deals out GPUs where jobs run on this machine; None where the cluster does.
    """

    def __init__(self, queue: Queue, threads: int, at_once: int, here: LocalProcesses | None = None) -> None:
        self.queue, self.threads, self.at_once, self._here = queue, threads, at_once, here
        self.lasts = here is None

    def say(self, console: Console) -> None:
        """Say how GPUs are dealt out."""
        if self._here is not None:
            self._here.say(console)

    def start(self, seed: SeedProcess) -> None:
        """Hand a run over."""
        gpu = None if self._here is None else self._here.gpus.deal(seed)
        files = JobFiles(seed.run)
        files.clear()
        environment = {"OMP_NUM_THREADS": str(self.threads), **({} if gpu is None else {VISIBLE: gpu})}
        new = seed.command if seed.new is None else seed.new
        on = seed.on or seed.command
        run = seed.run.resolve()
        job = Job(run, seed.log.resolve(), new, on, seed.frames, environment)
        number = self.queue.submit(job, f"hetrl {seed.title}")
        replace_text(files.number, f"{number}\n")
        seed.process = Submitted(self.queue, number, seed.run)

    def adopt(self, seed: SeedProcess) -> bool:
        """Take a job of an earlier call on that still waits or runs; whether there is one."""
        files = JobFiles(seed.run)
        if not files.number.exists():
            return False
        number = files.number.read_text().strip()
        if not self.lasts or not self.queue.there(number):
            return False
        seed.process = Submitted(self.queue, number, seed.run)
        return True


def slurm_words(texts: str | None) -> dict[str, Any]:
    """Return what ``partition=gpu,time=240`` says; numbers as numbers.

    Raises:
        RunError: it says nothing of the kind.
    """
    found: dict[str, Any] = {}
    for text in [] if texts is None else texts.split(","):
        word, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not word or not value:
            raise RunError(f"--slurm {texts}: write partition=gpu,time=240.")
        found[word.replace("-", "_")] = int(value) if value.isdigit() else value
    return found


def refuse_without_time(words: Mapping[str, Any]) -> None:
    """Refuse to leave the limit to submitit, which takes five minutes.

    Raises:
        RunError: there is none, or it is no number of minutes.
    """
    if not isinstance(words.get("time"), int):
        raise RunError(
            "--on slurm: say how many minutes a job may take, --slurm time=240; it is queued again after that."
        )


def refuse_place(place: str) -> None:
    """Refuse a place that there is not.

    Raises:
        RunError: naming those that there are.
    """
    if place not in PLACES:
        raise RunError(f"--on {place}: there is {', '.join(PLACES)}.{nearest(place, PLACES)}")


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise DependencyError("--on slurm needs submitit: pip install 'hetrl[cluster]'.") from None
    return submitit


def _quietly(*words: str) -> None:
    subprocess.run(words, capture_output=True, check=False)
