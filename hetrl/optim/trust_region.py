"""The trust-region step: natural gradient, and a line search that keeps what it promises."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn

from hetrl import ranks
from hetrl.arguments import SCHEDULABLE, Count, NonNegative, Positive, checked
from hetrl.optim import Closure, Optim

Shrink = Annotated[float, Interval(gt=0, lt=1)]


class TrustRegion(Optim):
    """One natural-gradient step of the loss inside a ball of mean KL, found by conjugate gradients and a line search.

    g = -grad loss,   x = CG(H + damping I, g),   H = Hessian of the mean KL(old || now) at now = old
    step = sqrt(2 radius / x.(H + damping I) x) x, times shrink^k for the least k < backtracks at which
    KL < radius,   gain > 0,   gain > accept_ratio shrink^k g.step;   if there is none, nothing moves

    Every step evaluates the phase's own steps, whatever the surrogate and the distribution are; they must write
    ``agent.kl`` (``{net: actor.kl}``). Log: ``kl``, ``gain`` (how far the loss fell), ``expected_gain`` (to first
    order), ``step`` (the fraction taken, 0 where it was rejected) and ``radius``.

    Steps that draw random numbers draw the same ones at every try. Steps that keep state are refused: each try would
    move it.

    On a CPU the line search ends with the try that it takes. On a GPU the host would have to wait to know which one
    that is: there all are made, and the first that keeps what it promises is taken. Second derivatives are not
    compiled: with ``run.compile`` a phase with this optimiser runs as it is.

    Args:
        radius: largest mean KL of a step [nat], above 0; may follow a schedule.
        accept_ratio: least share of the first-order gain that the line search accepts [1], 0 or more.
        backtracks: tries of the line search.
        shrink: how the step shrinks from one try to the next [1], between 0 and 1.
        cg_steps: iterations of conjugate gradients.
        damping: added to the Hessian's diagonal [nat], 0 or more.
        inactive: rows in which the agent is out: ``skip`` leaves them out of the mean KL, as they are left out of the
            loss; ``count`` takes them in.

    Source: Kuba et al. 2022, arXiv:2109.11251 (HATRPO); Schulman et al. 2015, arXiv:1502.05477, appendix C.
    Differs: the reference code of Zhong et al. 2024 takes the mean KL over inactive rows too (``inactive: count``),
        and for categorical policies it is no KL, since the probabilities are missing; here it is.
    """

    reads: ClassVar[Mapping[str, str]] = {"kl": "agent.kl"}
    once: ClassVar[bool] = True

    def __init__(
        self,
        *,
        radius: Annotated[Positive, SCHEDULABLE] = 0.01,
        accept_ratio: NonNegative = 0.5,
        backtracks: Count = 10,
        shrink: Shrink = 0.8,
        cg_steps: Count = 10,
        damping: NonNegative = 0.1,
        inactive: Literal["skip", "count"] = "skip",
    ) -> None:
        self.options = {
            "radius": radius, "accept_ratio": accept_ratio, "backtracks": backtracks, "shrink": shrink,
            "cg_steps": cg_steps, "damping": damping,
        }  # fmt: skip
        self.constraints = dict.fromkeys(self.reads.values(), inactive == "skip")
        """Keys whose means it wants -> whether inactive rows are left out of them."""

    __init__ = checked(__init__, "optim/trust_region")

    def optimizer(self, parameters: Sequence[nn.Parameter]) -> "NaturalGradient":
        """Return the torch optimiser for one network."""
        return NaturalGradient(parameters, self.options)


class NaturalGradient(torch.optim.Optimizer):
    """The step of :class:`TrustRegion` as a torch optimiser; it keeps no state."""

    twice = True
    """It differentiates twice: the closure must keep its graph."""
    figures: dict[str, Tensor]

    def __init__(self, parameters: Sequence[nn.Parameter], options: Mapping[str, Any]) -> None:
        super().__init__(parameters, dict(options))

    @torch.no_grad()
    def step(self, closure: Closure) -> Any:  # type: ignore[override]
        """Take the step, or none; the closure's means must hold ``agent.kl``."""
        group = self.param_groups[0]
        parameters: list[nn.Parameter] = group["params"]
        draws = _RandomState(parameters[0].device)
        with torch.enable_grad():
            evaluated = loss, means = closure()
            gradient = -_flat([parameter.grad for parameter in parameters])  # type: ignore[misc]
            # Zero where now is old, but its derivative is the Hessian.
            slope = _flat(torch.autograd.grad(means["agent.kl"], parameters, create_graph=True, materialize_grads=True))

        def curvature(vector: Tensor) -> Tensor:
            with torch.enable_grad():
                product = torch.autograd.grad(slope @ vector, parameters, retain_graph=True, materialize_grads=True)
            return ranks.mean(_flat(product)) + group["damping"] * vector

        direction = conjugate_gradient(curvature, gradient, group["cg_steps"])
        full = direction * (2 * group["radius"] / (direction @ curvature(direction))).sqrt()
        expected = gradient @ full
        start, fraction = _flat(parameters), 1.0
        self.figures = dict.fromkeys(("kl", "gain", "expected_gain", "step"), torch.zeros_like(loss.detach()))
        accepted = torch.zeros_like(loss.detach(), dtype=torch.bool)
        for _ in range(group["backtracks"]):
            _assign(parameters, start + fraction * full)
            draws.restore()
            now, tried = closure()
            kl, gain = tried["agent.kl"], loss.detach() - now
            keeps = (kl < group["radius"]) & (gain > 0) & (gain > group["accept_ratio"] * fraction * expected)
            taken = torch.full_like(kl, fraction)
            found = {"kl": kl, "gain": gain, "expected_gain": fraction * expected, "step": taken}
            first = keeps & ~accepted
            self.figures = {name: torch.where(first, value, self.figures[name]) for name, value in found.items()}
            accepted = accepted | keeps
            if kl.device.type == "cpu" and accepted:  # elsewhere the host would wait for the answer
                break
            fraction *= group["shrink"]
        _assign(parameters, torch.where(accepted, start + self.figures["step"] * full, start))
        self.figures["radius"] = torch.full_like(loss.detach(), group["radius"])
        return evaluated


class _RandomState:
    """The random state at a moment, of the CPU and of a device."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self._device, self._cpu = device, torch.get_rng_state()

    def restore(self) -> None:
        """Draw again what has been drawn since."""
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], target: Tensor, n_steps: int, tolerance: float = 1e-10
) -> Tensor:
    """Return x with ``product(x) = target``, after ``n_steps`` iterations from 0, for a positive definite ``product``.

    Once the squared residual is no more than ``tolerance`` nothing changes any more; no step waits for the device.
    """
    x, residual, direction = torch.zeros_like(target), target.clone(), target.clone()
    square = residual @ residual
    for _ in range(n_steps):
        running = square > tolerance
        image = product(direction)
        rate = torch.where(running, square / (direction @ image), 0.0)
        x = x + rate * direction
        residual = residual - rate * image
        before, square = square, residual @ residual
        direction = torch.where(running, residual + square / before * direction, direction)
    return x


def _flat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def _assign(parameters: Sequence[nn.Parameter], vector: Tensor) -> None:
    sizes = [parameter.numel() for parameter in parameters]
    for parameter, part in zip(parameters, vector.split(sizes), strict=True):
        parameter.copy_(part.view_as(parameter))
