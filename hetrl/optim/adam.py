"""Adam with gradient clipping."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Interval
from torch import Tensor, nn

from hetrl.arguments import SCHEDULABLE, NonNegative, Positive, checked
from hetrl.graph import Played
from hetrl.optim import Closure, Optim

Decay = Annotated[float, Interval(ge=0, lt=1)]


class Adam(Optim):
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
    Differs: eps is 1e-5 rather than 1e-8, as in the reference code of Zhong et al. 2024.
    """

    reads: ClassVar[Mapping[str, str]] = {}
    once: ClassVar[bool] = False

    def __init__(
        self,
        *,
        lr: Annotated[NonNegative, SCHEDULABLE] = 5e-4,
        max_grad_norm: Positive | None = None,
        beta1: Decay = 0.9,
        beta2: Decay = 0.999,
        eps: Positive = 1e-5,
        weight_decay: NonNegative = 0.0,
    ) -> None:
        self.lr, self.max_grad_norm, self.betas = lr, max_grad_norm, (beta1, beta2)
        self.eps, self.weight_decay = eps, weight_decay
        self.constraints = {}

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

    ``torch.optim.Adam.step`` gathers its tensors anew each time, and clipping passes over them one by one; for networks
    of this size that costs more than the kernel. Here the gradients are copied into one buffer, which is clipped as a
    whole, and everything else is gathered once. State, ``state_dict`` and results are those of ``torch.optim``.
    ``figures`` holds ``grad_norm``, the norm before clipping, as a tensor; nothing waits for the device.
    """

    twice = False
    """It differentiates once."""
    figures: dict[str, Tensor]

    def __init__(self, parameters: Sequence[nn.Parameter], *, max_grad_norm: float | None, **options: Any) -> None:
        super().__init__(parameters, fused=True, **options)
        self.max_grad_norm = max_grad_norm
        self._kernel = torch._fused_adamw_ if options.get("weight_decay") else torch._fused_adam_
        self._gathered: _Gathered | None = None
        self._played: Played | None = None
        self._led: Led | None = None

    def play(self, where: str) -> None:
        """From now on record what the step does with its gradients, and play it, see :mod:`hetrl.graph`.

        Args:
            where: place of the phase in the recipe.
        """
        self._played = Played(self._move_at_its_rate, self._touched, f"run.graphs: {where}.optim")

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:  # type: ignore[override]
        """Clip and step; without a closure every parameter must have a gradient."""
        evaluated = None
        if closure is not None:
            with torch.enable_grad():
                evaluated = closure()
        if self._led is not None:
            self.figures = {"grad_norm": self._led.move()}
            return evaluated
        own = self.gathered()
        gradients: list[Tensor] = [parameter.grad for parameter in own.parameters]  # type: ignore[misc]
        rate = self.param_groups[0]["lr"]
        if self._played is None:
            norm = self._move(gradients, rate)
        else:
            if own.rate != rate:
                own.rate = rate
                own.rate_there.fill_(rate)
            norm = self._played(gradients)[0].clone()
        self.figures = {"grad_norm": norm}
        return evaluated

    # Tells torch not to wrap the step in its profiling hook, which costs as much as the kernel.
    step.hooked = True  # type: ignore[attr-defined]

    @contextmanager
    def leading(self, optimizers: Sequence["ClippedAdam"]) -> Iterator["Led"]:
        """Let each step be one of several optimisers, this one among them, whose parameters have the same sizes.

        Inside, the closure hands the gradients of all to what is yielded, and ``figures`` are of all, ``[k]`` each.
        State and results of each optimiser are those of a step of its own, the norm's rounding aside.
        """
        self._led = Led(optimizers)
        try:
            yield self._led
        finally:
            self._led = None

    def gathered(self) -> "_Gathered":
        """Return the tensors of a step."""
        own = self._gathered
        if own is None or self.state[own.parameters[0]]["exp_avg"] is not own.first[0]:  # a Trainer has moved it
            own = self._gathered = self._gather()
        return own

    def _move(self, gradients: Sequence[Tensor], rate: float | Tensor) -> Tensor:
        """Clip the gradients, move the parameters, and return the norm before clipping."""
        own, group = self._gathered, self.param_groups[0]
        assert own is not None
        torch._foreach_copy_(own.gradients, list(gradients))
        norm = torch.linalg.vector_norm(own.buffer)
        if self.max_grad_norm is not None:
            own.buffer.mul_((self.max_grad_norm / (norm + 1e-6)).clamp_(max=1))
        own.steps[0].add_(1)
        beta1, beta2 = group["betas"]
        self._kernel(
            own.parameters, own.gradients, own.first, own.second, [], own.steps,
            lr=rate, beta1=beta1, beta2=beta2, weight_decay=group["weight_decay"], eps=group["eps"],
            amsgrad=False, maximize=False,
        )  # fmt: skip
        return norm

    def _move_at_its_rate(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        assert self._gathered is not None
        return [self._move(gradients, self._gathered.rate_there)]

    def _touched(self) -> list[Tensor]:
        """Return all that a step reads and writes besides the gradients."""
        own = self._gathered
        assert own is not None
        return [*own.parameters, *own.first, *own.second, own.steps[0], own.buffer, own.rate_there]

    def _gather(self) -> "_Gathered":
        parameters: list[Tensor] = []
        first: list[Tensor] = []
        second: list[Tensor] = []
        steps: list[Tensor] = []
        without = [parameter for parameter in self.param_groups[0]["params"] if parameter.grad is None]
        for parameter in without:  # torch makes the state of those that have a gradient
            parameter.grad = torch.zeros_like(parameter)
        self._init_group(self.param_groups[0], parameters, [], first, second, [], steps)
        for parameter in without:
            parameter.grad = None
        count = steps[0].to(parameters[0].device)
        for parameter in parameters:  # all step together, so they count together
            self.state[parameter]["step"] = count
        buffer = torch.cat([torch.zeros_like(parameter).flatten() for parameter in parameters])
        parts = buffer.split([parameter.numel() for parameter in parameters])
        gradients = [part.view_as(parameter) for part, parameter in zip(parts, parameters, strict=True)]
        return _Gathered(
            parameters, buffer, gradients, first, second, [count] * len(parameters), -1.0, count.new_empty(())
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state as ``torch.optim.Adam`` has it: a counter for each parameter."""
        packed = super().state_dict()
        counted = {index: {**own, "step": own["step"].clone()} for index, own in packed["state"].items()}
        return {**packed, "state": counted}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; the tensors are gathered again."""
        super().load_state_dict(state_dict)
        self._gathered = None


@dataclass
class _Gathered:
    """The tensors of a step, as the kernel takes them."""

    parameters: list[Tensor]
    buffer: Tensor
    gradients: list[Tensor]
    """Views of the buffer."""
    first: list[Tensor]
    second: list[Tensor]
    steps: list[Tensor]
    """One counter, once for each parameter."""
    rate: float
    """The learning rate that is noted on the device; none is below 0."""
    rate_there: Tensor
    """The same on the device, where what is played reads it."""


class Led:
    """Several optimisers that step at once: one kernel for the parameters of all, each with its own moments and clip.

    Args:
        optimizers: whose parameters have the same sizes, and whose rates and other numbers are the same.
    """

    def __init__(self, optimizers: Sequence[ClippedAdam]) -> None:
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
