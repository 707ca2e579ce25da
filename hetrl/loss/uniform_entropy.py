"""Exploration of a policy without a likelihood."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import SCHEDULABLE, NonNegative
from hetrl.component import Component


class UniformEntropy(Component):
    """Learn to denoise towards uniform actions of the box too, so that the policy keeps covering it.

    coef mean_u ||eps - eps_theta(sqrt(abar_t) a_u + sqrt(1 - abar_t) eps, o, t)||^2,   times mean_k w_k if scaled

    Alone it makes the policy uniform; beside ``loss/weighted_denoising`` the policy tends to a mixture, in which the
    uniform part has the share coef / (coef + w) (of a weight scaled with it: coef / (coef + 1)). With errors (2, 4) and
    coef 0.02 the loss is 0.06; scaled by weights (0, 3), 0.09.

    Args:
        coef: weight of the loss, 0 or more [reward], or [1] where it is scaled.
        scale: ``none``, the same everywhere; ``weight``, times the mean weight of the sample's chosen actions, so that
            a sample that teaches nothing else does not teach this either.
    Source: Lin and Lee 2026, OpenReview kPrvXjUZPG (the entropy proxy); Ding et al. 2024, arXiv:2405.16173
        (scaled by the weight).
    Differs: the code of Ding et al. 2024 adds up its 10 uniform actions, each at 0.02 of the weight; here they are
        averaged, which with the same share is a coef of 0.2. It lowers the 0.02 to 0.002 over the first nine tenths of
        a run: ``{linear: [0.2, 0.02], until: 0.9}``.
    """

    reads = {"error": "agent.uniform_error", "weight": "agent.weight"}
    writes = {"loss": "loss.agent.uniform_entropy"}

    def __init__(
        self,
        *,
        coef: Annotated[NonNegative, SCHEDULABLE] = 0.02,
        scale: Literal["none", "weight"] = "none",
    ) -> None:
        super().__init__()
        self.coef, self.scale = coef, scale

    @classmethod
    def required(cls, arguments: Mapping[str, Any]) -> frozenset[str]:
        """Return ``weight`` where it scales the loss."""
        return frozenset(["weight"] if arguments.get("scale") == "weight" else [])

    def compute(
        self, error: Float[Tensor, "*batch several"], weight: Float[Tensor, "*batch kept"] | None = None
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [reward]."""
        loss = self.coef * error.mean(-1)
        if self.scale == "weight":
            assert weight is not None  # required says so
            loss = loss * weight.mean(-1)
        return {"loss": loss}
