"""The log-probability of the joint proposal."""

from jaxtyping import Float
from torch import Tensor

from hetrl.component import Component


class JointLogProb(Component):
    """All agents' log-probs together: they act independently, each on its own observation.

    log pi(a|s) = sum_i log pi^i(a^i|o^i)

    Source: Liu et al. 2024, arXiv:2306.10715 (the factorised joint policy).
    Differs: nothing.
    """

    reads = {"log_probs": "agents.proposal_log_prob"}
    writes = {"log_prob": "joint_log_prob"}

    def compute(self, log_probs: tuple[Float[Tensor, "*batch"], ...]) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``log_prob`` [nat]."""
        return {"log_prob": sum(log_probs[1:], log_probs[0])}
