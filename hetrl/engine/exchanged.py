"""What the processes of a run exchange for a minibatch: how many steps count, and what was evaluated on them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hetrl import keys, ranks
from hetrl.engine.program import Values

Metrics = dict[str, Tensor]
Evaluated = tuple[Tensor, Metrics, tuple[Tensor | None, ...]]
"""A loss, the means by key, and the gradient of each parameter; None where the loss does not reach it."""


def of_all(evaluated: Evaluated) -> Evaluated:
    """Return what was evaluated over the samples of all processes of a run, in one exchange.

    Where a mean has a graph, for an optimiser that differentiates twice, it keeps that of this process's samples. What
    lacks a gradient is returned as it is: it will be refused.
    """
    loss, means, gradients = evaluated
    reached = [gradient for gradient in gradients if gradient is not None]
    if not ranks.several() or len(reached) < len(gradients):
        return evaluated
    overall, *others = ranks.means([each.detach() for each in (loss, *means.values(), *reached)])
    whole = dict(zip(means, others, strict=False))
    for key, own in means.items():
        if own.requires_grad:
            whole[key] = whole[key] + (own - own.detach())
    return overall, whole, tuple(others[len(means) :])


def counted(
    rows: Sequence[Any], lanes: list[list[Values]], sizes: Sequence[int], device: torch.device
) -> list[list[Values]]:
    """Return minibatches that note how many steps those who take part have of each, the mean over a run's processes.

    They need not be equally many, and a mean of means would count them as if they were. With the mean count in the
    place of a process's own, the mean over the processes of what each divides by it is that over all samples. A process
    alone notes nothing.

    Args:
        rows: of each lane.
        lanes: the minibatches of each.
        sizes: how many rows (or chunks) each minibatch has.
        device: where they are.
    """
    if not ranks.several() or not any(keys.ACTIVE in minibatches[0] for minibatches in lanes):
        return lanes
    counts = torch.zeros(len(sizes), dtype=torch.float64, device=device)
    for each, minibatches in zip(rows, lanes, strict=True):
        if keys.ACTIVE in minibatches[0]:
            counts += torch.stack([minibatch[keys.ACTIVE].sum() for minibatch in minibatches])
        else:  # everybody, and of the team's lane nobody
            counts += torch.tensor([size * each.cut.length * each.lane_size for size in sizes], device=device)
    shared = (ranks.total(counts).clamp(min=1) / ranks.count()).unbind()
    return [
        [
            {**own, keys.ACTIVE_COUNT: count} if keys.ACTIVE in own else own
            for own, count in zip(each, shared, strict=True)
        ]
        for each in lanes
    ]
