"""The weighted likelihood loss."""

from jaxtyping import Float
from torch import Tensor

from hetrl.component import Component


class WeightedLikelihood(Component):
    """Make the actions likely that are worth more.

    -mean_k w_k log pi(a_k|o)

    What ``loss/weighted_denoising`` is to a policy without a likelihood, this is to one that has it. With weights
    (0, 3) and log-probs (-5, -2) the loss is 3. Where no candidate has a weight it is 0, and so is its gradient.

    Source: Peters and Schaal 2007, ICML, pages 745 to 750 (regression weighted by reward); Peng et al. 2019,
        arXiv:1910.00177, equation 4 (by advantage).
    Differs: the weight is not an exponential of the advantage but what a ``weight/`` component makes of it.
    """

    reads = {"log_prob": "agent.chosen_log_prob", "weight": "agent.weight"}
    writes = {"loss": "loss.agent.weighted_likelihood", "weight": "log.agent.weight"}

    def compute(
        self, log_prob: Float[Tensor, "*batch kept"], weight: Float[Tensor, "*batch kept"]
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [reward], and the mean ``weight`` [reward]."""
        return {"loss": -(weight * log_prob).mean(-1), "weight": weight.mean(-1)}
