"""The one place where per-sample values become a number."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor

from hetrl import keys
from hetrl.errors import RunError


def masked_mean(value: Tensor, active: Tensor | None) -> Tensor:
    """Return the mean over active samples (all of them without a mask); 0 where none is.

    Raises:
        RunError: value and mask differ in shape; their product would be an outer one.
    """
    if active is None:
        return value.mean()
    if value.shape != active.shape:
        raise RunError(
            f"agent.active: what is one number for each sample has the shape {list(value.shape)} and its mask "
            f"{list(active.shape)}; give both the same."
        )
    return (value * active).sum() / active.sum().clamp(min=1)


def total_loss(
    lanes: Sequence[Mapping[str, Tensor]], active: str | None, constraints: Mapping[str, bool] | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the sum of all losses' masked means, and every mean by key.

    Several lanes are pooled: the mean is over all their samples.

    Args:
        lanes: what the programs have written.
        active: key of the mask; none to count every row. Lanes without it always take part.
        constraints: further keys whose means are wanted -> whether the mask holds for them.
    """
    mask = None if active is None else _mask(lanes, active)
    outputs = dict.fromkeys(key for values in lanes for key in values if keys.is_output(key))
    means = {key: masked_mean(_pool([values[key] for values in lanes]), mask) for key in outputs}
    for key, masked in (constraints or {}).items():
        means[key] = masked_mean(_pool([values[key] for values in lanes]), mask if masked else None)
    losses = [mean for key, mean in means.items() if key.startswith(f"{keys.LOSS}.")]
    return reduce(add, losses), means


def _mask(lanes: Sequence[Mapping[str, Tensor]], active: str) -> Tensor | None:
    if not any(active in values for values in lanes):
        return None
    likes = [next(value for key, value in values.items() if keys.is_output(key)) for values in lanes]
    return _pool([
        values.get(active, torch.ones_like(like, dtype=torch.bool)) for values, like in zip(lanes, likes, strict=True)
    ])  # fmt: skip


def _pool(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat([part.flatten() for part in parts])
