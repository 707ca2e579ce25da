"""The deterministic policy loss."""

from jaxtyping import Float
from torch import Tensor

from hetrl.component import Component


class DeterministicPolicy(Component):
    """Ascend the joint action value through the agent's own action.

    -Q(s, a^-i, mu(o))

    Source: Silver et al. 2014 (the deterministic policy gradient); Zhong et al. 2024, JMLR 25, 23-0488 (HADDPG, HATD3).
    Differs: nothing.
    """

    reads = {"q": "first_q"}
    writes = {"loss": "loss.agent.deterministic_policy"}

    def compute(self, q: Float[Tensor, "*batch"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [reward]."""
        return {"loss": -q}
