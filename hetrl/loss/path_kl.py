"""A price on moving away from the old diffusion policy."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hetrl import ranks
from hetrl.arguments import Fraction, NonNegative, Positive
from hetrl.component import Component
from hetrl.errors import RecipeError
from hetrl.ops.adaptive import followed
from hetrl.ops.diffusion import path_kl


class PathKL(Component):
    """The KL of the denoising paths, old to now, with a coefficient that follows a radius.

    beta D,   D = sum_t ||mu_old(x_t) - mu(x_t)||^2 / (2 sigma_t^2),   x_t along the old policy's chain

    Every step back is a Gaussian with the same deviation before and now, so the mean of D is the KL of the paths, and a
    path's end is its action: D bounds the KL of the policies from above. The last step has no noise of its own, and two
    different actions without noise have no finite KL, hence the floor: the bound is that of policies whose last step
    has a deviation of ``floor``. After each evaluation beta moves by clip(mean D / radius, 1/2, 2)^rate.

    At the old parameters D and its gradient are 0, so in a turn of one step the penalty does nothing: a phase that uses
    it takes two steps or more (``epochs: 2``), or compares with a slow copy's path. The checker refuses anything else.

    Each agent has a beta of its own, kept in the checkpoint. With errors (0.1, 0.2) in two steps of deviation 0.5 and
    0, floor 0.2 and beta 1, D is 0.01 / 0.5 + 0.04 / 0.08 = 0.52; with radius 0.13 and rate 1, beta becomes 2.

    Args:
        radius: the mean D aimed at, the paper's delta [nat], above 0; none keeps beta as it is.
        coef: beta at the start [reward/nat], 0 or more; 0 stays 0.
        floor: what stands for the deviation of a step without noise, in halves of the action's range [1], above 0.
        rate: how fast beta follows, 0 to 1; with 1 it doubles or halves at each evaluation.
        smallest: least beta [reward/nat].
        largest: greatest beta [reward/nat].

    Raises:
        RecipeError: beta starts outside its bounds.
    Source: Lin and Lee 2026, OpenReview kPrvXjUZPG (the drift penalty, whose form for diffusion it leaves open); Ho et
        al. 2020, arXiv:2006.11239, equation 8 (the KL of one step); Schulman et al. 2017, arXiv:1707.06347, section 4
        (the coefficient).
    Differs: the form is ours. As in ``loss/kl_penalty`` beta moves a little at each minibatch.
    """

    reads = {"error": "agent.path_error", "std": "agent.path_std", "active": "agent.active"}
    compares = "std"
    """The role that the old policy's path wrote: with that of the same turn, one step alone does nothing."""
    writes = {"loss": "loss.agent.path_kl", "kl": "log.agent.path_kl", "coef": "log.agent.path_kl_coef"}

    beta: Tensor

    def __init__(
        self,
        *,
        radius: Positive | None = 0.01,
        coef: NonNegative = 1.0,
        floor: Positive = 0.1,
        rate: Fraction = 0.1,
        smallest: Positive = 1e-4,
        largest: Positive = 1e4,
    ) -> None:
        super().__init__()
        if smallest > largest or (coef > 0 and not smallest <= coef <= largest):
            raise RecipeError(f"coef = {coef} must lie between smallest = {smallest} and largest = {largest}, or be 0.")
        self.radius, self.coef, self.floor, self.rate = radius, coef, floor, rate
        self.smallest, self.largest = smallest, largest
        self.register_buffer("beta", torch.tensor([coef]))

    def compute(
        self,
        error: Float[Tensor, "*batch steps dim"],
        std: Float[Tensor, "*batch steps"],
        active: Bool[Tensor, "*batch"] | None = None,
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [reward], ``kl``, which is D [nat], and ``coef``, the beta used [reward/nat]."""
        kl = path_kl(error, std, self.floor)
        coef = self.beta.to(kl.dtype, copy=True)  # a copy: the graph needs it as it was
        if self.radius is not None:
            bounds = {"smallest": self.smallest, "largest": self.largest}
            self.beta.copy_(
                followed(self.beta, kl.detach(), active, goal=self.radius, rate=self.rate, means=ranks.means, **bounds)
            )
        return {"loss": coef * kl, "kl": kl.detach(), "coef": coef.expand(kl.shape)}
