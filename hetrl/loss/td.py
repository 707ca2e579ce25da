"""The temporal-difference loss."""

from typing import Annotated

from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import SCHEDULABLE, NonNegative, Positive
from hetrl.component import Component
from hetrl.ops.huber import huber


class TD(Component):
    """Squared error of every member of the ensemble against one target, summed over members.

    sum_c (q_c - y)^2,   or with delta sum_c h(y - q_c), h = Huber(delta)

    With q = (1, 3) and y = 2 the loss is 2; with delta = 0.5 it is 2 * 0.5 * (1 - 0.25) = 0.75.

    Args:
        delta: where the Huber function turns linear [reward], above 0; left out, the plain square.
        coef: weight of the loss [1], 0 or more.
    Source: Fujimoto et al. 2018, arXiv:1802.09477; Liu et al. 2024, arXiv:2306.10715.
    Differs: nothing.
    """

    reads = {"q": "q", "target": "target"}
    writes = {"loss": "loss.td"}

    def __init__(self, *, delta: Positive | None = None, coef: Annotated[NonNegative, SCHEDULABLE] = 1.0) -> None:
        super().__init__()
        self.delta, self.coef = delta, coef

    def compute(
        self, q: Float[Tensor, "members *batch"], target: Float[Tensor, "*batch"]
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [reward^2]."""
        if self.delta is None:
            return {"loss": self.coef * (q - target).square().sum(0)}
        return {"loss": self.coef * huber(q, target.expand(q.shape), self.delta).sum(0)}
