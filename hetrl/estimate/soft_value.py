"""The value of an action, with the entropy it was drawn with."""

from jaxtyping import Float
from torch import Tensor

from hetrl.component import Component


class SoftValue(Component):
    """What an agent's own next action is worth, by its own action value, with its entropy.

    V = Q^i(o^i, a^i) - alpha log pi^i(a^i|o^i)

    ``estimate/td_target`` makes a target of it. With Q = 10, alpha = 0.5 and a log-prob of -4 it is 12.

    Source: Haarnoja et al. 2018, arXiv:1801.01290, equation 3.
    Differs: nothing. ``estimate/soft_td_target`` counts the entropies of all agents.
    """

    reads = {"q": "agent.min_q", "alpha": "agent.alpha", "log_prob": "agent.proposal_log_prob"}
    writes = {"value": "agent.soft_value"}

    def compute(
        self, q: Float[Tensor, "*batch"], alpha: Float[Tensor, "*batch"], log_prob: Float[Tensor, "*batch"]
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``value`` [reward]."""
        return {"value": q - alpha * log_prob}
