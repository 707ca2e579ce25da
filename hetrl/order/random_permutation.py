"""The sequential permutation scheduler."""

import torch
from jaxtyping import Int
from torch import Tensor

from hetrl.component import Component


class RandomPermutation(Component):
    """One member a round, in a fresh random order every sweep.

    round = a uniformly random permutation of 0..n-1

    Args: none. The order is drawn from a generator of its own, which the run seeds and whose state is part of
        ``state_dict``, so a resumed run continues the same sequence.
    Source: Kuba et al. 2022, arXiv:2109.11251, and Zhong et al. 2024, JMLR 25, 23-0488 (the agents' order is drawn at
        random before each sweep).
    Differs: nothing.
    """

    reads = {"members": "members"}
    writes = {"round": "round"}

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator()

    def compute(self, members: Int[Tensor, " n"]) -> dict[str, Int[Tensor, " n"]]:
        """Return the round in which each of ``members`` is updated."""
        order = torch.randperm(len(members), generator=self.generator)
        return {"round": order.argsort().to(members.device)}

    def get_extra_state(self) -> Tensor:
        """Return the generator's state."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Continue from a generator's state."""
        self.generator.set_state(state.cpu())
