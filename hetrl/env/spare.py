"""A second simulator of the same size, freshly reset, from which finished rows are copied."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hetrl.env.settled import FixedPlaces
from hetrl.env.simulator_state import Footprint, KeyPath, copy_shared, restore, snapshot
from hetrl.graph import Played
from hetrl.rng import Stream
from hetrl.team import Grouped

FRESH_FOR = 8
"""Steps that a spare serves where the host does not ask the device which of its rows are used up."""


class Spare:
    """The spare, and when and how it is reset in full.

    Args:
        simulator: of as many rows, in which a first step was taken.
        footprint: what its reset writes.
        observe: gives its observations.
        stream: from which it draws.
        first: see :func:`~hetrl.env.simulator_state.walk`.
    """

    def __init__(
        self,
        simulator: Any,
        footprint: Footprint,
        observe: Callable[[Any], Grouped],
        stream: Stream,
        first: tuple[KeyPath, ...],
    ) -> None:
        self.simulator, self.footprint = simulator, footprint
        self.captured: Any = None
        """Its resets, captured (see :class:`~hetrl.env.capture.resets.Resets`); None where they are not."""
        self._observe, self._stream, self._first = observe, stream, first
        device = stream.device
        self.fresh = torch.zeros(simulator.num_envs, dtype=torch.bool, device=device)
        """``[N]`` bool, rows not handed out since the last full reset."""
        self.observation: Grouped = {}
        self.age = FRESH_FOR
        """Resets that it has served since the last full one. It is the host's: nothing that is recorded reads it."""
        self._settled = FixedPlaces([(0, *path) for path in first])
        self._played = Played(self._reset_in_place, self._touched, "task.capture: a spare's reset")

    def is_used_up(self, horizon: int) -> bool:
        """Whether it has to be reset before it serves once more, by a schedule: the host asks nothing."""
        self.age += 1
        return self.age >= min(FRESH_FOR, horizon)

    def refresh(self, running: Any) -> None:
        """Reset it in full. What all rows share stays as the running simulator has it."""
        if not (self._is_played() or self._is_captured()):
            with self._stream:
                self.simulator._reset(return_observations=False)
                copy_shared(self.footprint.shared, running, self.simulator, self._first)
                self.observation = self._observe(self.simulator)
            self._settled.loosen()
        self.fresh.fill_(True)
        self.age = 0

    def _is_played(self) -> bool:
        """Reset it by what was recorded, or record that; False where a step of it would have to be asked about."""
        if self.captured is None or self.captured.way is None or self._played.refused is not None:
            return False
        self.settle()
        with self._stream:  # a recording draws on from where the stream is
            self._played([self.fresh])
        return True

    def _reset_in_place(self, given: Sequence[Tensor]) -> list[Tensor]:
        try:
            self.observation, _, _ = self.captured.step({})
            self.settle()
        except BaseException:
            self.settle(self._settled.put_back)
            raise
        return [torch.ones_like(given[0])]

    def _touched(self) -> list[Tensor]:
        return [*self._settled.places, *self.captured.notes]

    def _is_captured(self) -> bool:
        outcome = None if self.captured is None else self.captured.step({})
        if outcome is None:
            return False
        self.observation = outcome[0]
        self._settled.loosen()
        return True

    @property
    def places(self) -> list[Tensor]:
        """All tensors that it has."""
        return [*self._settled.places, self.fresh]

    def settle(self, how: Callable[[Any], None] | None = None) -> None:
        """Put all that it holds into its places; or do something else with it."""
        held = {"simulator": self.simulator, "observation": dict(self.observation)}
        (how or self._settled.settle)(held)
        self.observation = held["observation"]

    def forget(self) -> None:
        """Begin anew with the next reset: what all rows share has been drawn."""
        self.fresh.fill_(False)
        self.age = FRESH_FOR
        if self.captured is not None:
            self.captured.loosen()

    # ----- exact continuation

    def state_dict(self) -> dict[str, Any]:
        """Return all that its next resets depend on, but for the stream."""
        return {
            "simulator": snapshot(self.simulator, self._first),
            "fresh": self.fresh.clone(),
            "age": self.age,
            "observation": {group: value.clone() for group, value in self.observation.items()},
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from a state."""
        restore(self.simulator, saved["simulator"], self.fresh.device)
        self.fresh.copy_(saved["fresh"])
        self._settled.loosen()
        self.age = saved.get("age", FRESH_FOR)  # earlier checkpoints, and those of a CPU, have no schedule
        self.observation = {
            name: value.to(self.fresh.device, copy=True) for name, value in saved["observation"].items()
        }
        if self.captured is not None:
            self.captured.loosen()
