"""What a data source hands to training: how much it collected, what episodes came to, and what to update on."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from tensordict import TensorDictBase
from torch import Tensor


@dataclass
class Collected:
    """One collection. Sums and counts stay tensors: nothing here waits for the device."""

    frames: int
    """Steps taken, over all environments."""
    returns: Tensor
    """Sum of the undiscounted returns of the episodes that ended [reward], 0-d."""
    lengths: Tensor
    """Sum of their lengths [step], 0-d."""
    episodes: Tensor
    """How many ended, 0-d."""
    samples: Iterable[TensorDictBase]
    """Batches to update on, one after the other; may be drawn only when they are asked for, and only once."""

    @classmethod
    def of(cls, batch: TensorDictBase) -> "Collected":
        """Return a batch of fresh steps ``[T, N]`` as a collection with one sample: itself."""
        returns, lengths = (batch["episode", word].sum() for word in ("return", "length"))
        return cls(batch.numel(), returns, lengths, batch["done"].sum(), (batch,))

    def to(self, device: torch.device) -> "Collected":
        """Return the collection on a device; samples follow when they are drawn. Lightning asks for it."""
        if self.returns.device == device:
            return self
        figures = {word: getattr(self, word).to(device) for word in ("returns", "lengths", "episodes")}
        return replace(self, **figures, samples=(sample.to(device) for sample in self.samples))


class Source(Protocol):
    """An entry of ``data/``, bound to its environments."""

    device: torch.device

    def collect(self) -> Collected:
        """Take the next steps and return what to update on."""

    def n_collections(self, frames: int) -> int:
        """Return how many collections the next ``frames`` frames will take."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that an exact continuation needs, as tensors and primitives."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""
