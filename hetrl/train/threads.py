"""How many CPU threads torch uses: those of the recipe while it is built and trained, the user's own otherwise."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import lightning as L
import torch


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Let torch use ``count`` threads inside, and as many as before afterwards; None changes nothing."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before)


class FitThreads(L.Callback):
    """Keeps :func:`cpu_threads` for as long as a fit takes, also where it ends with an error."""

    def __init__(self, count: int | None) -> None:
        self._count = count
        self._held = ExitStack()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Take the threads."""
        self._held.enter_context(cpu_threads(self._count))

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give them back."""
        self._held.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Give them back: Lightning calls no teardown where a fit raises."""
        self._held.close()
