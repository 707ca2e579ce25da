"""Adam with gradient clipping."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hetrl.arguments import Fraction, NonNegative, Positive, checked


class Adam:
    """Adam on the norm-clipped gradient, one step per minibatch.

    g <- g min(1, max_grad_norm / (norm(g) + 1e-6)), then Adam.

    Args:
        lr: step size [1]; a schedule (``{linear: [5e-4, 0]}``) decays it over the run's frames.
        max_grad_norm: largest global norm of one network's gradient, none for no limit.
        beta1: decay of the first moment, below 1.
        beta2: decay of the second moment, below 1.
        eps: added to the denominator, above 0.
        weight_decay: decoupled decay per step [1] (AdamW), 0 or more.
    Source: Kingma and Ba 2015, arXiv:1412.6980; Loshchilov and Hutter 2019, arXiv:1711.05101.
    Differs: eps is 1e-5 rather than 1e-8, as on-policy implementations use (Andrychowicz et al. 2021).
    """

    def __init__(
        self,
        *,
        lr: Positive = 5e-4,
        max_grad_norm: Positive | None = None,
        beta1: Fraction = 0.9,
        beta2: Fraction = 0.999,
        eps: Positive = 1e-5,
        weight_decay: NonNegative = 0.0,
    ) -> None:
        self.lr, self.max_grad_norm, self.betas = lr, max_grad_norm, (beta1, beta2)
        self.eps, self.weight_decay = eps, weight_decay

    __init__ = checked(__init__, "optim/adam")

    def optimizer(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the torch optimiser for one network; fused, so a step is one kernel."""
        kind = torch.optim.AdamW if self.weight_decay else torch.optim.Adam
        return kind(
            parameters, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay, fused=True
        )

    def clip(self, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Clip the gradients in place and return their norm before that (a tensor; nothing waits for the device)."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.max_grad_norm, norm)
        return norm
