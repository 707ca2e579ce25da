"""The sum of the agents' utilities."""

from jaxtyping import Bool, Float
from torch import Tensor

from hetrl.component import Component
from hetrl.ops.utilities import present


class SumOfUtilities(Component):
    """What the agents do together is worth what each does, added up.

    q_total = sum_i u_i

    With utilities 1, 2 and 4 it is 7; with the second agent out of its episode, 5.

    Source: Sunehag et al. 2017, arXiv:1706.05296, equation 1.
    Differs: an agent that is out counts 0, whatever an environment lets it do.
    """

    reads = {"utility": "agents.chosen_utility", "active": "agents.active"}
    writes = {"q": "q_total"}

    def compute(
        self,
        utility: tuple[Float[Tensor, "*batch"], ...],
        active: tuple[Bool[Tensor, "*batch"], ...] | None = None,
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``q`` of the utilities together [reward]."""
        first, *others = present(utility, active)
        return {"q": sum(others, first)}
