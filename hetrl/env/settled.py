"""Tensors of a simulator that lie in places of their own, where what is recorded reads and leaves them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hetrl.env.simulator_state import KeyPath, put, slots
from hetrl.graph import copy_all, inline


class FixedPlaces:
    """All tensors that a simulator, or what is around it, holds, each in a place of its own that never changes.

    Whoever steps or resets a simulator puts other tensors into its slots, and says so with :meth:`loosen`; what is
    recorded need not. :meth:`settle` copies their numbers to the places, and puts those back. Slots that held one
    tensor share a place. Where a slot is new, or other slots share one tensor than before, all places are new ones, and
    what was recorded sees that they have moved.

    Args:
        first: see :func:`~hetrl.env.simulator_state.walk`.
    """

    def __init__(self, first: Sequence[KeyPath]) -> None:
        self._first = first
        self._places: dict[KeyPath, Tensor] = {}
        self._loose = True
        self.places: list[Tensor] = []
        """Each of them once."""

    def loosen(self) -> None:
        """Something may be in another place."""
        self._loose = True

    @torch.no_grad()
    def settle(self, root: Any) -> None:
        """Put all that it holds into its place.

        Raises:
            RuntimeError: places would have to be new ones while something is recorded.
        """
        if not (self._loose or inline()):
            return
        self._loose = self._loose and inline()
        here = slots(root, self._first)
        moved = {path: tensor for path, tensor in here.items() if tensor is not self._places.get(path)}
        if not moved and here.keys() == self._places.keys():
            return
        if not _alike(here, self._places):
            if inline():
                raise RuntimeError("a step changes which tensors are one")
            self._take(here)
        else:
            copies = {id(self._places[path]): (self._places[path], tensor) for path, tensor in moved.items()}
            written = {place.untyped_storage().data_ptr() for place, _ in copies.values()}
            # What lies in a place that is about to be written to is read first.
            values = [
                value.clone() if value.untyped_storage().data_ptr() in written else value
                for _, value in copies.values()
            ]
            copy_all([place for place, _ in copies.values()], values)
        for path in here:
            if here[path] is not self._places[path]:
                put(root, path, self._places[path])

    def put_back(self, root: Any) -> None:
        """Put the places back as they are: a recording that failed has left what are no numbers."""
        for path, place in self._places.items():
            put(root, path, place)

    def _take(self, here: Mapping[KeyPath, Tensor]) -> None:
        fresh: dict[int, Tensor] = {}
        for tensor in here.values():
            if id(tensor) not in fresh:
                fresh[id(tensor)] = tensor.detach().clone(memory_format=torch.contiguous_format)
        self._places = {path: fresh[id(tensor)] for path, tensor in here.items()}
        self.places = list(fresh.values())


def _alike(here: Mapping[KeyPath, Tensor], places: Mapping[KeyPath, Tensor]) -> bool:
    """Whether tensors fit into the places, and those that share one are one."""
    if here.keys() != places.keys():
        return False
    pairs = {(id(tensor), id(places[path])) for path, tensor in here.items()}
    one_each = len(pairs) == len({ours for ours, _ in pairs}) == len({theirs for _, theirs in pairs})
    return one_each and all(
        tensor.shape == places[path].shape and tensor.dtype == places[path].dtype for path, tensor in here.items()
    )
