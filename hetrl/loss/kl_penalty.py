"""A price on moving away from the old policy."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hetrl import ranks
from hetrl.arguments import Fraction, NonNegative, Positive
from hetrl.component import Component
from hetrl.errors import RecipeError
from hetrl.ops.adaptive import followed


class KLPenalty(Component):
    """The KL from the policy before the turn, with a coefficient that follows a target.

    beta KL(old || now),   and after each evaluation   beta <- beta clip(mean KL / target, 1/2, 2)^rate

    Each agent has a beta of its own, kept in the checkpoint. With beta = 1, target = 0.01, rate = 1 and KL 0.04 the
    loss is 0.04 and beta becomes 2.

    Args:
        coef: beta at the start [reward/nat], 0 or more; 0 stays 0.
        target: the mean KL aimed at [nat], above 0; none keeps beta as it is.
        rate: how fast beta follows, 0 to 1; with 1 it doubles or halves at each evaluation.
        smallest: least beta [reward/nat].
        largest: greatest beta [reward/nat].

    Raises:
        RecipeError: beta starts outside its bounds.

    Source: Schulman et al. 2017, arXiv:1707.06347, section 4 (adaptive KL penalty); Kuba et al. 2022,
        arXiv:2109.11251 (the penalty of the sequential update's monotonic improvement).
    Differs: the paper doubles or halves beta once for each policy update, where KL is beyond 1.5 target or below
        target / 1.5; here it moves a little at each minibatch, which needs no word for the end of an update.
    """

    reads = {"kl": "agent.kl", "active": "agent.active"}
    writes = {"loss": "loss.agent.kl_penalty", "kl": "log.agent.kl", "coef": "log.agent.kl_coef"}

    beta: Tensor

    def __init__(
        self,
        *,
        coef: NonNegative = 1.0,
        target: Positive | None = 0.01,
        rate: Fraction = 0.1,
        smallest: Positive = 1e-4,
        largest: Positive = 1e4,
    ) -> None:
        super().__init__()
        if smallest > largest or (coef > 0 and not smallest <= coef <= largest):
            raise RecipeError(f"coef = {coef} must lie between smallest = {smallest} and largest = {largest}, or be 0.")
        self.coef, self.target, self.rate = coef, target, rate
        self.smallest, self.largest = smallest, largest
        self.register_buffer("beta", torch.tensor([coef]))

    def compute(
        self, kl: Float[Tensor, "*batch"], active: Bool[Tensor, "*batch"] | None = None
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [reward], ``kl`` [nat] and ``coef``, the beta used [reward/nat]."""
        coef = self.beta.to(kl.dtype, copy=True)  # a copy: the graph needs it as it was
        if self.target is not None:
            bounds = {"smallest": self.smallest, "largest": self.largest}
            self.beta.copy_(
                followed(self.beta, kl.detach(), active, goal=self.target, rate=self.rate, means=ranks.means, **bounds)
            )
        return {"loss": coef * kl, "kl": kl.detach(), "coef": coef.expand(kl.shape)}
