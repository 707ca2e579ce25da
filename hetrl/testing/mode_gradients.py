"""Where a mode's gradients go, and whether they are the derivative."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from hetrl.network import Network
from hetrl.testing.batch import tensors
from hetrl.testing.mode import BuiltMode

__tracebackhide__ = True  # pytest shows the line of the test, not these
_STEP = 1e-6
"""Of the differences that gradients are compared with."""


def check_gradients(mode: BuiltMode, stopped: Collection[str]) -> None:
    """Parameters are reached where the mode is learned, and only there; an input's gradient is the derivative."""
    net = mode.net()
    inputs = mode.inputs(net)
    floats = {name: value.requires_grad_() for name, value in tensors(inputs).items() if value.is_floating_point()}
    parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
    outputs = mode.run(net, inputs)
    scores = {role: _score(role, value) for role, value in outputs.items()}
    reached = [gradient for score in scores.values() for gradient in gradients(score, parameters)]
    some = any(gradient is not None and bool((gradient != 0).any()) for gradient in reached)
    if mode.learned and parameters:
        mode.require(
            some, "no gradient reaches a parameter, and the mode is said to be learned; detach nothing, or mark it "
            "learned=False.",
        )  # fmt: skip
    mode.require(mode.learned or not some, "a gradient reaches a parameter, and the mode is marked learned=False.")
    finite = all(gradient is None or bool(gradient.isfinite().all()) for gradient in reached)
    mode.require(finite, "the gradient of a parameter is not finite.")
    found = {role: gradients(score, list(floats.values())) for role, score in scores.items()}
    for place, name in enumerate(floats):
        if f"{mode.name}.{name.split('[')[0]}" not in stopped:
            _check_derivative(mode, net, name, {role: of_role[place] for role, of_role in found.items()})


def gradients(score: Tensor, wanted: list[Any]) -> list[Tensor | None]:
    """Return the gradient of a number in each of some tensors; None where there is none."""
    if not score.requires_grad or not wanted:
        return [None] * len(wanted)
    return list(torch.autograd.grad(score, wanted, allow_unused=True, retain_graph=True))


def _score(role: str, value: Any) -> Tensor:
    """Return a weighted sum of an output, so that nothing cancels (a softmax has sum 1)."""
    generator = torch.Generator().manual_seed(3)
    values = [part for part in tensors({role: value}).values() if part.is_floating_point()]
    weights = [torch.rand(part.shape, generator=generator, dtype=torch.float64) for part in values]
    return sum(((part * weight).sum() for part, weight in zip(values, weights, strict=True)), torch.zeros(()))


def _check_derivative(mode: BuiltMode, net: Network, name: str, gradients: Mapping[str, Tensor | None]) -> None:
    """Along one direction of an input, an output changes by what its gradient says, or (a choice) not at all."""
    scores = []
    for sign in (1, -1):
        inputs = mode.inputs(net)
        value = tensors(inputs)[name]
        along = torch.randn(value.shape, generator=torch.Generator().manual_seed(4), dtype=value.dtype)
        value += sign * _STEP * along
        with torch.no_grad():
            scores.append({role: _score(role, output) for role, output in mode.run(net, inputs).items()})
    for role, gradient in gradients.items():
        change = float((scores[0][role] - scores[1][role]) / (2 * _STEP))
        slope = 0.0 if gradient is None else float((gradient * along).sum())
        mode.require(
            abs(change) < 1e-7 or abs(slope - change) <= 1e-3 * (1 + abs(change)),
            f"output '{role}' changes with '{name}' at a rate of {change:.4g}, and the gradient says {slope:.4g}; "
            f"detach nothing, the phase decides what is constant (where the formula itself stops it: "
            f"stopped=['{mode.name}.{name}']).",
        )
