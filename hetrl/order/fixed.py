"""A fixed sequential order."""

import torch
from jaxtyping import Int
from torch import Tensor

from hetrl.component import Component
from hetrl.errors import RecipeError


class Fixed(Component):
    """One member a round, always in the same order.

    round(order[m]) = m

    Args:
        order: the members' indices, first to last; team order where it is left out.

    Raises:
        RecipeError: ``order`` is not a permutation of the members.
    Source: the counterpart of ``order/random_permutation``; any order keeps the monotonic improvement of Kuba et al.
        2022, arXiv:2109.11251.
    Differs: nothing.
    """

    reads = {"members": "members"}
    writes = {"round": "round"}

    def __init__(self, *, order: list[int] | None = None) -> None:
        super().__init__()
        self.order = order

    def compute(self, members: Int[Tensor, " n"]) -> dict[str, Int[Tensor, " n"]]:
        """Return the round in which each of ``members`` is updated."""
        order = list(range(len(members))) if self.order is None else self.order
        if sorted(order) != list(range(len(members))):
            raise RecipeError(f"order {order} is no permutation of 0 to {len(members) - 1}.")
        return {"round": torch.tensor(order, device=members.device).argsort()}
