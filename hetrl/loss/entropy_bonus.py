"""The entropy bonus."""

from typing import Annotated

from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import SCHEDULABLE, NonNegative
from hetrl.component import Component


class EntropyBonus(Component):
    """A reward for staying random.

    -coef H(pi(.|o))

    Entropy 2 nat with coef 0.01 gives -0.02.

    Args:
        coef: weight of the bonus [reward/nat], 0 or more.
    Source: Williams and Peng 1991; Schulman et al. 2017, arXiv:1707.06347, equation 9.
    Differs: nothing. (Until October 2024 the reference code of Zhong et al. multiplied a Gaussian's entropy by a mask
        of the wrong rank and was about a batch size too large; coefficients tuned before then do not carry over.)
    """

    reads = {"entropy": "agent.entropy"}
    writes = {"loss": "loss.agent.entropy_bonus"}

    def __init__(self, *, coef: Annotated[NonNegative, SCHEDULABLE] = 0.01) -> None:
        super().__init__()
        self.coef = coef

    def compute(self, entropy: Float[Tensor, "*batch"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [reward]."""
        return {"loss": -self.coef * entropy}
