"""Independent categorical choices packed side by side."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

_UNAVAILABLE = -1e10  # finite, so that p log p is 0 and not NaN


def masked(logits: Float[Tensor, "*batch options"], mask: Bool[Tensor, "*batch options"] | None) -> Tensor:
    """Return the logits with those of unavailable options (mask False) far below the rest."""
    return logits if mask is None else torch.where(mask, logits, _UNAVAILABLE)


def log_prob_and_entropy(
    logits: Float[Tensor, "*batch options"], action: Int[Tensor, "*batch dim"], choices: Sequence[int]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return log pi(action) and the entropy in nat, each summed over the choices.

    Args:
        logits: the options of all choices side by side.
        action: the option taken in each choice.
        choices: how many options each choice has.
    """
    log_prob = entropy = torch.zeros((), dtype=logits.dtype, device=logits.device)
    for dim, part in enumerate(logits.split(list(choices), -1)):
        log_p = part.log_softmax(-1)
        log_prob = log_prob + log_p.gather(-1, action[..., dim : dim + 1]).squeeze(-1)
        entropy = entropy - (log_p.exp() * log_p).sum(-1)
    return log_prob, entropy


def kl(
    old_logits: Float[Tensor, "*batch options"], logits: Float[Tensor, "*batch options"], choices: Sequence[int]
) -> Float[Tensor, "*batch"]:
    """Return KL(old || now) = sum p_old (log p_old - log p) in nat, summed over the choices."""
    total = torch.zeros((), dtype=logits.dtype, device=logits.device)
    for old, now in zip(old_logits.split(list(choices), -1), logits.split(list(choices), -1), strict=True):
        old_log_p = old.log_softmax(-1)
        total = total + (old_log_p.exp() * (old_log_p - now.log_softmax(-1))).sum(-1)
    return total


def argmax(scores: Float[Tensor, "*batch options"], choices: Sequence[int]) -> Int[Tensor, "*batch dim"]:
    """Return the best option of each choice. With Gumbel noise added to logits, that is a sample."""
    return torch.stack([part.argmax(-1) for part in scores.split(list(choices), -1)], -1)


def one_hot(
    action: Int[Tensor, "*batch dim"], choices: Sequence[int], dtype: torch.dtype
) -> Float[Tensor, "*batch options"]:
    """Return the options taken as ones among zeros, those of several choices side by side."""
    parts = [
        action.new_zeros(*action.shape[:-1], size, dtype=dtype).scatter(-1, action[..., dim : dim + 1].long(), 1.0)
        for dim, size in enumerate(choices)
    ]
    return torch.cat(parts, -1)


def taken(
    values: Float[Tensor, "*batch options"], action: Num[Tensor, "*batch dim"], choices: Sequence[int]
) -> Float[Tensor, "*batch"]:
    """Return the values of the options taken, summed over the choices; ``action`` as indices or, floating, one-hot.

    >>> values = torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0]])
    >>> taken(values, torch.tensor([[1, 2]]), [2, 3]), taken(values, torch.tensor([[0.0, 1.0, 0.0, 0.0, 1.0]]), [2, 3])
    (tensor([18.]), tensor([18.]))
    """
    if action.is_floating_point():
        return (values * action).sum(-1)
    parts = values.split(list(choices), -1)
    each = [part.gather(-1, action[..., dim : dim + 1].long()).squeeze(-1) for dim, part in enumerate(parts)]
    return sum(each[1:], each[0])


def gumbel(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return standard Gumbel draws, of the shape of ``like``."""
    return -torch.empty_like(like).exponential_(generator=generator).log()


def straight_through(
    logits: Float[Tensor, "*batch options"], noise: Float[Tensor, "*batch options"], choices: Sequence[int]
) -> tuple[Float[Tensor, "*batch options"], Float[Tensor, "*batch"]]:
    """Return a one-hot sample of each choice, side by side, and its log-probability in nat, summed over choices.

    The sample is the argmax of log p + noise; its gradient is that of softmax(log p + noise).
    """
    samples, log_prob = [], torch.zeros((), dtype=logits.dtype, device=logits.device)
    for part, drawn in zip(logits.split(list(choices), -1), noise.split(list(choices), -1), strict=True):
        log_p = part.log_softmax(-1)
        soft = (log_p + drawn).softmax(-1)
        hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
        sample = hard + (soft - soft.detach())  # exactly one-hot: the bracket is 0
        samples.append(sample)
        log_prob = log_prob + (sample * log_p).sum(-1)
    return torch.cat(samples, -1), log_prob
