"""Files that are written whole or not at all, and one line where the disk does not take them."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hetrl.errors import RunError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) if hasattr(errno, "EDQUOT") else (errno.ENOSPC, errno.EFBIG)


@contextmanager
def writes(path: Path) -> Iterator[None]:
    """Say in one line what the system says where a file, or something in a folder, cannot be written.

    Raises:
        RunError: it cannot be.
    """
    try:
        yield
    except OSError as error:
        what = "; make room, and try again" if error.errno in _FULL else ""
        raise RunError(f"{path} cannot be written: {error.strerror or error}{what}.") from error


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield the name of a file to write beside ``path``, which then takes its place, once it is on the disk.

    Where anything goes wrong, ``path`` stays as it was. Missing folders are made.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.stem}.part{path.suffix}")  # the suffix last: a picture's says its kind
    try:
        yield half
        sync(half)
        half.replace(path)
    except BaseException:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def replace_text(path: Path, text: str) -> None:
    """Write a text file; a kill or a full disk leaves the old one or the new one.

    Raises:
        RunError: it cannot be written.
    """
    with writes(path), replaced(path) as half:
        half.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until a folder's names are on the disk, where the system has a way to ask for it."""
    if os.name != "posix":
        return
    with suppress(OSError):  # some network file systems refuse it, and need it not
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
