"""Joint actions: one tensor for each agent, and what a critic makes of them."""

from collections.abc import Callable, Mapping, Sequence

from jaxtyping import Float, Num
from torch import Tensor

JointAction = tuple[Tensor, ...]
"""Everybody's action ``*B A``, in team order."""
JointValue = Callable[[Tensor, JointAction], Mapping[str, Tensor]]
"""A critic: it takes a state ``*B S`` and a joint action, and returns ``{"q": ...}``, their value ``*B``."""


def repeated(value: Tensor, several: int, before: int = -1) -> Tensor:
    """Return a view of ``value`` with a new dimension of ``several`` equal entries.

    The new dimension stands before the last one; with ``before=-2`` before the last two, and so on.

    >>> import torch
    >>> repeated(torch.zeros(5, 3), 4).shape
    torch.Size([5, 4, 3])
    """
    at = value.dim() + before
    return value.unsqueeze(at).expand(*value.shape[:at], several, *value.shape[at:])


def is_repeated(value: Tensor) -> bool:
    """Whether all entries of the last dimension but one are one and the same, in memory too, as :func:`repeated` makes.

    >>> import torch
    >>> is_repeated(repeated(torch.zeros(5, 3), 4)), is_repeated(torch.zeros(5, 4, 3))
    (True, False)
    """
    return value.dim() > 2 and value.shape[-2] > 1 and value.stride(-2) == 0


def with_each(
    state: Float[Tensor, "*batch size"],
    action: Sequence[Num[Tensor, "*batch _"]],
    place: int,
    options: Float[Tensor, "*batch several dim"],
) -> tuple[Float[Tensor, "*batch several size"], JointAction]:
    """Return the state and the joint action once for each option of one agent, the others' actions as they are."""
    several = options.shape[-2]
    wide = [repeated(each, several) for each in action]
    wide[place] = options
    return repeated(state, several), tuple(wide)
