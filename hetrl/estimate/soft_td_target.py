"""The target of a joint action value that counts entropy."""

from jaxtyping import Bool, Float
from torch import Tensor

from hetrl.component import Component


class SoftTDTarget(Component):
    """What the next joint action is worth, with all agents' entropies, discounted.

    y = R + gamma^k (1 - terminated) (Q'(s', a') - alpha sum_i log pi^i(a'^i|o'^i))

    With R = 1, a discount of 0.9, Q' = 10, alpha = 0.5 and log-probs -1 and -3 the target is 1 + 0.9 * 12 = 11.8.

    Source: Liu et al. 2024, arXiv:2306.10715 (HASAC).
    Differs: nothing.
    """

    reads = {
        "reward": "reward",
        "discount": "discount",
        "terminated": "terminated",
        "q": "next.min_q",
        "alpha": "alpha",
        "log_probs": "next.agents.proposal_log_prob",
    }
    writes = {"target": "target"}
    follows = {"terminated": "reward"}

    def compute(
        self,
        reward: Float[Tensor, "*batch"],
        discount: Float[Tensor, "*batch"],
        terminated: Bool[Tensor, "*batch"],
        q: Float[Tensor, "*batch"],
        alpha: Float[Tensor, "*batch"],
        log_probs: tuple[Float[Tensor, "*batch"], ...],
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``target`` [reward]."""
        return {"target": reward + discount * ~terminated * (q - alpha * sum(log_probs[1:], log_probs[0]))}
