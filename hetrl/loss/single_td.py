"""The temporal-difference loss of one action value."""

from typing import Annotated

from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import SCHEDULABLE, NonNegative, Positive
from hetrl.component import Component
from hetrl.ops.huber import huber


class SingleTD(Component):
    """Squared error of one action value against its target; ``loss/td`` is for those of an ensemble.

    (q - y)^2,   or with delta h(y - q), h = Huber(delta)

    With q = 1 and y = 3 the loss is 4; with delta = 0.5 it is 0.5 * (2 - 0.25) = 0.875.

    Args:
        delta: where the Huber function turns linear [reward], above 0; left out, the plain square.
        coef: weight of the loss [1], 0 or more.
    Source: Rashid et al. 2018, arXiv:1803.11485, equation 6.
    Differs: nothing.
    """

    reads = {"q": "q_total", "target": "target"}
    writes = {"loss": "loss.td"}

    def __init__(self, *, delta: Positive | None = None, coef: Annotated[NonNegative, SCHEDULABLE] = 1.0) -> None:
        super().__init__()
        self.delta, self.coef = delta, coef

    def compute(
        self, q: Float[Tensor, "*batch"], target: Float[Tensor, "*batch"]
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [reward^2]."""
        loss = (q - target).square() if self.delta is None else huber(q, target, self.delta)
        return {"loss": self.coef * loss}
