"""The one place where per-sample values become a number."""

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import add

import torch
from torch import Tensor

from hetrl import keys


def masked_mean(value: Tensor, active: Tensor | None) -> Tensor:
    """Return the mean over active samples (all of them without a mask); 0 where none is."""
    if active is None:
        return value.mean()
    return (value * active).sum() / active.sum().clamp(min=1)


def total_loss(lanes: Iterable[Mapping[str, Tensor]], active: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the sum of all losses' masked means, and every mean by key.

    Several lanes are pooled: the mean is over all their samples.
    """
    pooled: dict[str, list[Tensor]] = {}
    masks: list[Tensor] = []
    for values in lanes:
        for key, value in values.items():
            if keys.is_output(key):
                pooled.setdefault(key, []).append(value)
        if active in values:
            masks.append(values[active])
    mask = _pool(masks) if masks else None
    means = {key: masked_mean(_pool(parts), mask) for key, parts in pooled.items()}
    losses = [mean for key, mean in means.items() if key.startswith(f"{keys.LOSS}.")]
    return reduce(add, losses), means


def _pool(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat([part.flatten() for part in parts])
