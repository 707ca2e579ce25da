"""What the processes of a run exchange for a minibatch: how many steps count, and what was evaluated on them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hetrl import keys, ranks
from hetrl.engine.program import Values

Metrics = dict[str, Tensor]
Evaluated = tuple[Tensor, Metrics, tuple[Tensor | None, ...]]
"""A loss, the means by key, and the gradient of each parameter; None where the loss does not reach it."""


def of_all(evaluated: Evaluated) -> Evaluated:
    """Return what was evaluated over the samples of all processes of a run, in one exchange.

    Where a mean has a graph, for an optimiser that differentiates twice, it keeps that of this process's samples.
    """
    if not ranks.several():
        return evaluated
    loss, means, gradients = evaluated
    overall, *others = ranks.means([each.detach() for each in (loss, *means.values(), *gradients)])  # type: ignore[union-attr]
    whole = dict(zip(means, others, strict=False))
    for key, own in means.items():
        if own.requires_grad:
            whole[key] = whole[key] + (own - own.detach())
    return overall, whole, tuple(others[len(means) :])


def note_counts(lanes: Sequence[tuple[int, list[Values]]], sizes: Sequence[int], device: torch.device) -> None:
    """Note in every minibatch how many steps those who take part have of it in a process, the mean over the processes.

    They need not be equally many, and a mean of means would count them as if they were. A process alone notes nothing.

    Args:
        lanes: of each, how many steps an entry has for all its agents, and its minibatches, which are changed in place.
        sizes: entries of the minibatches.
        device: where they are.
    """
    if not ranks.several() or not any(keys.ACTIVE in minibatches[0] for _, minibatches in lanes):
        return
    counts = torch.zeros(len(sizes), dtype=torch.float64, device=device)
    for steps, minibatches in lanes:
        if keys.ACTIVE in minibatches[0]:
            counts += torch.stack([minibatch[keys.ACTIVE].sum() for minibatch in minibatches])
        else:
            counts += torch.tensor([steps * size for size in sizes], device=device)
    for number, count in enumerate((ranks.total(counts).clamp(min=1) / ranks.count()).unbind()):
        for _, minibatches in lanes:
            if keys.ACTIVE in minibatches[number]:
                minibatches[number][keys.ACTIVE_COUNT] = count
