"""Several optimisers whose steps are one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Led:
    """Several optimisers that step at once: one kernel for the parameters of all, each with its own moments and clip.

    Args:
        optimizers: of ``optim/adam``, whose parameters have the same sizes, and whose rates and other numbers are the
            same.
    """

    def __init__(self, optimizers: Sequence[Any]) -> None:
        self._one = optimizers[0]
        each = [optimizer.gathered() for optimizer in optimizers]
        self._parameters, self._first, self._second, self._steps = (
            [tensor for own in each for tensor in getattr(own, word)]
            for word in ("parameters", "first", "second", "steps")
        )
        self._counts = [own.steps[0] for own in each]
        self._buffer = torch.stack([own.buffer for own in each])
        sizes = [parameter.numel() for parameter in each[0].parameters]
        self._gradients = [
            part.view_as(parameter)
            for own, row in zip(each, self._buffer, strict=True)
            for parameter, part in zip(own.parameters, row.split(sizes), strict=True)
        ]

    def take(self, gradients: Sequence[Tensor]) -> None:
        """Take the gradient of each parameter, those of all optimisers stacked: ``k *`` each."""
        torch.cat([gradient.reshape(len(gradient), -1) for gradient in gradients], 1, out=self._buffer)

    def move(self) -> Tensor:
        """Clip each optimiser's gradient, move the parameters of all, and return the norms before clipping, ``[k]``."""
        one, group = self._one, self._one.param_groups[0]
        norms = torch.linalg.vector_norm(self._buffer, dim=1)
        if one.max_grad_norm is not None:
            self._buffer.mul_((one.max_grad_norm / (norms + 1e-6)).clamp_(max=1).unsqueeze(1))
        torch._foreach_add_(self._counts, 1)
        beta1, beta2 = group["betas"]
        one._kernel(
            self._parameters, self._gradients, self._first, self._second, [], self._steps,
            lr=group["lr"], beta1=beta1, beta2=beta2, weight_decay=group["weight_decay"], eps=group["eps"],
            amsgrad=False, maximize=False,
        )  # fmt: skip
        return norms
