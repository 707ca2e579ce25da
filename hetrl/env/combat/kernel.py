"""Functions of tensors, as they are or compiled."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hetrl.env.capture import When
from hetrl.errors import RunError
from hetrl.graph import record

TensorFunction = Callable[..., tuple[Tensor, ...]]
_Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True)
class Traced:
    """A function as a graph, and tensors of the shapes that it takes."""

    graph: Any
    examples: tuple[Tensor, ...]


def compiled(function: TensorFunction, *examples: Tensor) -> TensorFunction:
    """Return a function of tensors compiled for such as the ``examples``, without a question to any of their numbers.

    On a CPU kernels are made by inductor, and kept on disk for the next process; on a GPU they are played together.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    from hetrl.env.capture import runner

    given = tuple(example.contiguous() for example in examples)
    with torch.no_grad():
        graph = make_fx(lambda *tensors: tuple(function(*tensors)))(*given)  # of a method, it would count `self`
    run = runner.compiled(Traced(graph, given))
    if given[0].device.type != "cpu":
        run = _played(run, given)

    def call(*tensors: Tensor) -> tuple[Tensor, ...]:
        found: Sequence[Tensor] = run([each if each.is_contiguous() else each.contiguous() for each in tensors])
        return tuple(found)

    return call


def _played(function: _Run, examples: Sequence[Tensor]) -> _Run:
    """Return the function recorded as one, whose results are the caller's."""
    inputs = [example.clone() for example in examples]
    recording = record(function, inputs)

    def play(given: Sequence[Tensor]) -> Sequence[Tensor]:
        torch._foreach_copy_(inputs, list(given))
        recording.play()
        return [result.clone() for result in recording.outputs]

    return play


class Kernel:
    """A function of tensors that is compiled at its first call, or stays as it is.

    Args:
        function: takes tensors, of the same shapes each time, and returns several.
        capture: whether it is compiled; with ``auto`` it stays as it is where it cannot be.
    """

    def __init__(self, function: TensorFunction, capture: When) -> None:
        self._function, self._capture = function, capture

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return what the function does.

        Raises:
            RunError: it cannot be compiled here.
        """
        if self._capture:
            self._function, self._capture = self._made(*tensors), False
        return self._function(*tensors)

    def _made(self, *tensors: Tensor) -> TensorFunction:
        try:
            return compiled(self._function, *tensors)
        except Exception as error:  # of torch's compiler, which may lack a C++ compiler
            reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no text'])[0][:200]}"
            if self._capture is True:
                raise RunError(
                    f"task.capture: battles cannot be compiled here: {reason}. Write task.capture=auto, which goes on "
                    "without, or false."
                ) from error
            warnings.warn(f"task.capture: a part of battles stays uncompiled: {reason}.", stacklevel=2)
            return self._function
