"""The noise that a point should have."""

from jaxtyping import Float
from torch import Tensor

from hetrl.component import Component


class NoiseMatching(Component):
    """Learn to predict the noise that the weighted candidates around a point imply.

    ||eps_theta(x_t, o, t) - eps||^2,   eps = (x_t - sqrt(abar_t) sum_k w_k a_k) / sqrt(1 - abar_t)

    With weights proportional to exp(Q / alpha) the mean of eps given x_t is the noise that the policy proportional to
    exp(Q / alpha) has in x_t, so that policy is what the least loss has. A prediction of (1, 0) where (0, 2) is implied
    costs 5.

    Source: Dong et al. 2025, arXiv:2502.11612 (noise estimation weighted by Q).
    Differs: proposals are drawn within the box; of several agents, each for itself, given the others' proposals.
    """

    reads = {"predicted": "agent.predicted_noise", "noise": "agent.point_noise"}
    writes = {"loss": "loss.agent.noise_matching"}

    def compute(
        self, predicted: Float[Tensor, "*batch dim"], noise: Float[Tensor, "*batch dim"]
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [1]."""
        return {"loss": (predicted - noise).square().sum(-1)}
