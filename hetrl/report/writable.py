"""Where a picture or a page is to be written: what cannot be is said before the work, not after it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hetrl.disk import replaced, writes
from hetrl.errors import RunError

PICTURES = (".png", ".pdf", ".svg")
PAGES = (".html", ".htm")


def check_writable(path: Path, suffixes: Sequence[str]) -> None:
    """Make sure that a file can be written.

    Args:
        path: the file; folders above it may be missing.
        suffixes: what its name may end in.

    Raises:
        RunError: it ends in something else, or is a folder, or one above it is no folder or is closed to us.
    """
    if path.suffix.lower() not in suffixes:
        raise RunError(f"{path} cannot be written: its name must end in {' or '.join(suffixes)}.")
    if path.is_dir():
        raise RunError(f"{path} cannot be written: it is a folder.")
    above = next(each for each in path.absolute().parents if each.exists())
    if not above.is_dir():
        raise RunError(f"{path} cannot be written: {above} is no folder.")
    if not os.access(path if path.exists() else above, os.W_OK):
        raise RunError(f"{path} cannot be written: permission denied.")


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Yield the name of a file to write, which then takes the place of ``path``; say where that fails.

    Folders above are made. A file that was there stays until the new one is whole.

    Raises:
        RunError: it cannot be written.
    """
    with writes(path), replaced(path) as half:
        yield half
