"""What keeps every good action within reach."""

from typing import Annotated

from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import SCHEDULABLE, NonNegative
from hetrl.component import Component


class ModeCovering(Component):
    """A forward KL towards the policy proportional to exp(Q / alpha), in the units of ``loss/soft_policy``.

    coef alpha error,   error = -E log p(x_k | x_{k+1}, o) over where good actions lead back to

    ``loss/soft_policy`` is alpha KL(pi || exp(Q / alpha) / Z) up to a constant: it leaves out a good action that nobody
    draws. Here the expectation is over the good actions, so each of them has to be likely. With alpha = 0.2, an error
    of 3 nat and coef 0.5 the loss is 0.3.

    Args:
        coef: what it counts beside the other [1], 0 or more.
    Source: Dong et al. 2025, arXiv:2502.11612 (learning where exp(Q / alpha) says); Celik et al. 2025,
        arXiv:2502.02316 (the other direction, of a chain).
    Differs: both at once, of the chain's steps back one by one.
    """

    reads = {"error": "agent.backward_error", "alpha": "agent.alpha"}
    writes = {"loss": "loss.agent.mode_covering"}

    def __init__(self, *, coef: Annotated[NonNegative, SCHEDULABLE] = 1.0) -> None:
        super().__init__()
        self.coef = coef

    def compute(
        self, error: Float[Tensor, "*batch"], alpha: Float[Tensor, "*batch"]
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [reward]."""
        return {"loss": self.coef * alpha * error}
