"""A turn's loss and gradient as work that is recorded once and played minibatch by minibatch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hetrl.engine.linked import Linked
from hetrl.engine.objective import Derivative, Evaluated, compiled
from hetrl.engine.program import Values
from hetrl.graph import Held, Played
from hetrl.recipe.schema import Phase

Words = tuple[tuple[tuple[str, int], ...], ...]
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
        statistics = self.linked.statistics
        besides = [] if statistics is None else [statistics]
        return PlayedDerivative(derivative, run, besides, self.phase.where) if self.play else run


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
        self._made: dict[Words, _Flat] = {}

    def __call__(self, lanes: list[Values]) -> Evaluated:
        """Return what the derivative returns."""
        words = tuple(
            tuple((key, len(value) if isinstance(value, tuple) else 0) for key, value in lane.items()) for lane in lanes
        )
        flat = self._made.get(words)
        if flat is None:
            flat = self._made[words] = _Flat(self._run, words, self._reads, f"run.graphs: {self._where}")
        return flat(lanes)


class _Flat:
    """A derivative on lanes of certain keys as a function from tensors to tensors."""

    def __init__(
        self,
        run: Callable[[list[Values]], Evaluated],
        words: Words,
        reads: Callable[[], Sequence[Tensor]],
        what: str,
    ) -> None:
        self._run, self._words = run, words
        self._played = Played(self._evaluate, reads, what)
        self._means: list[str] = []
        self._reached: list[bool] = []

    def __call__(self, lanes: list[Values]) -> Evaluated:
        given = [
            part
            for lane in lanes
            for value in lane.values()
            for part in (value if isinstance(value, tuple) else (value,))
        ]
        loss, means, *gradients = self._played(given)
        left = iter(gradients)
        named = dict(zip(self._means, means.clone().unbind(), strict=True))
        return loss, named, tuple(next(left) if reached else None for reached in self._reached)

    def _evaluate(self, given: Sequence[Tensor]) -> list[Tensor]:
        """Return the loss, the means as one vector, and the gradients that there are."""
        parts = iter(given)
        lanes = [
            {key: tuple(next(parts) for _ in range(count)) if count else next(parts) for key, count in lane}
            for lane in self._words
        ]
        loss, means, gradients = self._run(lanes)
        self._means, self._reached = list(means), [gradient is not None for gradient in gradients]
        return [loss, torch.stack(list(means.values())), *(each for each in gradients if each is not None)]
