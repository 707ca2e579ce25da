"""Adam with gradient clipping."""

from collections.abc import Callable, Sequence
from typing import Any

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
        lr: NonNegative = 5e-4,
        max_grad_norm: Positive | None = None,
        beta1: Fraction = 0.9,
        beta2: Fraction = 0.999,
        eps: Positive = 1e-5,
        weight_decay: NonNegative = 0.0,
    ) -> None:
        self.lr, self.max_grad_norm, self.betas = lr, max_grad_norm, (beta1, beta2)
        self.eps, self.weight_decay = eps, weight_decay

    __init__ = checked(__init__, "optim/adam")

    def optimizer(self, parameters: Sequence[nn.Parameter]) -> "ClippedAdam":
        """Return the torch optimiser for one network."""
        return ClippedAdam(
            parameters,
            lr=self.lr,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
            max_grad_norm=self.max_grad_norm,
        )


class ClippedAdam(torch.optim.Adam):
    """``torch.optim.Adam`` whose step clips first and then runs the fused kernel at once.

    ``torch.optim.Adam.step`` gathers and groups its tensors anew each time, which costs more than the kernel for
    networks of this size; here they are gathered once. State, ``state_dict`` and results are those of ``torch.optim``.
    ``grad_norm`` holds the norm before clipping, as a tensor; nothing waits for the device.
    """

    grad_norm: Tensor

    def __init__(self, parameters: Sequence[nn.Parameter], *, max_grad_norm: float | None, **options: Any) -> None:
        super().__init__(parameters, fused=True, **options)
        self.max_grad_norm = max_grad_norm
        self._gathered: tuple[list[Any], ...] | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Clip and step; every parameter must have a gradient."""
        loss = closure() if closure is not None else None
        group = self.param_groups[0]
        if self._gathered is None:
            parameters, first, second, steps = [], [], [], []  # type: ignore[var-annotated]
            self._init_group(group, parameters, [], first, second, [], steps)
            self._gathered = parameters, first, second, steps
        parameters, first, second, steps = self._gathered
        gradients = [parameter.grad for parameter in parameters]
        self.grad_norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        if self.max_grad_norm is not None:
            torch._foreach_mul_(gradients, (self.max_grad_norm / (self.grad_norm + 1e-6)).clamp(max=1))
        torch._foreach_add_(steps, 1)
        (torch._fused_adamw_ if group["weight_decay"] else torch._fused_adam_)(
            parameters,
            gradients,
            first,
            second,
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; the tensors are gathered again."""
        super().load_state_dict(state_dict)
        self._gathered = None
