"""The factor before anyone has moved."""

import torch
from jaxtyping import Float
from torch import Tensor

from hetrl.component import Component


class UnitFactor(Component):
    """The product of no ratios: 1 for every sample, where a sweep begins.

    F = 1

    Source: Zhong et al. 2024, JMLR 25, 23-0488 (a sweep begins with M = A, that is with a factor of 1).
    Differs: the paper carries M = F A; here the factor and the advantage stay apart.
    """

    reads = {"advantage": "advantage"}
    writes = {"factor": "factor"}

    def compute(self, advantage: Float[Tensor, "*batch"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``factor`` of the advantage's shape [ratio]."""
        return {"factor": torch.ones_like(advantage)}
