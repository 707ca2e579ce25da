"""One folder, one writer: a lock of the operating system, which ends with the process that holds it."""

import errno
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from hetrl.disk import writes
from hetrl.errors import RunError

NAME = ".lock"
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Keep other processes from writing into a folder for as long as this lasts; whoever reads is not kept out.

    Args:
        folder: is made where it is missing, and removed again where nothing was put into it.

    Raises:
        RunError: somebody else writes into it; or no lock can be written there.
    """
    with writes(folder):
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        file = _taken(folder / NAME, folder)
    try:
        yield
    finally:
        with suppress(OSError):
            if os.name == "posix":  # elsewhere an open file cannot be removed
                (folder / NAME).unlink(missing_ok=True)
        file.close()
        if new:
            with suppress(OSError):
                folder.rmdir()


def _taken(path: Path, folder: Path) -> IO[str]:
    """Return the file, locked, and saying who holds it."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            _lock(file, folder)
            if os.name == "posix" and not _is_there(file, path):  # its holder removed it, between the two
                file.close()
                continue
            file.seek(0)
            file.truncate()
            now = datetime.now().astimezone().isoformat(" ", "seconds")
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {now}")
            file.flush()
        except BaseException:
            file.close()
            raise
        return file


def _is_there(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock(file: IO[str], folder: Path) -> None:
    try:
        _ask(file.fileno())
    except OSError as error:
        if error.errno in _HELD:
            file.seek(0)
            who = file.read(200).strip() or "another process"
            raise RunError(f"{folder} is being written by {who}; wait for it, or stop it.") from None
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        warnings.warn(f"{folder} lies on a disk without locks: two writers in it would not be noticed.", stacklevel=6)


if sys.platform == "win32":
    import msvcrt

    def _ask(number: int) -> None:
        os.lseek(number, 1 << 30, os.SEEK_SET)  # far behind the text, which stays readable
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _ask(number: int) -> None:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
