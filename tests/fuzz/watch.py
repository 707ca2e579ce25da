"""What a case must not do: run code, write a file, or take for ever. Looked at from outside, while it runs."""

import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fuzz.values import EVIL

CPU_SECONDS, WALL_SECONDS = 5, 60
"""A case takes at most so long; by the wall's clock more, since other processes may have the cores."""
_MORE_MEMORY = 6 * 2**30
"""Bytes that a case may ask for; more is refused by the system, as on a small machine."""
_RUNS = {"os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen", "socket.connect"}
_CHANGES = {"os.remove", "os.rename", "os.rmdir", "os.truncate", "os.chmod", "os.link", "os.symlink", "os.mkdir"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class HangError(BaseException):
    """A case took too long; not an Exception, so that nothing takes it for one of its own."""


class _Watched:
    """Switched on while a case runs; a hook of Python's stays for the life of the process."""

    def __init__(self) -> None:
        self.on = False
        self.allowed: Path | None = None
        self.found: list[str] = []
        self.hooked = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in _RUNS or (event == "import" and EVIL in str(arguments[0])):
            self.found.append(f"{event} {arguments!r}")
        elif event == "compile" and isinstance(arguments[0], (str, bytes)) and EVIL in str(arguments[0]):
            self.found.append(f"compile {arguments[0]!r}")
        elif event in _CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING):
            self._written(arguments[0])

    def _written(self, path: Any) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        where = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (it follows no links)
        own = self.allowed is not None and where.startswith(tempfile.gettempdir())  # Lightning saves by way of it
        if not own and not where.startswith("/dev/") and "__pycache__" not in where and "matplotlib" not in where:
            self.found.append(f"wrote {where}")


_WATCHED = _Watched()


@contextmanager
def watched(allowed: Path | None = None) -> Iterator[list[str]]:
    """Watch what happens inside, and yield the list of what should not have.

    Args:
        allowed: a folder in which files may be written; left out, none may.

    Raises:
        HangError: it takes too long.
    """
    if not _WATCHED.hooked:
        sys.addaudithook(_WATCHED)
        _WATCHED.hooked = True

    def stop(number: int, frame: Any) -> None:
        raise HangError(f"more than {CPU_SECONDS} s")

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, CPU_SECONDS), (signal.SIGALRM, signal.ITIMER_REAL, WALL_SECONDS))
    before = {number: signal.signal(number, stop) for number, _, _ in timers}
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_used() + _MORE_MEMORY, limits[1]))
    _WATCHED.on, _WATCHED.allowed, _WATCHED.found = True, allowed, []
    try:
        for _, timer, seconds in timers:
            signal.setitimer(timer, seconds)
        yield _WATCHED.found
    finally:
        for number, timer, _ in timers:
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
        _WATCHED.on = False
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _used() -> int:
    """Return the bytes of address space in use."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@contextmanager
def empty_folder() -> Iterator[Path]:
    """Run in an empty folder, and go back."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)
