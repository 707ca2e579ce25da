"""The temperature's loss."""

from jaxtyping import Float
from torch import Tensor

from hetrl.component import Component


class Temperature(Component):
    """Raise the price of entropy where there is too little of it.

    -log alpha (log pi(a|o) + target entropy)

    With log alpha = -2, log pi = 1 and a target of -3 the loss is -4. Log-prob and target take no gradient: they come
    from earlier phases.

    Source: Haarnoja et al. 2018, arXiv:1812.05905; Liu et al. 2024, arXiv:2306.10715.
    Differs: the papers write alpha where the code of both, and this, has log alpha.
    """

    reads = {
        "log_alpha": "agent.log_alpha",
        "log_prob": "agent.proposal_log_prob",
        "target_entropy": "agent.target_entropy",
    }
    writes = {"loss": "loss.agent.temperature"}

    def compute(
        self,
        log_alpha: Float[Tensor, "*batch"],
        log_prob: Float[Tensor, "*batch"],
        target_entropy: Float[Tensor, "*batch"],
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [nat]."""
        return {"loss": -log_alpha * (log_prob + target_entropy)}
