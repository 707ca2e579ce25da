"""Functions of tensors, as they are or compiled."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hetrl.env.capture import When
from hetrl.errors import RunError

TensorFunction = Callable[..., Sequence[Tensor]]


@dataclass(frozen=True)
class Traced:
    """A function as a graph, and tensors of the shapes that it takes."""

    graph: Any
    examples: tuple[Tensor, ...]


def compiled(function: TensorFunction, *examples: Tensor) -> TensorFunction:
    """Return a function of tensors compiled for such as the ``examples``, without a question to any of their numbers.

    Kernels are made by inductor, and kept on disk for the next process.

    Raises:
        RuntimeError: Python runs without assertions, or what torch's compiler raises.
    """
    if not __debug__:
        raise RuntimeError("python runs with -O, under which torch's compiler gives wrong numbers; run without -O")
    given = tuple(example.contiguous() for example in examples)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about its own compiler
        from torch.fx.experimental.proxy_tensor import make_fx

        from hetrl.env.capture.runner import compiled as kernels

        graph = make_fx(lambda *tensors: tuple(function(*tensors)))(*given)  # of a method, it would count `self`
        run = kernels(Traced(graph, given))

    def call(*tensors: Tensor) -> Sequence[Tensor]:
        return run([each if each.is_contiguous() else each.contiguous() for each in tensors])

    return call


class Kernel:
    """A function of tensors that is compiled at its first call, or stays as it is.

    Args:
        function: takes tensors, of the same shapes each time, and returns several.
        capture: whether it is compiled; with ``auto`` it stays as it is where it cannot be.
    """

    def __init__(self, function: TensorFunction, capture: When) -> None:
        self._function, self._capture = function, capture

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
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
