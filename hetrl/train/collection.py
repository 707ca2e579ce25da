"""The data of a run, as Lightning iterates over them: collection after collection."""

from collections.abc import Iterator
from typing import Any

import lightning as L
import torch

from hetrl.data.collected import Collected, Source, take_over
from hetrl.ranks import ALONE, Rank
from hetrl.train.suited import StaysHere


class Collection(StaysHere, L.LightningDataModule):
    """The collections of a run, epoch after epoch: an epoch is the stretch between two evaluations.

    Its state (simulator, noise, episodes, replay) goes into Lightning's checkpoint.

    Frames are counted over all processes of the run, and each collects its part of them.

    Args:
        source: what collects.
        frames: of the whole run.
        every: frames from one evaluation to the next; None where there are none, and the run is a single stretch.
        rank: which of the run's processes this is.
    """

    def __init__(self, source: Source, frames: int, every: int | None = None, rank: Rank = ALONE) -> None:
        super().__init__()
        self.source, self.frames, self.every, self.rank = source, frames, every, rank
        self.collected = 0
        self.n_batches = 0

    @property
    def device(self) -> torch.device:
        """Where the batches are made."""
        return self.source.device

    def train_dataloader(self) -> "Batches":
        """Return the batches: there is nothing to load in workers, and nothing to copy."""
        return Batches(self)

    def val_dataloader(self) -> Any:
        """Return what the module gives, which evaluates; Lightning asks the data alone where there are any."""
        return self._module.val_dataloader()

    def test_dataloader(self) -> Any:
        """Return what the module gives."""
        return self._module.test_dataloader()

    @property
    def _module(self) -> L.LightningModule:
        assert self.trainer is not None
        return self.trainer.lightning_module

    @property
    def _end(self) -> int:
        """The frames at which this stretch ends: the next multiple of ``every``, or the run's end."""
        return self.frames if self.every is None else min((self.collected // self.every + 1) * self.every, self.frames)

    def __len__(self) -> int:
        """How many batches the rest of the stretch takes."""
        return self.source.n_collections(-(-max(self._end - self.collected, 0) // self.rank.count))

    def __iter__(self) -> Iterator[Collected]:
        """Collect batch after batch until the stretch ends."""
        end = self._end
        while self.collected < end:
            batch = self.source.collect()
            self.collected += batch.frames * self.rank.count
            self.n_batches += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return what an exact continuation needs."""
        saved = {"collected": self.collected, "n_batches": self.n_batches, "source": self.source.state_dict()}
        return saved if self.rank == ALONE else {**saved, "ranks": self.rank.saved}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state; from that of other processes, with this one's part of what they have stored."""
        self.collected, self.n_batches = state_dict["collected"], state_dict["n_batches"]
        if self.rank.saved == state_dict.get("ranks", ALONE.saved):
            self.source.load_state_dict(state_dict["source"])
        else:
            take_over(self.source, state_dict.get("sources", [state_dict["source"]]), self.rank)


class Batches:
    """What Lightning iterates over, with an empty state: the collection's, in the checkpoint already, is not repeated.

    It has one at all because Lightning takes what has none for something that cannot be continued.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def __len__(self) -> int:
        """How many batches the rest of the stretch takes.

        Without a length Lightning would collect a batch ahead, with policies that lack the update before it.
        """
        return len(self._collection)

    def __iter__(self) -> Iterator[Collected]:
        """Collect batch after batch until the stretch ends."""
        return iter(self._collection)

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: see above."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing, also with the whole state that earlier versions repeated here."""
