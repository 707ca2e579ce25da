"""The maximum-entropy policy loss."""

from jaxtyping import Float
from torch import Tensor

from hetrl.component import Component


class SoftPolicy(Component):
    """What an agent's fresh action is worth to the team, and what its certainty costs.

    alpha log pi(a|o) - Q(s, a^-i, a),   a the agent's own reparametrised proposal, a^-i the others' proposals

    With alpha = 0.2, log pi = -1 and Q = 3 the loss is -3.2.

    Source: Liu et al. 2024, arXiv:2306.10715 (the objective of HASAC); Haarnoja et al. 2018, arXiv:1801.01290.
    Differs: nothing.
    """

    reads = {"alpha": "agent.alpha", "log_prob": "agent.proposal_log_prob", "q": "min_q"}
    writes = {"loss": "loss.agent.soft_policy"}

    def compute(
        self, alpha: Float[Tensor, "*batch"], log_prob: Float[Tensor, "*batch"], q: Float[Tensor, "*batch"]
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [reward]."""
        return {"loss": alpha * log_prob - q}
