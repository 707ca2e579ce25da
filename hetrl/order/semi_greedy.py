"""The greatest advantage next, and then anybody."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hetrl.component import Component
from hetrl.order import sizes


class SemiGreedy(Component):
    """One member a round: in rounds 0, 2, ... that of the greatest advantage, in rounds 1, 3, ... any of the rest.

    i_m = argmax over the rest of mean |A_i| for even m,   drawn uniformly from the rest for odd m

    The greedy half takes the agent with most to gain first, the random half keeps the others from always waiting.
    Agents need an advantage of their own, as from a value of their own. It is the one from before the sweep. With mean
    sizes 1, 3 and 2 the second agent comes first, and then the first or the third.

    Args: none. It draws from a generator of its own, which the run seeds and whose state is part of ``state_dict``.

    Raises:
        RecipeError: it is asked to put groups in order.
    Source: Wang et al. 2023, arXiv:2302.06205 (the semi-greedy rule).
    Differs: as ``order/greedy``.
    """

    reads = {"members": "members", "advantage": "agents.advantage"}
    writes = {"round": "round"}

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator()

    def compute(
        self, members: Int[Tensor, " n"], advantage: tuple[Float[Tensor, "*batch"], ...]
    ) -> dict[str, Int[Tensor, " n"]]:
        """Return the round in which each of ``members`` is updated."""
        size, n = sizes(members, advantage), len(members)
        drawn = torch.rand(n, generator=self.generator).to(size)
        rounds = torch.zeros(n, dtype=torch.long, device=size.device)
        left = torch.ones(n, dtype=torch.bool, device=size.device)
        for number in range(n):
            # The greatest of a row of independent draws is any of the rest; nothing here waits for a device.
            taken = torch.where(left, drawn if number % 2 else size, -torch.inf).argmax(keepdim=True)
            rounds = rounds.scatter(0, taken, number)
            left = left.scatter(0, taken, False)
        return {"round": rounds}

    def get_extra_state(self) -> Tensor:
        """Return the generator's state."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Continue from a generator's state."""
        self.generator.set_state(state.cpu())
