"""Linear layers with an activation between them, as one node of the graph.

torch makes a node for each product and each activation, takes new memory for each derivative, and passes over the
activations more often than the maths does. Here the gradient is written out, with the activation's slope in place.

    x_l = f(x_l-1 W_l^T + b_l),   the last without f
    dW_l = g_l^T x_l-1,   db_l = sum of g_l over rows,   g_l-1 = (g_l W_l) f'(x_l-1)
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Function = Callable[[Tensor], Tensor]
Slope = Callable[[Tensor, Tensor], Tensor]


def layers(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: Function,
    slope: Slope | None,
    sparse: bool = False,
) -> Tensor:
    """Return the output, ``*B out``, for an input ``*B in``.

    Args:
        x: the input.
        weights: of each layer, ``out in``.
        biases: of each layer, ``out`` or, for each row its own, ``rows out``.
        activation: between the layers.
        slope: from the gradient after an activation and its result to the gradient before it, see
            ``hetrl.ops.activation.SLOPES``; None leaves the gradients to torch.
        sparse: leave out the rows that have no gradient on the way back; finding them waits for the device.
    """
    if torch.is_grad_enabled() and slope is not None and _of_several():
        return _OneOfSeveral.apply(activation, slope, x, *weights, *biases)
    plain = slope is None or torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    if torch.is_grad_enabled() and not plain:
        return _Layers.apply(activation, slope, sparse, x, *weights, *biases)
    out = x.reshape(-1, x.shape[-1])  # once here, rather than inside of every layer
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        out = torch.addmm(bias, out if layer == 0 else activation(out), weight.t())
    return out.view(*x.shape[:-1], out.shape[-1])


def _forward(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: Function) -> list[Tensor]:
    """Return the input of every layer, as rows, and the output."""
    values = [x.reshape(-1, x.shape[-1])]
    out = torch.addmm(biases[0], values[0], weights[0].t())
    for weight, bias in zip(weights[1:], biases[1:], strict=True):
        values.append(activation(out))
        out = torch.addmm(bias, values[-1], weight.t())
    return [*values, out.view(*x.shape[:-1], out.shape[-1])]


class _Layers(torch.autograd.Function):
    """The layers, and the gradients of their input and their parameters."""

    @staticmethod
    def forward(
        context: Any, activation: Function, slope: Slope, sparse: bool, x: Tensor, *parameters: Tensor
    ) -> Tensor:
        """Return the output."""
        depth = len(parameters) // 2
        *seen, out = _forward(x, parameters[:depth], parameters[depth:], activation)
        context.activation, context.slope, context.sparse = activation, slope, sparse
        context.save_for_backward(x, *parameters, *seen)
        return out

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients."""
        x, *saved = context.saved_tensors
        depth = len(saved) // 3
        weights, biases, seen = saved[:depth], saved[depth : 2 * depth], saved[2 * depth :]
        wanted = context.needs_input_grad[3:]
        if torch.is_grad_enabled():  # asked for gradients that have one themselves: torch's own, of another pass
            out = layers(x, weights, biases, context.activation, None)
            inputs = [each for each, want in zip((x, *weights, *biases), wanted, strict=True) if want]
            found = iter(torch.autograd.grad(out, inputs, gradient, create_graph=True))
            return (None, None, None, *[next(found) if want else None for want in wanted])
        rows = gradient.reshape(-1, gradient.shape[-1])
        if context.sparse:
            chosen = rows.any(-1).nonzero().squeeze(-1)
            rows, seen = rows.index_select(0, chosen), [each.index_select(0, chosen) for each in seen]
        of_weights: list[Tensor | None] = [None] * depth
        of_biases: list[Tensor | None] = [None] * depth
        for layer in reversed(range(depth)):
            if wanted[1 + layer]:
                of_weights[layer] = _of_weight(rows, seen[layer], weights[layer])
            if wanted[1 + depth + layer]:
                of_biases[layer] = rows if biases[layer].dim() == 2 else rows.sum(0)
            if layer > 0:
                rows = context.slope(rows @ weights[layer], seen[layer])
        of_x = None
        if wanted[0]:
            of_x = rows @ weights[0]
            if context.sparse:
                of_x = of_x.new_zeros(x.shape).view(-1, x.shape[-1]).index_copy_(0, chosen, of_x)
            of_x = of_x.view(x.shape)
        return (None, None, None, of_x, *of_weights, *of_biases)


def _of_weight(rows: Tensor, seen: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of a weight.

    The product with the longer side inside is up to a quarter faster on CPUs; a square one is laid out as its weight.
    """
    out, into = weight.shape
    return rows.t() @ seen if out < into or (out == into and weight.is_contiguous()) else (seen.t() @ rows).t()


# ----- the layers of several networks at once


def _of_several() -> bool:
    """Whether this is the call of one of several networks, which ``torch.vmap`` makes of all at once."""
    inside = torch._C._functorch.peek_interpreter_stack() if torch._C._are_functorch_transforms_active() else None
    return inside is not None and inside.key() == torch._C._functorch.TransformType.Vmap


class _OneOfSeveral(torch.autograd.Function):
    """What ``torch.vmap`` takes for the layers of one network, and hands over as those of all."""

    @staticmethod
    def forward(activation: Function, slope: Slope, x: Tensor, *parameters: Tensor) -> Tensor:
        """Never called."""
        raise NotImplementedError

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Never called."""

    @staticmethod
    def vmap(
        info: Any, places: Sequence[int | None], activation: Function, slope: Slope, x: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, int]:
        """Return the output of all, networks first; what only one has is everybody's."""
        x, *parameters = [  # type: ignore[assignment]
            value.expand(info.batch_size, *value.shape) if place is None else value.movedim(place, 0)
            for value, place in zip((x, *parameters), places[2:], strict=True)
        ]
        depth = len(parameters) // 2
        weights, biases = (
            parameters[:depth],
            [bias if bias.dim() == 3 else bias.unsqueeze(1) for bias in parameters[depth:]],
        )
        rows = x.reshape(len(x), -1, x.shape[-1])
        out = _Stacked.apply(activation, slope, rows, *weights, *biases)
        return out.view(*x.shape[:-1], out.shape[-1]), 0


class _Stacked(torch.autograd.Function):
    """The layers of ``k`` networks: rows ``k rows in``, weights ``k out in``, biases ``k 1 out`` or ``k rows out``."""

    @staticmethod
    def forward(context: Any, activation: Function, slope: Slope, rows: Tensor, *parameters: Tensor) -> Tensor:
        """Return the output, ``k rows out``."""
        depth = len(parameters) // 2
        weights, biases = parameters[:depth], parameters[depth:]
        seen = [rows]
        out = torch.baddbmm(biases[0], rows, weights[0].mT)
        for weight, bias in zip(weights[1:], biases[1:], strict=True):
            seen.append(activation(out))
            out = torch.baddbmm(bias, seen[-1], weight.mT)
        context.slope, context.shared = slope, [bias.shape[1] == 1 for bias in biases]
        context.save_for_backward(*weights, *seen)
        return out

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients."""
        depth = len(context.saved_tensors) // 2
        weights, seen = context.saved_tensors[:depth], context.saved_tensors[depth:]
        wanted = context.needs_input_grad[2:]
        of_weights: list[Tensor | None] = [None] * depth
        of_biases: list[Tensor | None] = [None] * depth
        rows = gradient
        for layer in reversed(range(depth)):
            if wanted[1 + layer]:
                of_weights[layer] = rows.mT @ seen[layer]
            if wanted[1 + depth + layer]:
                of_biases[layer] = rows.sum(1, keepdim=True) if context.shared[layer] else rows
            if layer > 0:
                rows = context.slope(rows @ weights[layer], seen[layer])
        return (None, None, rows @ weights[0] if wanted[0] else None, *of_weights, *of_biases)
