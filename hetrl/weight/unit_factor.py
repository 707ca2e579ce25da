"""The factor before anyone has moved."""

import torch
from jaxtyping import Float, Shaped
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

    def compute(self, advantage: Shaped[Tensor, "*batch"]) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``factor`` of the advantage's shape [ratio]; any value of the team will do, such as ``terminated``."""
        floating = advantage if advantage.is_floating_point() else advantage.to(torch.get_default_dtype())
        return {"factor": torch.ones_like(floating)}
