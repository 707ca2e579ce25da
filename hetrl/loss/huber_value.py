"""The value loss."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import SCHEDULABLE, NonNegative, Positive
from hetrl.component import Component
from hetrl.ops.huber import huber


class HuberValue(Component):
    """Huber error of the value, optionally clipped around the value before the update.

    max(h(y - v), h(y - v_old - clip(v - v_old, -c, c))),   h = Huber(delta)

    In the units in which the network predicts: normalised where it normalises. With v_old = 0, v = 1, y = 2, c = 0.2
    and delta = 10 the two branches are 0.5 and 1.62, so the loss is 1.62.

    Args:
        delta: where the Huber function turns linear [normalised reward], above 0; none for the plain square.
        clip: c, how far the value may move from the old one; none turns that off, and
            then the old value is not needed [normalised reward].
        coef: weight of the loss [1], 0 or more.
    Source: Yu et al. 2022, arXiv:2103.01955, appendix (value clipping and Huber loss); Schulman et al. 2016,
        arXiv:1506.02438, section 5 (a trust region on the value).
    Differs: nothing.
    """

    reads = {"value": "normalized_value", "return_": "normalized_return", "old_value": "old_normalized_value"}
    writes = {"loss": "loss.value"}

    def __init__(
        self,
        *,
        delta: Positive | None = 10.0,
        clip: Positive | None = None,
        coef: Annotated[NonNegative, SCHEDULABLE] = 1.0,
    ) -> None:
        super().__init__()
        self.delta, self.clip, self.coef = delta, clip, coef

    @classmethod
    def required(cls, arguments: Mapping[str, Any]) -> frozenset[str]:
        """Return ``old_value`` where the value is clipped around it."""
        return frozenset(["old_value"] if arguments.get("clip") is not None else [])

    def compute(
        self,
        value: Float[Tensor, "*batch"],
        return_: Float[Tensor, "*batch"],
        old_value: Float[Tensor, "*batch"] | None = None,
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample."""
        loss = huber(value, return_, self.delta)
        if self.clip is not None:
            assert old_value is not None  # required says so
            near = old_value + (value - old_value).clamp(-self.clip, self.clip)
            loss = torch.maximum(loss, huber(near, return_, self.delta))
        return {"loss": self.coef * loss}
