"""Blocks of members, one after the other, in a random order."""

import torch
from jaxtyping import Int
from torch import Tensor

from hetrl.arguments import Count
from hetrl.component import Component


class Blocks(Component):
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

    reads = {"members": "members"}
    writes = {"round": "round"}

    def __init__(self, *, size: Count = 16) -> None:
        super().__init__()
        self.size = size
        self.generator = torch.Generator()

    def compute(self, members: Int[Tensor, " n"]) -> dict[str, Int[Tensor, " n"]]:
        """Return the round in which each of ``members`` is updated."""
        order = torch.randperm(len(members), generator=self.generator)
        return {"round": order.argsort().div(self.size, rounding_mode="floor").to(members.device)}

    def get_extra_state(self) -> Tensor:
        """Return the generator's state."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Continue from a generator's state."""
        self.generator.set_state(state.cpu())
