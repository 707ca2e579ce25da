"""A product with an input of many parts, kept while the parts change one by one."""

from collections.abc import Sequence

import torch
from torch import Tensor


class KeptProduct:
    """x W + b of an input x whose parts stand side by side; where one has changed, only its columns are multiplied.

    x' W + b = (x W + b) + (x'_j - x_j) W_j

    Where agents take turns, all but two parts of a joint critic's input are what they were in the turn before, and the
    whole product in every turn would make a sweep quadratic in the number of agents. Once most of the input has
    changed, or something kept has been written to, the product is a fresh one.

    Whoever owns the weights says for how long they stay as they are (:meth:`keep`); nothing is kept at other times. It
    cannot be seen from outside: torch's fused optimisers leave no trace in a tensor's version.
    """

    def __init__(self) -> None:
        self.keep(False)

    def keep(self, keep: bool) -> None:
        """Forget what is kept, and keep products from now on or do not."""
        self._keeps = keep
        self._given: list[Tensor] = []
        self._marks: list[tuple[object, ...]] = []
        self._product = torch.empty(0)

    def __call__(self, parts: Sequence[Tensor], weight: Tensor, bias: Tensor, live: int) -> tuple[Tensor, Tensor]:
        """Return the product, ``E rows out``, and the live part that it was made of; neither passes a gradient on.

        Args:
            parts: of the input, each ``rows size``.
            weight: ``E in out``.
            bias: ``E 1 out``.
            live: place of the part whose change is left to the caller.
        """
        given = [part.detach() if part.requires_grad else part for part in parts]
        weight, bias = weight.detach(), bias.detach()
        # A graph keeps nothing, and neither does a call under a transform of torch.func.
        if not self._keeps or torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
            return _product(given, weight, bias), given[live]
        kept = len(given) == len(self._given)
        # A part that is the very tensor from before, and not written to, is asked nothing more: parts are many.
        same = [
            kept and part is self._given[place] and part._version == self._marks[place][1]
            for place, part in enumerate(given)
        ]
        marks = [self._marks[place] if same[place] else _mark(part) for place, part in enumerate(given)]
        sizes = [part.shape[-1] for part in parts]
        kept = kept and all(
            same[place] or mark == _mark(part)
            for place, (mark, part) in enumerate(zip(self._marks, self._given, strict=True))
        )
        kept = kept and len(given[live]) == len(self._given[live])  # a last minibatch may have fewer rows
        moved = [place for place in range(len(parts)) if kept and place != live and marks[place] != self._marks[place]]
        if not kept or 2 * sum(sizes[place] for place in moved) > sum(sizes):
            self._given, self._marks, self._product = given, marks, _product(given, weight, bias)
        else:
            for place in moved:
                shift = (given[place] - self._given[place]).expand(len(weight), -1, -1)
                own = weight.narrow(1, sum(sizes[:place]), sizes[place])
                self._product = torch.baddbmm(self._product, shift, own)
                self._given[place], self._marks[place] = given[place], marks[place]
        return self._product, self._given[live]


def _product(parts: Sequence[Tensor], weight: Tensor, bias: Tensor) -> Tensor:
    return torch.baddbmm(bias, torch.cat(list(parts), -1).expand(len(weight), -1, -1), weight)


def _mark(tensor: Tensor) -> tuple[object, ...]:
    """Return what tells a tensor from others, and from itself once written to, as long as it is held."""
    return tensor.data_ptr(), tensor._version, tensor.shape, tensor.stride()
