"""The latest steps of all environments, side by side, in a ring over time."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import LazyTensorStorage

from hetrl.errors import RunError


class Ring:
    """The last ``n_slots`` steps of ``N`` environments; each step takes the place of the oldest.

    A *row* is one step of one environment. Row ``slot * N + environment``, with step number ``s`` of the ring (from 0)
    in slot ``s mod n_slots``: one step later is ``N`` rows further, and the rows go around.

    Args:
        n_slots: steps that fit in.
        n_envs: environments, ``N``.
        device: where it lies; memory is taken as the rows are first written, as far as the system allows.
    """

    def __init__(self, n_slots: int, n_envs: int, device: torch.device) -> None:
        self.n_slots, self.n_envs, self.device = n_slots, n_envs, device
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._storage = LazyTensorStorage(self.n_slots, device=self.device)
        self.written = 0

    def __len__(self) -> int:
        """Rows that are stored."""
        return min(self.written, self.n_slots) * self.n_envs

    def write(self, step: TensorDictBase) -> None:
        """Store a step of every environment, ``[N]``; its keys, sizes and types are those of the first one."""
        self._set(self.written % self.n_slots, step)
        self.written += 1

    def cut(self) -> None:
        """Mark the newest step of every environment as ``truncated`` where it is not an end: what follows is another
        episode.
        """
        if self.written:
            newest = self._storage.get((self.written - 1) % self.n_slots)
            newest["truncated"].logical_or_(~newest["terminated"])

    def leaves(self) -> dict[tuple[str, ...], Tensor]:
        """Return what is stored by key, ``[rows, *]``, as views."""
        stored = self._storage.get(slice(None))
        return {(key,) if isinstance(key, str) else key: value.flatten(0, 1) for key, value in stored.items(True, True)}

    def window(self, rows: Tensor, n_steps: int) -> tuple[Tensor, Tensor]:
        """Return the rows of the next ``n_steps`` steps, ``[n_steps, B]``, and which of those are stored.

        Args:
            rows: where to begin, ``[B]``; the first of each window.
            n_steps: length of the windows.

        Where a step is not stored (it would come after the newest), its row is the first one again.
        """
        offset = torch.arange(n_steps, device=rows.device).unsqueeze(-1)
        newest = (self.written - 1) % self.n_slots
        stored = offset <= (newest - rows // self.n_envs) % self.n_slots
        later = (rows + offset * self.n_envs) % (self.n_slots * self.n_envs)
        return torch.where(stored, later, rows), stored

    def state_dict(self) -> dict[str, Any]:
        """Return the filled part, as a copy, and how far the ring has come."""
        filled = min(self.written, self.n_slots)
        steps = None
        if filled:
            steps = self._storage.get(slice(None)).clone().to_dict()
        return {"written": self.written, "size": [self.n_slots, self.n_envs], "steps": steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state.

        Raises:
            RunError: it comes from a ring of another size.
        """
        if state["size"] != [self.n_slots, self.n_envs]:
            raise RunError(
                f"state: saved with [steps, n_envs] = {state['size']}, this replay has {[self.n_slots, self.n_envs]}."
            )
        self.clear()
        if state["steps"] is not None:
            filled = min(state["written"], self.n_slots)
            steps = TensorDict(state["steps"], batch_size=[filled, self.n_envs])
            self._set(slice(0, filled), steps.to(self.device))
        self.written = state["written"]

    def take_over(self, states: Sequence[Mapping[str, Any]], first: int) -> None:
        """Continue from the steps of other rings, of environments side by side; what follows are other episodes.

        Args:
            states: of rings of as many steps.
            first: number of the environment, among all of theirs, with which this ring's begin.

        Raises:
            RunError: they hold more or fewer steps.
        """
        last, at = first + self.n_envs, 0
        parts: list[Any] = []
        for state in states:
            n_envs = state["size"][1]
            begin, end = max(first - at, 0), min(last - at, n_envs)
            if begin < end and state["steps"] is not None:
                filled = min(state["written"], state["size"][0])
                parts.append(TensorDict(state["steps"], batch_size=[filled, n_envs])[:, begin:end])
            at += n_envs
        joined: Any = torch.cat(parts, 1) if parts else None
        steps = joined.to_dict() if parts else None
        size = [states[0]["size"][0], self.n_envs]
        self.load_state_dict({"written": states[0]["written"], "size": size, "steps": steps})
        self.cut()

    def _set(self, slots: int | slice, steps: TensorDictBase) -> None:
        if self._storage.initialized:
            self._storage.set(slots, steps)
        else:
            with _silent("torchrl"):  # it would announce the storage in the middle of a progress bar
                self._storage.set(slots, steps)


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Hold back a logger's records."""
    logger = logging.getLogger(name)
    logger.addFilter(_nothing)
    try:
        yield
    finally:
        logger.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False
