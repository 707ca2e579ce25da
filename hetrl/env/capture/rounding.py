"""What rounding alone does to a traced step: each result of each operation a last bit off, at random."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from hetrl.env.capture.runner import Executable
from hetrl.env.capture.traced_step import TracedStep


class _Rounded(fx.Interpreter):
    """Runs a graph. What it computes is multiplied by 1 - eps, 1 or 1 + eps."""

    def __init__(self, graph: fx.GraphModule, generator: torch.Generator) -> None:
        super().__init__(graph)
        self._generator = generator

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation."""
        value = super().run_node(n)
        if n.op != "call_function" or not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        bits = torch.randint(-1, 2, value.shape, generator=self._generator)
        return value * (1 + bits.to(value) * torch.finfo(value.dtype).eps)


def rounded(traced: TracedStep, generator: torch.Generator) -> Executable:
    """The traced step, at each call with other errors of rounding."""
    interpreter = _Rounded(traced.graph, generator)

    def run(given: Sequence[Tensor]) -> Sequence[Tensor]:
        with torch.no_grad():
            return interpreter.run(*given)

    return run
