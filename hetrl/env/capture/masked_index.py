"""Masks in tensors of a fixed shape: what ``x[mask]`` reads, and what ``x[mask] = v`` writes."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hetrl.env.capture.places import RefusalError, place


def has_mask(index: Any) -> bool:
    """Whether an index holds a mask."""
    return any(_is_mask(part) for part in (index if isinstance(index, tuple) else (index,)))


def _is_mask(part: Any) -> bool:
    return isinstance(part, Tensor) and part.dtype == torch.bool and part.dim() > 0


@dataclass(frozen=True)
class MaskedIndex:
    """What ``tensor[before, mask, after]`` is about.

    It can be read *whole*, with all rows in their places, which is right where each row is computed with on its own.
    Or *packed*: as many rows still, but those that the mask holds come first, in order, as they do in ``x[mask]``; the
    rest repeat the first of them. So the first row is the first row, and the largest of all the largest. Either way,
    what the mask does not hold is dropped when it is written back.
    """

    view: Tensor
    """``tensor[before, :, after]``."""
    mask: Tensor
    first: int
    """The dimension of ``view`` at which those of the mask begin."""

    @property
    def fitting(self) -> Tensor:
        """The mask, of as many dimensions as ``view``."""
        left = self.view.dim() - self.first - self.mask.dim()
        return self.mask.reshape((1,) * self.first + tuple(self.mask.shape) + (1,) * left)

    def read(self, packed: bool) -> Tensor:
        """``x[mask]``."""
        if not packed:
            return self.view.clone()
        flat = self.mask.flatten()
        order = torch.argsort(~flat, stable=True)
        held = torch.arange(len(flat), device=flat.device) < flat.sum()
        return self._rows(self.view).index_select(self.first, torch.where(held, order, order[0]))

    def unpacked(self, value: Tensor) -> Tensor:
        """``value`` for packed rows, each in its place; where the mask does not hold stands anything."""
        rows, n_mask = self._rows(self.view), self.mask.dim()
        at = value.dim() - (rows.dim() - self.first)
        if at < 0:  # the same for all rows
            return value
        if value.shape[at] == 1:
            return value.unflatten(at, (1,) * n_mask)
        rank = (self.mask.flatten().cumsum(0) - 1).clamp(min=0)
        return value.expand(rows.shape).index_select(self.first, rank).reshape(self.view.shape)

    def _rows(self, view: Tensor) -> Tensor:
        return view.flatten(self.first, self.first + self.mask.dim() - 1)


def masked_index(tensor: Tensor, index: Any) -> MaskedIndex | None:
    """What ``tensor[index]`` is about where there is a mask in ``index``; None where there is none.

    Raises:
        RefusalError: there are other tensors in ``index`` as well.
    """
    if not has_mask(index):
        return None
    parts = index if isinstance(index, tuple) else (index,)
    at = next(i for i, part in enumerate(parts) if _is_mask(part))
    mask, before, after = parts[at], parts[:at], parts[at + 1 :]
    if any(isinstance(part, (Tensor, list)) for part in (*before, *after)):
        raise RefusalError(f"it indexes with a mask among other tensors, at {place()[1]}")
    if before and before[0] is Ellipsis:
        used = sum(part is not None for part in after) + mask.dim()
        before = (slice(None),) * (tensor.dim() - used)
    view = tensor[(*before, *(slice(None),) * mask.dim(), *after)]
    return MaskedIndex(view, mask, sum(not isinstance(part, int) for part in before))
