"""A turn's loss and gradient as work that is recorded once and played minibatch by minibatch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hetrl.engine.linked import Linked
from hetrl.engine.objective import Derivative, Evaluated, compiled
from hetrl.engine.program import Agents, Program, Programs, Values
from hetrl.engine.store import Store
from hetrl.graph import Held, Played
from hetrl.recipe.schema import Phase

KeyCounts = tuple[tuple[tuple[str, int], ...], ...]
"""Of each lane its keys, and how many tensors each has; 0 for one that is no tuple."""


@dataclass(frozen=True)
class Quick:
    """Makes the loss and gradient of a phase's turns quicker, or leaves them as they are."""

    phase: Phase
    linked: Linked
    compile: bool
    """Whether they become one graph of torch's compiler."""
    play: bool
    """Whether they are recorded once and played."""

    def __call__(self, derivative: Derivative) -> Callable[[list[Values]], Evaluated]:
        """Return what evaluates a derivative."""
        run = compiled(derivative) if self.compile else derivative
        return PlayedDerivative(derivative, run, self._besides, self.phase.where) if self.play else run

    def programs(self, programs: Programs) -> Sequence[tuple[Agents, Any]]:
        """Return programs that run outside of minibatches, played if they are to be."""
        if not self.play:
            return programs
        besides, where = self._besides, self.phase.where
        return [
            (lane, PlayedProgram(program, besides, where) if program.reads and program.writes else program)
            for lane, program in programs
        ]

    @property
    def _besides(self) -> list[nn.Module]:
        return [] if self.linked.statistics is None else [self.linked.statistics]


class PlayedProgram:
    """A program that reads and writes, recorded for each shape of a batch; it runs on a store as the program does.

    Args:
        program: what runs.
        besides: modules whose buffers are read as well.
        where: place of the phase in the recipe.
    """

    def __init__(self, program: Program, besides: Sequence[nn.Module], where: str) -> None:
        self._program, self._what = program, f"run.graphs: {where}"
        self._reads = Held([program, *besides])
        self._played: dict[KeyCounts, Played] = {}
        self._counts: tuple[int, ...] = ()

    def run(self, store: Store, lane: Agents) -> None:
        """Run on a store: read the lane's inputs, and write the outputs back."""
        values = self._program.gather(store, lane)
        if not values:  # what it may read is not there
            self._program.run(store, lane)
            return
        words = words_of([values])
        if words not in self._played:
            self._played[words] = Played(partial(self._evaluate, words), self._reads, self._what)
        found = self._played[words](parts_of([values]))
        fresh = [torch.empty_like(result) for result in found]
        torch._foreach_copy_(fresh, list(found))
        left = iter(fresh)
        for key, count in zip(self._program.writes, self._counts, strict=True):
            store.write(key, lane, tuple(next(left) for _ in range(count)) if count else next(left))

    def _evaluate(self, words: KeyCounts, given: Sequence[Tensor]) -> list[Tensor]:
        """Return what the program writes, one tensor after the other."""
        values = self._program(lanes_of(words, given)[0])
        written = [values[key] for key in self._program.writes]
        self._counts = tuple(len(value) if isinstance(value, tuple) else 0 for value in written)
        return [part for value in written for part in (value if isinstance(value, tuple) else (value,))]


class PlayedDerivative:
    """A derivative that is recorded for each size of a minibatch, see :class:`~hetrl.graph.Played`.

    The gradients that it returns are overwritten by its next call; figures are the caller's.

    Args:
        derivative: evaluates the loss, its means and the gradient.
        run: the same, perhaps compiled.
        besides: modules whose buffers are read as well.
        where: place of the phase in the recipe.
    """

    def __init__(
        self,
        derivative: Derivative,
        run: Callable[[list[Values]], Evaluated],
        besides: Sequence[nn.Module],
        where: str,
    ) -> None:
        self._run, self._where = run, where
        self._reads = Held([derivative, *besides])
        self._made: dict[KeyCounts, _Flat] = {}

    def __call__(self, lanes: list[Values]) -> Evaluated:
        """Return what the derivative returns."""
        words = words_of(lanes)
        flat = self._made.get(words)
        if flat is None:
            flat = self._made[words] = _Flat(self._run, words, self._reads, f"run.graphs: {self._where}")
        return flat(lanes)


class _Flat:
    """A derivative on lanes of certain keys as a function from tensors to tensors."""

    def __init__(
        self,
        run: Callable[[list[Values]], Evaluated],
        words: KeyCounts,
        reads: Callable[[], Sequence[Tensor]],
        what: str,
    ) -> None:
        self._run, self._words = run, words
        self._played = Played(self._evaluate, reads, what)
        self._means: list[str] = []
        self._reached: list[bool] = []

    def __call__(self, lanes: list[Values]) -> Evaluated:
        loss, means, *gradients = self._played(parts_of(lanes))
        left = iter(gradients)
        named = dict(zip(self._means, means.clone().unbind(), strict=True))
        return loss, named, tuple(next(left) if reached else None for reached in self._reached)

    def _evaluate(self, given: Sequence[Tensor]) -> list[Tensor]:
        """Return the loss, the means as one vector, and the gradients that there are."""
        loss, means, gradients = self._run(lanes_of(self._words, given))
        self._means, self._reached = list(means), [gradient is not None for gradient in gradients]
        return [loss, torch.stack(list(means.values())), *(each for each in gradients if each is not None)]


# ----- lanes as a list of tensors


def words_of(lanes: Sequence[Values]) -> KeyCounts:
    """Return what the tensors of lanes are."""
    return tuple(
        tuple((key, len(value) if isinstance(value, tuple) else 0) for key, value in lane.items()) for lane in lanes
    )


def parts_of(lanes: Sequence[Values]) -> list[Tensor]:
    """Return the tensors of lanes, one after the other."""
    values = (value for lane in lanes for value in lane.values())
    return [part for value in values for part in (value if isinstance(value, tuple) else (value,))]


def lanes_of(words: KeyCounts, given: Sequence[Tensor]) -> list[Values]:
    """Return lanes from their tensors."""
    parts = iter(given)
    return [
        {key: tuple(next(parts) for _ in range(count)) if count else next(parts) for key, count in lane}
        for lane in words
    ]
