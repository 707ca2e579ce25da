"""Standardised advantages."""

from jaxtyping import Bool, Float
from torch import Tensor

from hetrl import ranks
from hetrl.arguments import Positive
from hetrl.component import Component
from hetrl.ops.moments import moments


class Standardize(Component):
    """Zero mean and unit deviation over the batch.

    (A - mean A) / (std A + eps),   std of the population

    The statistics are taken over all rows, and applied to all. Nothing writes the key ``active`` of itself: to leave an
    agent's inactive rows out of its statistics of the team's advantage, name its mask and a key of its own, ``reads:
    {active: agent.active}`` with ``writes: {advantage: agent.advantage}``. Of an advantage that is the agent's own they
    are left out anyway. Advantages (1, 3) become (-1, 1), up to eps.

    Args:
        eps: added to the deviation [reward], above 0.
    Source: Andrychowicz et al. 2021, arXiv:2006.05990 (choice C67); eps as in the reference code of Zhong et al. 2024.
    Differs: the statistics are the whole batch's, as in the reference code, and not each minibatch's. Where agents
        share a network and run as one, they are taken over all of these agents.
    """

    reads = {"advantage": "advantage", "active": "active"}
    writes = {"advantage": "advantage"}
    follows = {"active": "advantage"}

    def __init__(self, *, eps: Positive = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def compute(
        self, advantage: Float[Tensor, "*batch"], active: Bool[Tensor, "*batch"] | None = None
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return the standardised ``advantage`` [1]."""
        mean, std = moments(advantage, active, ranks.gathering())
        return {"advantage": (advantage - mean) / (std + self.eps)}
