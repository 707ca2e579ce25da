"""Checkpoints on the disk: streamed to where they belong, with a digest that every reading checks.

The file is what ``torch.save`` writes, a zip archive, and any program that reads those reads it. The archive's comment,
at its very end, is the SHA-256 of everything before it.
"""

import hashlib
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch
from lightning.fabric.plugins import CheckpointIO

from hetrl.disk import sync_folder, writes
from hetrl.errors import RunError

Checkpoint = dict[str, Any]
_MARK = b"hetrl sha256 "
_N_HEX = 64
_COMMENT = len(_MARK) + _N_HEX
_LENGTH = _COMMENT.to_bytes(2, "little")
"""The last two bytes of an archive before its comment: how long that is."""
_END = b"PK\x05\x06"
"""How an archive's last record begins, 22 bytes before the comment."""


class CheckpointFiles(CheckpointIO):
    """How a Trainer writes and reads checkpoints; ``given`` stands for the file that a resumed run would read again."""

    def __init__(self, given: Checkpoint | None = None) -> None:
        self._given = given

    def save_checkpoint(self, checkpoint: Checkpoint, path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; ``storage_options`` may say where the one before it is kept, ``{"keep": PATH}``."""
        write(checkpoint, Path(path), **(storage_options or {}))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> Checkpoint:
        """Return the given checkpoint, once, or read one."""
        found, self._given = self._given, None
        return read(Path(path)) if found is None else found

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


def write(checkpoint: Mapping[str, Any], path: Path, keep: Path | None = None) -> None:
    """Write a checkpoint: beside its place, then onto the disk, then read again, and only then in its place.

    Args:
        checkpoint: tensors and primitives.
        path: the file; one that is there stays until the new one is found whole.
        keep: where that one is kept afterwards.

    Raises:
        RunError: it cannot be written; what was there stays.
    """
    half = path.with_name(f"{path.name}.part")
    try:
        with writes(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with half.open("wb+") as file:
                _stream(checkpoint, file)
                if not _is_whole(file):
                    raise RunError(f"{path} cannot be written: the disk gives back something else than was written.")
            if keep is not None and path.exists():
                _keep(path, keep)
            half.replace(path)
    except BaseException:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _keep(path: Path, keep: Path) -> None:
    """Give a file a second name, so that it is never without one; where there are no hard links, move it."""
    link = keep.with_name(f"{keep.name}.part")
    link.unlink(missing_ok=True)
    try:
        link.hardlink_to(path)
    except OSError:
        path.replace(keep)
    else:
        link.replace(keep)


def _stream(checkpoint: Mapping[str, Any], file: IO[bytes]) -> None:
    """Write a checkpoint and its digest, until both are on the disk."""
    sink = _Sink(file)
    try:
        torch.save(checkpoint, sink)  # type: ignore[arg-type]
    except RuntimeError:
        if sink.error is not None:  # torch says something of its own where a write fails
            raise sink.error from None
        raise
    sink.close()
    file.flush()
    os.fsync(file.fileno())
    if hasattr(os, "posix_fadvise"):  # what is read again comes from the disk, and not from memory
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class _Sink:
    """What ``torch.save`` writes to: a file, and the digest of what it gets, but for the last two bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest, self._held = file, hashlib.sha256(), b""
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        view = memoryview(content).cast("B")
        if len(view) < 2:
            held = self._held + bytes(view)
            self._put(held[:-2])
            self._held = held[-2:]
        else:
            self._put(self._held)
            self._put(view[:-2])
            self._held = bytes(view[-2:])
        return len(view)

    def flush(self) -> None:
        self._file.flush()

    def _put(self, content: Any) -> None:
        try:
            self._file.write(content)
        except OSError as error:
            self.error = self.error or error
            raise
        self._digest.update(content)

    def close(self) -> None:
        """Write the length of the comment, in place of 0, and the comment."""
        assert self._held == b"\0\0"
        self._put(_LENGTH + _MARK)
        self._file.write(self._digest.hexdigest().encode())


def _is_whole(file: IO[bytes]) -> bool | None:
    """Return whether a file's content has the digest that it names; None where it names none.

    Of three marks two have to be there: one may be damaged. The second, in another place, is left of a file cut off.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - _COMMENT - 22, 0))
    end = file.read()
    marks = (end[:4] == _END, end[20:22] == _LENGTH, end[22:-_N_HEX] == _MARK)
    if sum(marks) < 2:
        last = end.rfind(_END)
        cut = last >= 0 and end[last + 20 : last + 22] == _LENGTH
        return False if cut else None
    digest, left = hashlib.sha256(), size - _N_HEX
    file.seek(0)
    while left:
        content = file.read(min(left, 1 << 20))
        if not content:
            return False
        digest.update(content)
        left -= len(content)
    return end[-_N_HEX:] == digest.hexdigest().encode()


def read(path: Path, *, mmap: bool = False) -> Checkpoint:
    """Return a checkpoint, on the CPU, once its digest is found right.

    Args:
        path: the file.
        mmap: whether tensors stay on the disk until they are looked at.

    Raises:
        RunError: it cannot be read, or is damaged, or another program's.
    """
    try:
        with path.open("rb") as file:
            whole = _is_whole(file)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.") from error
    if whole is False:
        raise RunError(f"{path} is damaged: it is not what was written, by its digest.{way_on(path)}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except MemoryError:
        raise
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise RunError(f"{path} cannot be read as a checkpoint: {said[0].rstrip('.')}.{way_on(path)}") from error
    if not isinstance(found, dict) or "hetrl" not in found:
        raise RunError(f"{path} was not written by hetrl.")
    if whole is None:
        warnings.warn(f"{path} has no digest: nothing can tell whether it is as it was written.", stacklevel=3)
    return found


def previous(path: Path) -> Path:
    """Return where the checkpoint before one is kept."""
    return path.with_name("previous.ckpt")


def way_on(path: Path) -> str:
    """Return how to go on from the checkpoint before, where that one is whole."""
    before = previous(path)
    if before == path or not is_whole(before):
        return ""
    return f" The one before it is whole; go on from that: mv {before} {path}"


def is_whole(path: Path) -> bool:
    """Return whether a file is a checkpoint with the right digest."""
    try:
        with path.open("rb") as file:
            return _is_whole(file) is True
    except OSError:
        return False
