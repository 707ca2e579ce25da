"""The inputs of a turn as rows: what epochs reorder and minibatches cut."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from hetrl import keys
from hetrl.recipe.program import Program, Values
from hetrl.recipe.store import Store
from hetrl.team import Agent

ACTIVE = f"{keys.AGENT}.active"


class Rows:
    """The inputs of a lane as rows (time and environments flattened, time first), to be cut into minibatches."""

    def __init__(self, values: Values, count: int, lane_size: int, expand: frozenset[str]) -> None:
        self.count = count
        self._values, self._lane_size, self._expand = values, lane_size, expand

    @classmethod
    def of(cls, program: Program, lane: Sequence[Agent], store: Store) -> "Rows":
        """Return the rows that a program reads from a store."""
        dims = len(store.batch_size)
        values: Values = {}
        expand = set()
        wanted = dict(program.reads)
        if lane and store.has(ACTIVE, lane):
            wanted[ACTIVE] = False
        for key, optional in wanted.items():
            if optional and not store.has(key, lane):
                continue
            # Team values stay unexpanded until they are cut, so that reordering copies each of them once.
            shared = keys.scope(key) != keys.AGENT
            if shared and len(lane) > 1:
                expand.add(key)
            values[key] = _each(store.read(key, () if shared else lane), lambda value: value.flatten(0, dims - 1))
        return cls(values, store.batch_size.numel(), len(lane), frozenset(expand))

    def ordered(self, order: Tensor) -> "Rows":
        """Return the rows in another order (of the original one, or of any other: a permutation all the same)."""
        values = {key: _each(value, lambda part: part.index_select(0, order)) for key, value in self._values.items()}
        return Rows(values, self.count, self._lane_size, self._expand)

    def cut(self, start: int, end: int) -> Values:
        """Return rows ``start`` to ``end`` of every input, as views."""
        return {key: _each(value, partial(self._part, key, start, end)) for key, value in self._values.items()}

    def _part(self, key: str, start: int, end: int, value: Tensor) -> Tensor:
        rows = value[start:end]
        if key not in self._expand:
            return rows
        return rows.unsqueeze(1).expand(rows.shape[0], self._lane_size, *rows.shape[1:])


def _each(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply ``function`` to a tensor, or to each of a tuple of them."""
    return tuple(map(function, value)) if isinstance(value, tuple) else function(value)
