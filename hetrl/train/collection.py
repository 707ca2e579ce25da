"""The data object: collected batches as Lightning iterates over them."""

from collections.abc import Iterator
from typing import Any

import lightning as L
import torch
from tensordict import TensorDict

from hetrl.data.on_policy import OnPolicy


class Collection(L.LightningDataModule):
    """The batches of a run; its state (simulator, noise, running episodes) goes into Lightning's checkpoint."""

    def __init__(self, source: OnPolicy, frames: int) -> None:
        super().__init__()
        self.source, self.frames = source, frames
        self.collected = 0

    @property
    def device(self) -> torch.device:
        """Where the batches are made."""
        return self.source.device

    def train_dataloader(self) -> "Collection":
        """Return the batches themselves; nothing to load in workers, and no copy."""
        return self

    def __len__(self) -> int:
        """How many batches the run takes; without a length Lightning would fetch one batch ahead, one update stale."""
        return -(-self.frames // self.source.frames)

    def __iter__(self) -> Iterator[TensorDict]:
        """Collect batch after batch until the run's frames are done."""
        while self.collected < self.frames:
            batch = self.source.collect()
            self.collected += batch.numel()
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return what an exact continuation needs."""
        return {"collected": self.collected, "source": self.source.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state."""
        self.collected = state_dict["collected"]
        self.source.load_state_dict(state_dict["source"])
