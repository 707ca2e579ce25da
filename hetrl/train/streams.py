"""What a process draws from while it trains: torch's own generators, numpy's and python's, and that of minibatches."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch

from hetrl import rng
from hetrl.ranks import ALONE, Rank
from hetrl.train.rank_files import taken_anew


class Streams:
    """The streams of one process of a run.

    Args:
        seed: of the run.
        rank: which process it is.
    """

    def __init__(self, seed: int, rank: Rank) -> None:
        self._seed, self._rank = seed, rank

    def of(self, *purpose: str) -> int:
        """Return the seed of what this process draws for one purpose."""
        return rng.derive(self._seed, *purpose, *self._rank.words)

    def begin(self) -> None:
        """Seed the global generators for a new run."""
        rng.seed(self.of("training"))

    def go_on(self, state: Mapping[str, Any], generator: torch.Generator, device: torch.device) -> None:
        """Draw on where a checkpoint was saved; say where it is another number of processes' or another device's.

        Args:
            state: what the module has saved.
            generator: of the minibatches.
            device: on which training goes on.
        """
        saved = state.get("ranks", ALONE.saved)
        if (saved["number"], saved["count"]) == (self._rank.number, self._rank.count):
            rng.go_on(generator, state["generator"])
            rng.restore(state["global"], device)
            _say_of_another_device(state["global"], device)
            return
        since = f"frames{state['frames']}"
        rng.seed(self.of("training", since))
        generator.manual_seed(self.of("minibatches", since))
        if self._rank.first or saved["count"] == self._rank.count:
            warnings.warn(taken_anew(saved, self._rank), stacklevel=3)


def _say_of_another_device(state: Mapping[str, Any], device: torch.device) -> None:
    """Say what does not go on exactly where the checkpoint is of another kind of device."""
    saved = rng.kind_of_device(state)
    if saved != device.type:
        warnings.warn(
            f"the checkpoint is of a run on {saved} and goes on on {device.type}: all of it is taken over but "
            "the states of the random generators, which begin anew.",
            stacklevel=4,
        )
