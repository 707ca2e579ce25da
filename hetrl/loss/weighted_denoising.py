"""The Q-weighted denoising loss."""

from jaxtyping import Float
from torch import Tensor

from hetrl.component import Component


class WeightedDenoising(Component):
    """Learn to denoise towards the actions that are worth more.

    mean_k w_k ||eps - eps_theta(sqrt(abar_t) a_k + sqrt(1 - abar_t) eps, o, t)||^2

    With weights (0, 3) and errors (5, 2) the loss is 3. Where no candidate has a weight it is 0, and so is its
    gradient.

    Source: Ding et al. 2024, arXiv:2405.16173 (the Q-weighted variational objective); Lin and Lee 2026,
        OpenReview kPrvXjUZPG (of one agent, given the others' actions).
    Differs: the papers' objective is written as one to maximise; a smaller error is meant, and this is minimised.
    """

    reads = {"error": "agent.denoising_error", "weight": "agent.weight"}
    writes = {"loss": "loss.agent.weighted_denoising", "weight": "log.agent.weight"}

    def compute(
        self, error: Float[Tensor, "*batch kept"], weight: Float[Tensor, "*batch kept"]
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [reward], and the mean ``weight`` [reward]."""
        return {"loss": (weight * error).mean(-1), "weight": weight.mean(-1)}
