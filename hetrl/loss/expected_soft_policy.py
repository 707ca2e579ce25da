"""The maximum-entropy policy loss, exactly."""

from jaxtyping import Float
from torch import Tensor

from hetrl.component import Component


class ExpectedSoftPolicy(Component):
    """The soft policy loss as an expectation over the agent's own options, where they can be listed.

    sum_a pi(a|o) (alpha log pi(a|o) - Q(s, a^-i, a)),   a^-i the others' proposals

    It has the gradient that the straight-through sample of ``loss/soft_policy`` only estimates. With alpha = 1, two
    options of probability 1/2 and Q = (1, 3) the loss is -ln 2 - 2.

    Source: Christodoulou 2019, arXiv:1910.07207; Liu et al. 2024, arXiv:2306.10715 (the objective).
    Differs: the reference code of Liu et al. 2024 samples, straight through.
    """

    reads = {
        "alpha": "agent.alpha",
        "log_prob": "agent.candidate_log_prob",
        "q": "agent.candidate_q",
    }
    writes = {"loss": "loss.agent.soft_policy"}

    def compute(
        self,
        alpha: Float[Tensor, "*batch"],
        log_prob: Float[Tensor, "*batch several"],
        q: Float[Tensor, "*batch several"],
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [reward]."""
        return {"loss": (log_prob.exp() * (alpha.unsqueeze(-1) * log_prob - q)).sum(-1)}
