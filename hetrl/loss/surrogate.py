"""The plain surrogate."""

from jaxtyping import Float
from torch import Tensor

from hetrl.component import Component
from hetrl.ops.ratio import ratio


class Surrogate(Component):
    """The joint advantage, weighted by the agents already updated and by the ratio of the agent in turn.

    -rho F A,   rho = exp(log_prob - old_log_prob)

    At rho = 1 its gradient is the policy gradient of F A. With rho = 1.5, F = 2 and A = 1 the loss is -3.

    Source: Zhong et al. 2024, JMLR 25, 23-0488 (the objective of HAA2C); Kuba et al. 2022, arXiv:2109.11251 (what
        HATRPO maximises).
    Differs: nothing.
    """

    reads = {
        "log_prob": "agent.log_prob",
        "old_log_prob": "agent.old_log_prob",
        "advantage": "advantage",
        "factor": "factor",
    }
    writes = {"loss": "loss.agent.surrogate"}

    def compute(
        self,
        log_prob: Float[Tensor, "*batch"],
        old_log_prob: Float[Tensor, "*batch"],
        advantage: Float[Tensor, "*batch"],
        factor: Float[Tensor, "*batch"],
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [reward]."""
        return {"loss": -ratio(log_prob, old_log_prob) * (factor * advantage)}
