"""Products of matrices with fewer digits, as a GPU may take them: what does a recipe make of that?

Where torch is told so, a GPU rounds the numbers that it multiplies to TF32 (10 bits behind the point, where float32 has
23) or to bfloat16 (7 bits), and adds the products up in float32. Inside :class:`Rounded` a CPU does the same:

>>> with Rounded("bfloat16"):
...     torch.tensor([[1.001]]) @ torch.tensor([[1000.0]])
tensor([[1000.]])
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

Kept = Literal["tf32", "bfloat16"]

_PRODUCTS = frozenset(["mm", "bmm", "addmm", "baddbmm", "addmv", "mv", "dot", "convolution", "convolution_backward"])
_ADDED = frozenset(["addmm", "baddbmm", "addmv"])
"""Those whose first argument is added, and not multiplied."""


class Rounded(TorchDispatchMode):
    """Rounds what is multiplied in products of float32 matrices, forwards and backwards; sums stay float32.

    Args:
        kept: which digits are kept, those of ``tf32`` or of ``bfloat16``.
    """

    def __init__(self, kept: Kept) -> None:
        super().__init__()
        self._round = {"tf32": _to_tf32, "bfloat16": _to_bfloat16}[kept]
        self.n_products = 0
        """How many were taken."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Take an operation."""
        name = func._schema.name.split("::")[-1]
        if name in _PRODUCTS:
            self.n_products += 1
            first = args[: name in _ADDED]
            args = (*first, *tree_map_only(Tensor, self._round, args[len(first) :]))
        return func(*args, **(kwargs or {}))


def _to_tf32(value: Tensor) -> Tensor:
    if value.dtype != torch.float32:
        return value
    bits = value.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def _to_bfloat16(value: Tensor) -> Tensor:
    return value.to(torch.bfloat16).to(torch.float32) if value.dtype == torch.float32 else value
