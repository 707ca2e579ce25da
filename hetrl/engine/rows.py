"""The inputs of a turn as rows: what epochs reorder and minibatches cut."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from hetrl import keys
from hetrl.engine.exchanged import counted
from hetrl.engine.program import Values
from hetrl.engine.store import Store
from hetrl.errors import RecipeError, RunError
from hetrl.recipe.schema import Phase
from hetrl.team import Agent


@dataclass(frozen=True)
class Cut:
    """Where a batch is cut into minibatches: along which dimension, and what its entries are."""

    along: int
    length: int
    """Time steps in one entry: 1, or the length of a chunk."""
    entries: str
    """Their name in error messages."""
    arrange: Callable[[Tensor, int], Tensor]
    """Takes a value and its number of batch dimensions; returns it with the entries along dimension ``along``."""

    @classmethod
    def of(cls, reader: Any) -> "Cut":
        """Return the cut that a reader's networks need: rows in any order, or chunks of time."""
        chunks: set[int] = {net.chunk for net in reader.nets.values() if net.chunk}
        if not chunks:
            return cls(0, 1, "rows", _rows)
        (chunk,) = chunks  # the checker has seen that they are equal
        return cls(1, chunk, f"chunks of {chunk} steps", partial(_chunks, chunk))


def _rows(value: Tensor, dims: int) -> Tensor:
    """Return ``[T, N, *]`` as rows ``[T N, *]``."""
    return value if dims == 1 else value.flatten(0, dims - 1)


def _chunks(chunk: int, value: Tensor, dims: int) -> Tensor:
    """Return ``[T, N, *]`` as the steps of chunks, ``[chunk, T / chunk N, *]``."""
    return value.unflatten(0, (-1, chunk)).transpose(0, 1).flatten(1, dims)


class Rows:
    """The inputs of a lane as rows, ready to be reordered and cut into minibatches.

    A row is one step of one environment: time and environments are flattened into one dimension, time first. Where a
    recurrent network takes part, the entries are chunks of time instead, see :class:`Cut`.
    """

    def __init__(self, values: Values, count: int, lane_size: int, expand: frozenset[str], cut: Cut) -> None:
        self.count = count
        self.cut = cut
        self._values, self.lane_size, self._expand = values, lane_size, expand

    @classmethod
    def of(cls, reader: Any, lane: Sequence[Agent], store: Store) -> "Rows":
        """Return the rows that a reader reads from a store, with the mask of active agents.

        Args:
            reader: a program, or what it and others need together: ``reads`` and ``nets``.
            lane: whose rows.
            store: where they are.
        """
        dims, cut = len(store.batch_size), Cut.of(reader)
        values: Values = {}
        expand = set()
        wanted = dict(reader.reads)
        wanted.pop(keys.ACTIVE, None)
        for key, optional in wanted.items():
            if optional and not store.has(key, lane):
                continue
            # A team's value is repeated for the agents of a lane only when it is cut: reordering copies it once.
            shared = keys.scope(key) != keys.AGENT
            if shared and len(lane) > 1:
                expand.add(key)
            found = store.read(key, () if shared else lane)
            for part in found if isinstance(found, tuple) else (found,):
                if part.shape[:dims] != store.batch_size:
                    raise RunError(
                        f"'{key}' is {list(part.shape)}, and a batch {list(store.batch_size)}: it does not begin with "
                        "its rows (an ensemble's members come first); write it in steps, where it is read."
                    )
            values[key] = _each(found, lambda value: cut.arrange(value, dims))
        active = _active(lane, store)
        if active is not None:
            values[keys.ACTIVE] = cut.arrange(active, dims)
        return cls(values, store.batch_size.numel() // cut.length, len(lane), frozenset(expand), cut)

    def ordered(self, order: Tensor) -> "Rows":
        """Return the rows in another order.

        Each epoch reorders what the epoch before it has ordered: a permutation of a permutation is as random as one.
        """
        along = self.cut.along
        values = {
            key: _each(value, lambda part: part.index_select(along, order)) for key, value in self._values.items()
        }
        return Rows(values, self.count, self.lane_size, self._expand, self.cut)

    def split(self, sizes: list[int]) -> list[Values]:
        """Return the inputs of consecutive minibatches of ``sizes`` rows each, as views."""
        parts = {key: self._parts(key, value, sizes) for key, value in self._values.items()}
        return [{key: each[index] for key, each in parts.items()} for index in range(len(sizes))]

    def _parts(self, key: str, value: Any, sizes: list[int]) -> Sequence[Any]:
        if isinstance(value, tuple):
            return list(zip(*(self._parts(key, part, sizes) for part in value), strict=True))
        if key in self._expand:
            agent_dim = self.cut.along + 1
            value = value.unsqueeze(agent_dim)
            value = value.expand(*value.shape[:agent_dim], self.lane_size, *value.shape[agent_dim + 1 :])
        return [value] if len(sizes) == 1 else value.split(sizes, self.cut.along)


def minibatches(rows: Sequence[Rows], phase: Phase, generator: torch.Generator) -> Iterator[list[Values]]:
    """Yield every lane's inputs, minibatch by minibatch, in a fresh order each epoch. No row is left out.

    Args:
        rows: of each lane.
        phase: says how many epochs and minibatches.
        generator: draws the orders, all before the first minibatch: turns may be cut side by side.

    Raises:
        RecipeError: there are more minibatches than rows.
    """
    count, n_parts = rows[0].count, phase.minibatches
    if n_parts > count:
        what = f"{count} {rows[0].cut.entries}"
        raise RecipeError(f"{phase.where}.minibatches = {n_parts} is more than the {what} of a batch.")
    ends = [count * part // n_parts for part in range(n_parts + 1)]
    sizes = [end - start for start, end in pairwise(ends)]
    n_orders = phase.epochs if n_parts > 1 else 0
    orders = [torch.randperm(count, generator=generator, device=generator.device) for _ in range(n_orders)]
    for epoch in range(phase.epochs):
        rows = [each.ordered(orders[epoch]) for each in rows] if orders else rows
        lanes = counted(rows, [each.split(sizes) for each in rows], sizes, generator.device)
        yield from map(list, zip(*lanes, strict=True))


def _active(lane: Sequence[Agent], store: Store) -> Tensor | None:
    """Return the mask of a lane, where any of its agents has one; those without always take part."""
    own = [store.read(keys.ACTIVE, (agent,)) if store.has(keys.ACTIVE, (agent,)) else None for agent in lane]
    known = next((mask for mask in own if isinstance(mask, Tensor)), None)
    if known is None:
        return None
    masks = [torch.ones_like(known) if mask is None else mask for mask in own]
    return known if len(lane) == 1 else torch.stack(masks, len(store.batch_size))  # type: ignore[arg-type]


def _each(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply ``function`` to a tensor, or to each of a tuple of them."""
    return tuple(map(function, value)) if isinstance(value, tuple) else function(value)
