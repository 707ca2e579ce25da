"""The target of a joint action value."""

from jaxtyping import Bool, Float
from torch import Tensor

from hetrl.component import Component


class TDTarget(Component):
    """What the next joint action is worth, discounted.

    y = R + gamma^k (1 - terminated) Q'(s', a')

    R and gamma^k (``discount``) come from the data, over the k steps of an n-step return. With R = 1, a discount of 0.9
    and Q' = 10 the target is 10; terminated, 1.

    Source: Zhong et al. 2024, JMLR 25, 23-0488 (HADDPG, HATD3); Fujimoto et al. 2018, arXiv:1802.09477 (the least of
        two).
    Differs: nothing.
    """

    reads = {"reward": "reward", "discount": "discount", "terminated": "terminated", "q": "next.min_q"}
    writes = {"target": "target"}
    follows = {"terminated": "reward"}

    def compute(
        self,
        reward: Float[Tensor, "*batch"],
        discount: Float[Tensor, "*batch"],
        terminated: Bool[Tensor, "*batch"],
        q: Float[Tensor, "*batch"],
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``target`` [reward]."""
        return {"target": reward + discount * ~terminated * q}
