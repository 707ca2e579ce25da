"""The trust-region clip around the joint policy."""

from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import SCHEDULABLE, Positive
from hetrl.component import Component
from hetrl.ops.ratio import ratio


class ClippedJointSurrogate(Component):
    """Clipped surrogate of an agent's own advantage; the clip counts what those already updated have moved.

    -min(l A, clip(l, 1 - e, 1 + e) A),   l = rho clip(F, 1 - e / 2, 1 + e / 2),   e = scale * clip

    rho is the ratio of the agent in turn, F that of those before. Where they have used the clip up, little is left to
    the agent; ``loss/clipped_surrogate`` gives each agent all of it. With rho = F = 1.5, A = 1 and clip 0.2, l is
    1.65 and the loss -1.2; with A = -1 it is 1.65. With F = 1 and scale 1 the two losses are the same.

    Args:
        clip: how far the ratio may move before its gradient stops [ratio], above 0.
    Source: Wang et al. 2023, arXiv:2302.06205 (the surrogate, with the clipped ratio of the preceding agents).
    Differs: nothing. In the authors' code the clip of F is a number of its own.
    """

    reads = {
        "log_prob": "agent.log_prob",
        "old_log_prob": "agent.old_log_prob",
        "advantage": "agent.advantage",
        "factor": "factor",
        "scale": "agent.clip_scale",
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
        scale: Float[Tensor, "*batch"] | None = None,
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [reward], and whether the ratio was outside the clip [1]."""
        clip = self.clip * (torch.ones_like(factor) if scale is None else scale)
        joint = ratio(log_prob, old_log_prob) * factor.clamp(1 - clip / 2, 1 + clip / 2)
        clamped = joint.clamp(1 - clip, 1 + clip)
        loss = -torch.minimum(joint * advantage, clamped * advantage)
        return {"loss": loss, "clipped": (joint != clamped).to(loss.dtype)}
