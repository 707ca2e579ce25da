"""A sum with one share for each agent, kept while the agents change one by one."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

OwnPart = tuple[Tensor, ...]
"""What one agent's share is made of, besides what all have in common."""


class KeptSum:
    """s_1 + ... + s_n of shares that are made agent by agent; where one has changed, only its share is made anew.

    sum' = sum - s_j + s'_j

    Where agents take turns, all but two shares are what they were in the turn before, and the whole sum in every turn
    would make a sweep quadratic in the number of agents. Once half of them have changed, or something kept has been
    written to, the sum is a fresh one. It is exact to rounding: what is taken away has been added among others.

    Whoever owns the weights says for how long they stay as they are (:meth:`keep`); nothing is kept at other times.
    """

    def __init__(self) -> None:
        self.keep(False)

    def keep(self, keep: bool) -> None:
        """Forget what is kept, and keep sums from now on or do not."""
        self._keeps = keep
        self._given: list[OwnPart] = []
        self._marks: list[tuple[tuple[object, ...], ...]] = []
        self._sum = torch.empty(0)
        self._taken: dict[int, Tensor] = {}
        """The share that was last left out, by its place: the next turn most often wants it gone for good."""

    @torch.no_grad()
    def others(
        self,
        common: Tensor,
        parts: Sequence[OwnPart],
        live: int,
        whole: Callable[[Sequence[OwnPart]], Tensor],
        share: Callable[[int, OwnPart], Tensor],
    ) -> Tensor:
        """Return the sum of all shares but one; it passes no gradient on.

        Args:
            common: what all shares are made of.
            parts: of each agent.
            live: place of the agent that is left out.
            whole: makes the sum of all shares.
            share: makes the share of the agent at a place.
        """
        # A graph keeps nothing, and neither does a call under a transform of torch.func.
        if not self._keeps or torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
            return whole(parts) - share(live, parts[live])
        given = [tuple(each.detach() if each.requires_grad else each for each in part) for part in ((common,), *parts)]
        kept = len(given) == len(self._given)
        # A part that is the very tensor from before, and not written to, is asked nothing more: parts are many.
        same = [kept and self._same(place, part) for place, part in enumerate(given)]
        marks = [self._marks[place] if same[place] else tuple(map(_mark, part)) for place, part in enumerate(given)]
        kept = kept and all(
            same[place] or tuple(map(_mark, part)) == self._marks[place] for place, part in enumerate(self._given)
        )
        moved = [place for place, now in enumerate(marks) if kept and now != self._marks[place] and place != live + 1]
        if not kept or moved[:1] == [0] or 2 * len(moved) > len(parts):
            self._given, self._marks, self._sum = given, marks, whole(given[1:])
        else:
            for place in moved:
                old = self._taken.get(place - 1)
                old = share(place - 1, self._given[place]) if old is None else old
                self._sum = self._sum - old + share(place - 1, given[place])
                self._given[place], self._marks[place] = given[place], marks[place]
        self._taken = {live: share(live, self._given[live + 1])}
        return self._sum - self._taken[live]

    def _same(self, place: int, part: OwnPart) -> bool:
        """Whether a part consists of the tensors that are kept, none of them written to since."""
        return all(
            now is old and now._version == mark[1]
            for now, old, mark in zip(part, self._given[place], self._marks[place], strict=True)
        )


def _mark(tensor: Tensor) -> tuple[object, ...]:
    """Return what tells a tensor from others, and from itself once written to, as long as it is held."""
    return tensor.data_ptr(), tensor._version, tensor.shape, tensor.stride()
