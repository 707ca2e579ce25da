"""The trust-region clip."""

from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import SCHEDULABLE, Positive
from hetrl.component import Component
from hetrl.ops.ratio import ratio


class ClippedSurrogate(Component):
    """Clipped surrogate of the joint advantage, weighted by the agents already updated.

    -min(rho F A, clip(rho, 1 - eps, 1 + eps) F A),   rho = exp(log_prob - old_log_prob)

    With rho = 1.5, F = 2, A = 1 and clip 0.2 the loss is -2.4; with A = -1 it is 3.

    Args:
        clip: eps, how far the ratio may move before its gradient stops [ratio], above 0.
    Source: Kuba et al. 2022, arXiv:2109.11251, and Zhong et al. 2024, JMLR 25, 23-0488 (the objective of HAPPO);
        Schulman et al. 2017, arXiv:1707.06347, equation 7 (the clip).
    Differs: nothing. The reference code multiplies F outside the min, which is the same because F > 0.
    """

    reads = {
        "log_prob": "agent.log_prob",
        "old_log_prob": "agent.old_log_prob",
        "advantage": "advantage",
        "factor": "factor",
    }
    writes = {"loss": "loss.agent.surrogate", "clipped": "log.agent.clipped"}

    def __init__(self, *, clip: Annotated[Positive, SCHEDULABLE] = 0.2) -> None:
        super().__init__()
        self.clip = clip

    def compute(
        self,
        log_prob: Float[Tensor, "*batch"],
        old_log_prob: Float[Tensor, "*batch"],
        advantage: Float[Tensor, "*batch"],
        factor: Float[Tensor, "*batch"],
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [reward], and whether the ratio was outside the clip [1]."""
        rho = ratio(log_prob, old_log_prob)
        clamped = rho.detach().clamp(1 - self.clip, 1 + self.clip)
        weighted = factor * advantage
        free, bound = rho * weighted, clamped * weighted
        # The least of the two. Where it is the bound, the ratio is outside the clip and has no gradient, which is why
        # the bound needs none: half the price of the gradient of clamp and minimum.
        loss = -torch.where(free <= bound, free, bound)
        return {"loss": loss, "clipped": (rho.detach() != clamped).to(loss.dtype)}
