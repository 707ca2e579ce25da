"""The contract of a network's mode, check by check."""

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from hetrl.network import Network
from hetrl.team import Agent, Team
from hetrl.testing.batch import close, each, parts, tensors
from hetrl.testing.compiling import for_compiling
from hetrl.testing.net_inputs import Inputs
from hetrl.testing.part import Part
from hetrl.testing.subject import first_line

__tracebackhide__ = True  # pytest shows the line of the test, not these
_ROWS, _FEWER = 7, 5
_PICKED = torch.tensor([3, 0, 4, 1])
_STEP = 1e-6
"""Of the differences that gradients are compared with."""


@dataclass(frozen=True)
class Mode:
    """One mode of a network that is built for an agent of a team."""

    part: Part
    name: str
    agent: Agent
    team: Team
    nets: dict[torch.dtype, Network]
    """The network by float type, once it is built; the modes of an agent have them in common."""

    def net(self, dtype: torch.dtype = torch.float64) -> Network:
        """Return the network, its parameters and state as they are when it is built."""
        if dtype not in self.nets:
            self.nets[dtype] = self.part.build(self.agent, self.team).to(dtype)
        return self.nets[dtype]

    def inputs(self, net: Network, n: int = _ROWS, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
        """Return ``n`` made-up rows."""
        with self.part.doing(f"inputs of mode '{self.name}' cannot be made up"):
            return Inputs(net, self.agent, self.team).make(self.name, n, dtype)

    def places(self, net: Network) -> dict[str, int]:
        """Return the place of the rows in each role that has them."""
        return Inputs(net, self.agent, self.team).places(self.name)

    def run(self, net: Network, inputs: Mapping[str, Any], seed: int = 0, when: str = "") -> dict[str, Any]:
        """Return what the mode makes of its inputs; the network's state is as before."""
        state = copy.deepcopy(net.state_dict())
        with self.part.doing(f"mode '{self.name}' failed{when}"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            outputs = getattr(net, self.name)(**inputs)
        if not _same(state, net.state_dict()):
            net.load_state_dict(state)
        return dict(outputs)

    def require(self, holds: bool, problem: str) -> None:
        """Raise an AssertionError of one line where something does not hold."""
        self.part.require(holds, f"mode '{self.name}': {problem}")

    @cached_property
    def draws(self) -> bool:
        """Whether it draws at random though all that it reads is given."""
        net = self.net()
        inputs = self.inputs(net)
        with torch.no_grad():
            first, second = (self.run(net, inputs, seed) for seed in (0, 1))
        return not all(close(first[role], second[role]) for role in first)

    @cached_property
    def takes_statistics(self) -> bool:
        """Whether it moves the network's state, as running statistics do; only without learning (``learned=False``)."""
        net = self.net()
        inputs, before = self.inputs(net), copy.deepcopy(net.state_dict())
        with torch.no_grad(), self.part.doing(f"mode '{self.name}' failed"):
            getattr(net, self.name)(**inputs)
        moved = not _same(before, net.state_dict())
        if moved:
            net.load_state_dict(before)
        return moved and not self.learned

    @property
    def learned(self) -> bool:
        """Whether the network's parameters take part."""
        return self.part.cls.modes[self.name].learned


def check_mode(mode: Mode, stopped: Collection[str]) -> None:
    """Check one mode; see :func:`hetrl.testing.net.check_net`."""
    _check_outputs(mode)
    places = _check_rows(mode)
    if not mode.takes_statistics:
        _check_lanes(mode, places)
        _check_gradients(mode, stopped)
    _check_optional(mode)


# ----- rows


def _check_outputs(mode: Mode) -> None:
    """It returns the roles of its table, finite, in the float type of its inputs; the same numbers in both types."""
    found = []
    for dtype in (torch.float32, torch.float64):
        net = mode.net(dtype)
        inputs = mode.inputs(mode.net(), dtype=dtype)
        with torch.no_grad():
            outputs = mode.run(net, inputs, when=f" in {dtype}")
        wanted = net.modes[mode.name].writes
        mode.require(
            set(outputs) == set(wanted), f"it returns {sorted(outputs)}, but its table writes {sorted(wanted)}."
        )
        for role, value in outputs.items():
            for part in parts(value):
                mode.require(isinstance(part, Tensor), f"output '{role}' is a {type(part).__name__}, not a tensor.")
                mode.require(bool(part.isfinite().all()), f"output '{role}' is not finite.")
                kept = not part.is_floating_point() or part.dtype == dtype
                mode.require(kept, f"output '{role}' is {part.dtype} where the inputs are {dtype}.")
        found.append(outputs)
    if mode.draws:
        return
    for role, value in found[1].items():
        for exact, rough in zip(parts(value), parts(found[0][role]), strict=True):
            same = rough.shape == exact.shape and torch.allclose(rough.to(exact.dtype), exact, rtol=1e-2, atol=1e-3)
            mode.require(same, f"output '{role}' in float32 is not that in float64, up to rounding.")


def _check_rows(mode: Mode) -> dict[str, int]:
    """A row's outputs are made of that row alone. Returns where the rows are in each output."""
    net = mode.net()
    inputs, where = mode.inputs(net), mode.places(net)
    with torch.no_grad():
        whole = mode.run(net, inputs)
        fewer = mode.run(net, _picked(inputs, where, torch.arange(_FEWER)), when=f" on {_FEWER} of {_ROWS} rows")
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
    return torch.arange(_ROWS).flip(0)


def _place(mode: Mode, role: str, whole: Any, fewer: Any) -> int:
    """Return the dimension of an output that has as many entries as there are rows."""
    first, other = parts(whole)[0], parts(fewer)[0]
    changed = [dim for dim, sizes in enumerate(zip(first.shape, other.shape, strict=False)) if sizes == (_ROWS, _FEWER)]
    mode.require(
        len(changed) == 1 and first.dim() == other.dim(),
        f"output '{role}' has shape {list(first.shape)} for {_ROWS} rows and {list(other.shape)} for {_FEWER}; return "
        "one value for each row, and leave means to the phase.",
    )
    return changed[0]


def _check_others(
    mode: Mode, net: Network, inputs: Mapping[str, Any], where: Mapping[str, int], whole: Mapping[str, Any],
    places: Mapping[str, int],
) -> None:  # fmt: skip
    """Of what draws at random: with the same draws, another first row changes the first row's outputs alone."""
    index = torch.arange(_ROWS)
    index[0] = 1
    with torch.no_grad():
        found = mode.run(net, _picked(inputs, where, index))
    others = torch.arange(1, _ROWS)
    for role, value in found.items():
        same = close(
            _rows(value, places[role], others),
            _rows(whole[role], places[role], others),
        )
        mode.require(
            same, f"output '{role}' of a row depends on the other rows of the batch; make it of that row alone."
        )


def _check_lanes(mode: Mode, places: Mapping[str, int]) -> None:
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


# ----- gradients


def _check_gradients(mode: Mode, stopped: Collection[str]) -> None:
    """Parameters are reached where the mode is learned, and only there; an input's gradient is the derivative."""
    net = mode.net()
    inputs = mode.inputs(net)
    floats = {name: value.requires_grad_() for name, value in tensors(inputs).items() if value.is_floating_point()}
    parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
    outputs = mode.run(net, inputs)
    scores = {role: _score(role, value) for role, value in outputs.items()}
    reached = [gradient for score in scores.values() for gradient in gradients(score, parameters)]
    some = any(gradient is not None and bool((gradient != 0).any()) for gradient in reached)
    if mode.learned and parameters:
        mode.require(
            some, "no gradient reaches a parameter, and the mode is said to be learned; detach nothing, or mark it "
            "learned=False.",
        )  # fmt: skip
    mode.require(mode.learned or not some, "a gradient reaches a parameter, and the mode is marked learned=False.")
    finite = all(gradient is None or bool(gradient.isfinite().all()) for gradient in reached)
    mode.require(finite, "the gradient of a parameter is not finite.")
    found = {role: gradients(score, list(floats.values())) for role, score in scores.items()}
    for place, name in enumerate(floats):
        if f"{mode.name}.{name.split('[')[0]}" not in stopped:
            _check_derivative(mode, net, name, {role: of_role[place] for role, of_role in found.items()})


def gradients(score: Tensor, wanted: list[Any]) -> list[Tensor | None]:
    """Return the gradient of a number in each of some tensors; None where there is none."""
    if not score.requires_grad or not wanted:
        return [None] * len(wanted)
    return list(torch.autograd.grad(score, wanted, allow_unused=True, retain_graph=True))


def _score(role: str, value: Any) -> Tensor:
    """Return a weighted sum of an output, so that nothing cancels (a softmax has sum 1)."""
    generator = torch.Generator().manual_seed(3)
    values = [part for part in tensors({role: value}).values() if part.is_floating_point()]
    weights = [torch.rand(part.shape, generator=generator, dtype=torch.float64) for part in values]
    return sum(((part * weight).sum() for part, weight in zip(values, weights, strict=True)), torch.zeros(()))


def _check_derivative(mode: Mode, net: Network, name: str, gradients: Mapping[str, Tensor | None]) -> None:
    """Along one direction of an input, an output changes by what its gradient says, or (a choice) not at all."""
    scores = []
    for sign in (1, -1):
        inputs = mode.inputs(net)
        value = tensors(inputs)[name]
        along = torch.randn(value.shape, generator=torch.Generator().manual_seed(4), dtype=value.dtype)
        value += sign * _STEP * along
        with torch.no_grad():
            scores.append({role: _score(role, output) for role, output in mode.run(net, inputs).items()})
    for role, gradient in gradients.items():
        change = float((scores[0][role] - scores[1][role]) / (2 * _STEP))
        slope = 0.0 if gradient is None else float((gradient * along).sum())
        mode.require(
            abs(change) < 1e-7 or abs(slope - change) <= 1e-3 * (1 + abs(change)),
            f"output '{role}' changes with '{name}' at a rate of {change:.4g}, and the gradient says {slope:.4g}; "
            f"detach nothing, the phase decides what is constant (where the formula itself stops it: "
            f"stopped=['{mode.name}.{name}']).",
        )


# ----- the rest


def _check_optional(mode: Mode) -> None:
    """What may be left out may be left out."""
    net = mode.net()
    optional = net.modes[mode.name].optional
    inputs = {role: value for role, value in mode.inputs(net).items() if role not in optional}
    with torch.no_grad():
        outputs = mode.run(net, inputs, when=f" without its optional {', '.join(sorted(optional))}" if optional else "")
    for role, value in outputs.items():
        finite = all(bool(part.isfinite().all()) for part in parts(value))
        mode.require(finite, f"output '{role}' is not finite without its optional {', '.join(sorted(optional))}.")


def check_state(modes: Collection[Mode]) -> None:
    """A network of other parameters, with the state of this one, gives the same numbers in every mode."""
    for mode in modes:
        net = mode.net(torch.float32)
        inputs = mode.inputs(mode.net(), dtype=torch.float32)
        with torch.no_grad():
            mode.run(net, inputs)
            other = mode.part.build(mode.agent, mode.team, draws=1)
            with mode.part.doing("its state_dict does not load"):
                other.load_state_dict(mode.part.reloaded(net.state_dict()))
            first, second = mode.run(net, inputs), mode.run(other, inputs)
        for role, value in first.items():
            same = all(map(torch.equal, parts(value), parts(second[role])))
            mode.require(same, f"output '{role}' is another one after a state_dict round trip; keep state in buffers.")


def check_compiled(modes: Collection[Mode]) -> None:
    """``torch.compile`` makes one graph of each mode, with the same numbers."""
    with for_compiling():
        for mode in modes:
            net, inputs = mode.net(torch.float32), mode.inputs(mode.net(), dtype=torch.float32)
            graph: Callable[..., Any] = torch.compile(getattr(net, mode.name), fullgraph=True, backend="eager")
            wanted = mode.run(net, inputs)
            state = copy.deepcopy(net.state_dict())
            try:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    found = graph(**inputs)
            except Exception as error:
                mode.require(
                    False, f"torch.compile makes no single graph of it: {first_line(error)} Branch on no tensor's "
                    "value, and call no .item().",
                )  # fmt: skip
            net.load_state_dict(state)
            for role, value in wanted.items():
                mode.require(close(found[role], value), f"output '{role}' is another one when compiled.")


def _same(state: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(
        torch.equal(value, other[name]) if isinstance(value, Tensor) else value == other[name]
        for name, value in state.items()
    )
