"""A start that fails leaves no folder that stands in the way of the next one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hetrl.errors import RunError
from hetrl.runs import parts
from hetrl.runs.folder import Folder


@contextmanager
def nothing_left(folder: Folder) -> Iterator[None]:
    """Remove what a start has written where it fails, or is ended, before anything was trained.

    Args:
        folder: in which nothing was before.
    """
    try:
        yield
    except BaseException:
        if not has_trained(folder):
            clear(folder)
        raise


def has_trained(folder: Folder) -> bool:
    """Whether there is a checkpoint in a folder, or a row after the first frames; a table that is damaged counts."""
    if any(folder.checkpoint.parent.glob("*.ckpt")):
        return True
    try:
        return folder.frames_logged() > 0
    except RunError:
        return True


def clear(folder: Folder) -> None:
    """Remove what a start writes, and nothing else."""
    with suppress(OSError):
        for file in (folder.recipe, folder.versions, folder.init, folder.metrics, folder.timings):
            file.unlink(missing_ok=True)
        own = (folder.path / "tensorboard", folder.path / "wandb", folder.path / parts.FOLDER, folder.checkpoint.parent)
        for inner in own:
            shutil.rmtree(inner, ignore_errors=True)
