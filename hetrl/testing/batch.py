"""Made-up values for annotated roles, and what the checks do with a batch."""

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union, get_args, get_origin

import jaxtyping
import torch
from torch import Tensor

N_SAMPLES, N_OTHER = 5, 3
"""Size of the batch dimension (``*batch``) and of every other named dimension of a fake batch."""


def annotation(hint: Any) -> tuple[Any, bool]:
    """Return the jaxtyping shape in an annotation (None without one), and whether it stands for a tuple of tensors."""
    if hasattr(hint, "dim_str"):
        return hint, False
    origin = get_origin(hint)
    if origin is tuple:
        return annotation(get_args(hint)[0])[0], True
    if origin in (Union, types.UnionType):
        found = [annotation(part) for part in get_args(hint)]
        return next((each for each in found if each[0] is not None), (None, False))
    return None, False


def sample_dim(hint: Any) -> int | None:
    """Return the place of the batch dimension, or None where the annotation has none."""
    shape, _ = annotation(hint)
    found = [place for place, dim in enumerate(dims(shape)) if "*" in dim or dim == "..."] if shape else []
    return found[0] if found else None


def made_up(shape: Any, dtype: torch.dtype, generator: torch.Generator, sizes: Sequence[int] | None = None) -> Tensor:
    """Return a tensor of an annotated shape: normal draws, integers 0 to ``N_OTHER - 1``, or a coin's flags.

    Args:
        shape: the annotation.
        dtype: of floats.
        generator: of the draws.
        sizes: of its dimensions; left out, :data:`N_SAMPLES` and :data:`N_OTHER`.
    """
    sizes = [_size(dim) for dim in dims(shape)] if sizes is None else list(sizes)
    if shape.dtype is jaxtyping.Bool:
        flags = torch.rand(sizes, generator=generator) < 0.5
        flags.view(-1)[:1] = True
        return flags
    if shape.dtype in (jaxtyping.Int, jaxtyping.Integer, jaxtyping.UInt):
        return torch.randint(0, N_OTHER, sizes, generator=generator)
    # Drawn in one type, so that the two types hold the same numbers.
    return torch.randn(sizes, generator=generator, dtype=torch.float64).to(dtype)


def dims(shape: Any) -> list[str]:
    """Return the names or sizes of the dimensions in an annotated shape."""
    return [word.split("=")[-1] for word in shape.dim_str.split()]


def _size(dim: str) -> int:
    return N_SAMPLES if "*" in dim or dim == "..." else int(dim) if dim.isdigit() else N_OTHER


def copied(value: Any, dtype: torch.dtype) -> Any:
    """Return a copy of the tensors in a value, floats of that type; anything else as it is."""

    def copy(part: Any) -> Any:
        return part.detach().to(dtype if part.is_floating_point() else part.dtype, copy=True)

    return each(value, lambda part: copy(part) if isinstance(part, Tensor) else part)


def each(value: Any, function: Callable[[Any], Any]) -> Any:
    """Return the function of the value; of every member where it is a tuple."""
    return tuple(map(function, value)) if isinstance(value, tuple) else function(value)


def parts(value: Any) -> tuple[Any, ...]:
    """Return the members of a tuple, or the value alone."""
    return value if isinstance(value, tuple) else (value,)


def tensors(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return a batch's tensors by name; those of a tuple by name and place."""
    found: dict[str, Tensor] = {}
    for role, value in batch.items():
        named = {f"{role}[{i}]": part for i, part in enumerate(value)} if isinstance(value, tuple) else {role: value}
        found.update({name: part for name, part in named.items() if isinstance(part, Tensor)})
    return found


def close(value: Any, wanted: Any) -> bool:
    """Return whether a value, or every member of a tuple, has the shape and, up to rounding, the numbers wanted."""
    return all(
        part.shape == other.shape and torch.allclose(part, other)
        for part, other in zip(parts(value), parts(wanted), strict=True)
    )


def shape_of(value: Any) -> Any:
    """Return the shape of a value as a list, of every member where it is a tuple."""
    return [list(part.shape) for part in value] if isinstance(value, tuple) else list(getattr(value, "shape", []))
