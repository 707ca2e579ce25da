"""What a mode makes of a row depends on that row alone."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hetrl.network import Network
from hetrl.testing.batch import close, each, parts
from hetrl.testing.mode import N_ROWS, BuiltMode

__tracebackhide__ = True  # pytest shows the line of the test, not these
_FEWER = 5
_PICKED = torch.tensor([3, 0, 4, 1])


def check_rows(mode: BuiltMode) -> dict[str, int]:
    """A row's outputs are made of that row alone. Returns where the rows are in each output."""
    net = mode.net()
    inputs, where = mode.inputs(net), mode.places(net)
    with torch.no_grad():
        whole = mode.run(net, inputs)
        fewer = mode.run(net, _picked(inputs, where, torch.arange(_FEWER)), when=f" on {_FEWER} of {N_ROWS} rows")
    places = {role: _place(mode, role, whole[role], fewer[role]) for role in whole}
    if mode.draws:
        _check_others(mode, net, inputs, where, whole, places)
        return places
    index = _permutation() if mode.takes_statistics else _PICKED
    with torch.no_grad():
        picked = mode.run(net, _picked(inputs, where, index))
    for role, value in picked.items():
        mode.require(
            close(value, _rows(whole[role], places[role], index)),
            f"output '{role}' of a row depends on the other rows of the batch, or on its place among them; make it of "
            "that row alone.",
        )
    return places


def _permutation() -> Tensor:
    return torch.arange(N_ROWS).flip(0)


def _place(mode: BuiltMode, role: str, whole: Any, fewer: Any) -> int:
    """Return the dimension of an output that has as many entries as there are rows."""
    first, other = parts(whole)[0], parts(fewer)[0]
    changed = [
        dim for dim, sizes in enumerate(zip(first.shape, other.shape, strict=False)) if sizes == (N_ROWS, _FEWER)
    ]
    mode.require(
        len(changed) == 1 and first.dim() == other.dim(),
        f"output '{role}' has shape {list(first.shape)} for {N_ROWS} rows and {list(other.shape)} for {_FEWER}; return "
        "one value for each row, and leave means to the phase.",
    )
    return changed[0]


def _check_others(
    mode: BuiltMode, net: Network, inputs: Mapping[str, Any], where: Mapping[str, int], whole: Mapping[str, Any],
    places: Mapping[str, int],
) -> None:  # fmt: skip
    """Of what draws at random: with the same draws, another first row changes the first row's outputs alone."""
    index = torch.arange(N_ROWS)
    index[0] = 1
    with torch.no_grad():
        found = mode.run(net, _picked(inputs, where, index))
    others = torch.arange(1, N_ROWS)
    for role, value in found.items():
        same = close(
            _rows(value, places[role], others),
            _rows(whole[role], places[role], others),
        )
        mode.require(
            same, f"output '{role}' of a row depends on the other rows of the batch; make it of that row alone."
        )


def check_lanes(mode: BuiltMode, places: Mapping[str, int]) -> None:
    """Rows in two dimensions, as agents that share the net make them, give the same numbers."""
    net = mode.net()
    inputs, where = mode.inputs(net), mode.places(net)
    other = _picked(inputs, where, _permutation())
    lanes = {
        role: value if role not in where else _stacked(value, other[role], where[role] + 1)
        for role, value in inputs.items()
    }
    with torch.no_grad():
        whole = mode.run(net, inputs)
        found = mode.run(net, lanes, when=" on rows in two dimensions, as agents with one net make them")
    if mode.draws:
        return
    for role, value in found.items():
        turned = _rows(whole[role], places[role], _permutation())
        mode.require(
            close(value, _stacked(whole[role], turned, places[role] + 1)),
            f"output '{role}' is another one where the rows have two dimensions, as agents that share the net make "
            "them; count dimensions from the end.",
        )


def _picked(inputs: Mapping[str, Any], where: Mapping[str, int], index: Tensor) -> dict[str, Any]:
    return {role: value if role not in where else _rows(value, where[role], index) for role, value in inputs.items()}


def _rows(value: Any, place: int, index: Tensor) -> Any:
    """Return some of the rows of a value, which stand in a dimension."""
    return each(value, lambda part: part.index_select(place, index))


def _stacked(value: Any, other: Any, dim: int) -> Any:
    pairs = [torch.stack(pair, dim) for pair in zip(parts(value), parts(other), strict=True)]
    return tuple(pairs) if isinstance(value, tuple) else pairs[0]
