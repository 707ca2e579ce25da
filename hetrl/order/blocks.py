"""Blocks of members, one after the other, in a random order."""

from jaxtyping import Int
from torch import Tensor

from hetrl.arguments import Count
from hetrl.order.random_permutation import RandomPermutation


class Blocks(RandomPermutation):
    """A few members a round, drawn afresh every sweep; whom the last round gets is what is left.

    round(m) = floor(place of m in a uniformly random permutation / size)

    With seven members and size 3 there are rounds of 3, 3 and 1. A block of 1 is ``order/random_permutation``, one of
    all members ``order/simultaneous``: what agents of one round do not see of each other, those of the next rounds do.

    Args:
        size: members of a round, at least 1. Drawn from a generator of its own, which the run seeds and whose state is
            part of ``state_dict``, so a resumed run continues the same sequence.
    Source: between Kuba et al. 2022, arXiv:2109.11251 (in turn) and Yu et al. 2022, arXiv:2103.01955 (at once).
    Differs: both are its ends. In a round of several the monotonic improvement of a sequential sweep is given up.
    """

    def __init__(self, *, size: Count = 16) -> None:
        super().__init__()
        self.size = size

    def compute(self, members: Int[Tensor, " n"]) -> dict[str, Int[Tensor, " n"]]:
        """Return the round in which each of ``members`` is updated."""
        return {"round": super().compute(members)["round"].div(self.size, rounding_mode="floor")}
