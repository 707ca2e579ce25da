"""A recording that really plays, where there is no GPU: each operation is written down, and done again."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hetrl.graph import Generators, Work

_WAITS = frozenset(
    ["_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal"]
)
"""Operations whose result the host has to see before it can go on: no CUDA graph holds one."""


class Tape:
    """Stands in for a CUDA graph, see :class:`hetrl.graph.CudaGraph`, with what makes one go wrong.

    Played, it runs no Python of the function: numbers of the host are those of the recording, and tensors lie where
    they lay then. What waits for the device cannot be recorded. Put it under the name of a device into
    ``hetrl.graph.RECORDERS``.
    """

    def __init__(self, function: Work, inputs: Sequence[Tensor], generators: Generators = ()) -> None:
        function(inputs)
        writer = _Scribe()
        with writer:
            self.outputs: Sequence[Tensor] = [result.detach() for result in function(inputs)]
        self._lines = writer.lines
        for result in writer.made:  # a graph computes nothing before it is played
            result.fill_(torch.nan if result.is_floating_point() or result.is_complex() else 0)

    @property
    def n_operations(self) -> int:
        """Operations that it does when it is played."""
        return len(self._lines)

    @torch.no_grad()
    def play(self) -> None:
        """Do all operations again, each into the places of its results."""
        for operation, args, kwargs, results in self._lines:
            for place, result in zip(results, _tensors(operation(*args, **kwargs)), strict=True):
                if place is not result:
                    place.copy_(result)


class _Scribe(TorchDispatchMode):
    """Writes down the operations that are done inside."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []
        self.made: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation, and write it down unless it only looks at a tensor in another way."""
        kwargs = kwargs or {}
        name = func._schema.name.split("::")[-1]
        by_mask = name in ("index", "index_put_", "index_put", "_index_put_impl_") and any(
            part.dtype in (torch.bool, torch.uint8) for part in _tensors(args[1])
        )
        if name in _WAITS or by_mask:
            raise RuntimeError(f"{name} waits for the device while it is recorded")
        result = func(*args, **kwargs)
        returns = func._schema.returns
        if func._schema.is_mutable or not any(each.alias_info is not None for each in returns):
            results = [tensor.detach() for tensor in _tensors(result)]
            self.lines.append((func, args, kwargs, results))
            storages = {tensor.untyped_storage().data_ptr() for tensor in _tensors((args, kwargs))}
            self.made += [each for each in results if each.untyped_storage().data_ptr() not in storages]
        return result


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
