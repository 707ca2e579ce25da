"""A pretended GPU: what runs on it runs on the CPU, and who mixes devices or makes the host wait is told on.

Tensors on it say that they are on ``cuda:0``, and have their numbers on the CPU, so that results are those of the CPU.
It needs no GPU and no build of torch with CUDA:

>>> with pretended_device(), watched() as ledger:
...     seen = torch.arange(4, device="cuda")
...     chosen = seen[seen > 1]
>>> seen.device, [wait.what for wait in ledger.waits], ledger.launches
(device(type='cuda', index=0), ['index by a mask'], 3)

What is counted is what torch asks a device to do: a *launch* for each operation that is neither a view nor an
allocation (an operation of torch may be several kernels, and one on many tensors counts once), a *wait* for each
question whose answer the host needs, and each copy between the host and the device, unless it is ``non_blocking``.
Time, streams and memory are not pretended: there is one stream, and everything is done as soon as it is asked for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

from hetrl.testing import ledger
from hetrl.testing.ledger import CUDA, watched
from hetrl.testing.pretended_cuda import replaced

__all__ = ["CUDA", "Pretended", "pretended_device", "watched"]
_SEEN_BY_TORCH = torch.device("meta")
"""What torch itself takes these tensors for: where it has no CUDA, it cannot guard a CUDA device."""

_ASKING = {
    "nonzero", "_local_scalar_dense", "is_nonzero", "masked_select", "equal", "unique_dim", "_unique2",
    "unique_consecutive", "bincount", "_linalg_check_errors",
}  # fmt: skip
"""Operations whose result, or its size, the host has to know."""
_COPYING = {"_to_copy", "copy_", "_foreach_copy_"}
_OF_ONE_DEVICE = {
    "cat", "stack", "mm", "bmm", "addmm", "baddbmm", "gather", "scatter", "scatter_", "index_select", "index_copy",
    "index_copy_", "index_add", "index_add_",
}  # fmt: skip
"""Operations that do not even take a single number from the host."""
_FREE = {
    "empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "detach", "alias", "lift_fresh",
    "resize_", "_unsafe_view", "_reshape_alias", "set_", "_local_scalar_dense", "is_same_size", "detach_",
    "squeeze_", "t_", "unsqueeze_", "transpose_", "sym_size", "record_stream",
}  # fmt: skip
"""Operations that launch nothing, beside the views."""


# ----- tensors


class Pretended(Tensor):
    """A tensor on the pretended device; ``numbers`` are its numbers, on the CPU."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> Self:
        """Put a tensor of the CPU onto the device; it is not copied."""
        made = Tensor._make_wrapper_subclass(
            cls, numbers.size(), strides=numbers.stride(), storage_offset=numbers.storage_offset(), dtype=numbers.dtype,
            layout=numbers.layout, device=_SEEN_BY_TORCH,
        )  # fmt: skip
        made.numbers = numbers
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """The pretended one."""
        return CUDA

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        """So it is said."""
        return True

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        """Its numbers are on the CPU, but that is not to be seen."""
        return False

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        """It is one for torch, and that is not to be seen either."""
        return False

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def untyped_storage(self) -> torch.UntypedStorage:
        """Where the numbers lie."""
        return self.numbers.untyped_storage()

    def data_ptr(self) -> int:
        """Where the numbers lie."""
        return self.numbers.data_ptr()

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Pretended({self.numbers!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        with torch.no_grad():
            new: Tensor = self.detach().clone()
        if isinstance(self, torch.nn.Parameter):
            new = torch.nn.Parameter(new)
        memo[id(self)] = new.requires_grad_(self.requires_grad)
        return new

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.numbers.__reduce_ex__(protocol)  # a file has numbers, and whoever reads it says where they go

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Do an operation on the CPU; its results are on the device where its tensors are, or where it was asked for."""
    name = func._schema.name.split("::")[-1]
    asked = kwargs.get("device")
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    here = [each for each in tensors if isinstance(each, Pretended)]
    on_device = bool(here) if asked is None else _is_pretended(asked)
    if here or on_device:
        _look(name, args, kwargs, tensors, on_device)
        if name not in _FREE and not _is_view(func):
            ledger.note_launch(name)
    plain_args, plain_kwargs = tree_map_only(Pretended, lambda each: each.numbers, (tuple(args), dict(kwargs)))
    if asked is not None:
        plain_kwargs["device"] = torch.device("cpu")
    if plain_kwargs.get("pin_memory"):
        plain_kwargs["pin_memory"] = False
    out = func(*plain_args, **plain_kwargs)
    if name == "_to_copy" and on_device != bool(here) and out is plain_args[0]:
        out = out.clone()
    if not on_device:
        return out
    wrapped = tree_map_only(Tensor, lambda each: each if isinstance(each, Pretended) else Pretended(each), out)
    return return_and_correct_aliasing(func, tuple(args), dict(kwargs), wrapped) if here else wrapped


def _is_pretended(device: Any) -> bool:
    return torch.device(device).type in ("cuda", "meta")


def _is_view(func: Any) -> bool:
    returns = func._schema.returns
    return any(each.alias_info is not None and not each.alias_info.is_write for each in returns)


# ----- the rules of a GPU


def _look(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any], tensors: Sequence[Tensor], on_device: bool
) -> None:
    """Take down where an operation makes the host wait, or mixes devices."""
    there = [each for each in tensors if not isinstance(each, Pretended)]
    here = len(tensors) - len(there)
    if name in _COPYING:
        crosses = bool(there) and here > 0 if name != "_to_copy" else bool(here) != on_device
        if crosses and not (kwargs.get("non_blocking") or (name != "_to_copy" and True in args[2:])):
            ledger.note_wait(
                "copy to the device" if isinstance(args[0], Pretended) or on_device else "copy to the host"
            )
    elif name in _ASKING and here:
        ledger.note_wait(name)
    elif name in ("index", "_unsafe_index", "index_put_", "index_put", "_index_put_impl_") and here:
        _look_at_index(name, args)
    elif name == "where" and there and here:
        if any(each.dim() for each in there):
            ledger.note_mixed(name)
        else:
            ledger.note_wait("where() with a number on the host")
    elif there and here and (name in _OF_ONE_DEVICE or any(each.dim() for each in there)):
        ledger.note_mixed(name)


def _look_at_index(name: str, args: Sequence[Any]) -> None:
    indices = [each for each in args[1] if isinstance(each, Tensor)]
    masked = any(each.dtype in (torch.bool, torch.uint8) for each in indices)
    if any(not isinstance(each, Pretended) for each in indices):
        ledger.note_wait("index from the host")
    if not isinstance(args[0], Pretended):
        ledger.note_mixed(f"{name} of what is on the host")
    if not name.endswith("index"):
        value = args[2]
        if masked and value.numel() == 1:  # becomes a fill
            return
        if not isinstance(value, Pretended):
            ledger.note_wait("a number from the host put at an index") if value.dim() == 0 else ledger.note_mixed(name)
    if masked:
        ledger.note_wait("index by a mask")


# ----- modes


class _Dispatch(TorchDispatchMode):
    """Takes what is made on the device from nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """Says ``meta`` for ``cuda`` before torch looks at it, and keeps what only python sees."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if "device" in kwargs:
            self._look_at_generator(kwargs)
            kwargs["device"] = _for_torch(kwargs["device"])
        if name == "to":
            args = tuple(_for_torch(each) for each in args)
        elif name == "cuda":
            return args[0].to(_SEEN_BY_TORCH)
        elif args and isinstance(args[0], Pretended):
            if name == "__setitem__" and isinstance(args[2], int | float):
                # CUDA makes it a tensor of the host's.
                args = (args[0], args[1], torch.scalar_tensor(args[2], dtype=args[0].dtype))
            elif name == "tolist":
                return args[0].cpu().tolist()
            elif name in ("numpy", "__array__"):
                if kwargs.get("force"):
                    return args[0].detach().cpu().numpy()
                raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        return func(*args, **kwargs)

    @staticmethod
    def _look_at_generator(kwargs: Mapping[str, Any]) -> None:
        generator, device = kwargs.get("generator"), kwargs["device"]
        if generator is not None and device is not None and generator.device.type != _kind(device):
            ledger.note_mixed("a generator of another device")


def _kind(device: Any) -> str:
    kind = torch.device(device).type
    return "cuda" if kind == "meta" else kind


def _for_torch(value: Any) -> Any:
    """Return what stands for a device, or anything else as it is."""
    if isinstance(value, str):
        try:
            value_device = torch.device(value)
        except RuntimeError:
            return value
        return _SEEN_BY_TORCH if value_device.type == "cuda" else value
    return _SEEN_BY_TORCH if isinstance(value, torch.device) and value.type == "cuda" else value


def _on_device(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return ``torch.tensor`` or ``torch.as_tensor`` as they are with a GPU: made on the host, and copied."""

    def made(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        if isinstance(data, Pretended):
            return data.to(device=device or CUDA, dtype=kwargs.get("dtype") or data.dtype)
        found = make(data, *args, **kwargs)
        return found if device is None else found.to(device)

    return made


@contextmanager
def pretended_device() -> Iterator[None]:
    """Have a GPU inside, ``cuda:0``, as far as python can see."""
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    # With a GPU a parameter stays the same object where its module moves.
    torch.__future__.set_swap_module_params_on_conversion(True)
    torch._C._set_only_lift_cpu_tensors(True)
    makers = [(torch, name, _on_device(getattr(torch, name))) for name in ("tensor", "as_tensor")]
    try:
        with replaced(makers), _Dispatch(), _Functions():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(False)
        torch.__future__.set_swap_module_params_on_conversion(swaps)
