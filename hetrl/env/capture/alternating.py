"""A recorded function that leaves its results where its next call reads them."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hetrl.graph import Generators, Work, inline, record


class Alternating:
    """A function some of whose results are its next inputs, in two sets of places that take turns.

    What the one set leaves is read where it is by the other, without a copy. An input that lies elsewhere (a reset has
    put other tensors there) is copied. Results are the caller's once they are :meth:`taken`: they then stay as they are
    until the next call that is taken, and so do the inputs of a call whose results are not. Within a larger recording,
    see :func:`~hetrl.graph.inline`, the function is called, and its results are nobody's places.

    Args:
        function: from tensors to tensors; it writes to none of them.
        examples: inputs that it can be called with.
        feeds: number of an input -> number of the result that it is at the next call; no result feeds two.
        generators: see :func:`~hetrl.graph.record`.
    """

    def __init__(
        self, function: Work, examples: Sequence[Tensor], feeds: Mapping[int, int], generators: Generators = ()
    ) -> None:
        self._function = function
        results = [result.detach() for result in function(examples)]
        self._outputs = [[torch.empty_like(result) for result in results] for _ in range(2)]
        self._inputs = [
            [
                self._outputs[1 - turn][feeds[number]] if number in feeds else torch.empty_like(example)
                for number, example in enumerate(examples)
            ]
            for turn in range(2)
        ]
        self._recordings = []
        for inputs, outputs in zip(self._inputs, self._outputs, strict=True):
            torch._foreach_copy_(inputs, list(examples))
            self._recordings.append(record(_leaving(function, outputs), inputs, generators))
        self._turn = 0

    @torch.no_grad()
    def __call__(self, given: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the function's results, in places that the next call uses as well unless they are taken."""
        if inline():
            return self._function(given)
        inputs = self._inputs[self._turn]
        moved = [number for number, value in enumerate(given) if value is not inputs[number]]
        if moved:
            there = {inputs[number].untyped_storage().data_ptr() for number in moved}
            # What lies in a place that is about to be written to is read first.
            values = [
                value.clone() if value.untyped_storage().data_ptr() in there else value
                for value in (given[number] for number in moved)
            ]
            torch._foreach_copy_([inputs[number] for number in moved], values)
        self._recordings[self._turn].play()
        return self._outputs[self._turn]

    def taken(self) -> None:
        """Leave the latest results where they are: the next call uses the other set."""
        if not inline():
            self._turn = 1 - self._turn


def _leaving(function: Work, places: list[Tensor]) -> Work:
    """Return the function such that it leaves its results in some places."""

    def leave(given: Sequence[Tensor]) -> Sequence[Tensor]:
        torch._foreach_copy_(places, [result.detach() for result in function(given)])
        return ()

    return leave
