"""The contract of a network's modes, check by check."""

import copy
from collections.abc import Callable, Collection
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor

from hetrl import glossary
from hetrl.testing.batch import annotation, close, dims, parts, sample_dim
from hetrl.testing.compiling import for_compiling
from hetrl.testing.mode import BuiltMode
from hetrl.testing.mode_gradients import check_gradients
from hetrl.testing.mode_rows import check_lanes, check_rows
from hetrl.testing.subject import first_line

__tracebackhide__ = True  # pytest shows the line of the test, not these


def check_mode(mode: BuiltMode, stopped: Collection[str]) -> None:
    """Check one mode; see :func:`hetrl.testing.net.check_net`."""
    _check_outputs(mode)
    places = check_rows(mode)
    _check_numbers(mode)
    if not mode.takes_statistics:
        check_lanes(mode, places)
        check_gradients(mode, stopped)
    _check_optional(mode)


def _check_outputs(mode: BuiltMode) -> None:
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


def _check_numbers(mode: BuiltMode) -> None:
    """What is one number for each row has the rows' dimensions and no other."""
    net = mode.net()
    rows = mode.rows(net)
    with torch.no_grad():
        outputs = mode.run(net, mode.inputs(net))
    for role in filter(lambda role: _one_number(mode, role), outputs):
        for part in parts(outputs[role]):
            forgotten = "squeeze its last dimension, .squeeze(-1)" if part.shape == (*rows, 1) else "return that"
            mode.require(
                part.shape == rows,
                f"output '{role}' has shape {list(part.shape)} for rows of {list(rows)}, and is one number for each "
                f"row; {forgotten}.",
            )


def _one_number(mode: BuiltMode, role: str) -> bool:
    """Whether an output is one number for each row: by its key's word, or by what the mode is annotated to return."""
    key = mode.part.cls.modes[mode.name].writes[role]
    if (shape := glossary.shape_of(key)) is not None:
        return shape == "B"
    returned = get_args(get_type_hints(getattr(mode.part.cls, mode.name)).get("return"))
    shape, _ = annotation(returned[1]) if len(returned) == 2 else (None, False)
    return shape is not None and len(dims(shape)) == 1 and sample_dim(shape) == 0


def _check_optional(mode: BuiltMode) -> None:
    """What may be left out may be left out."""
    net = mode.net()
    optional = net.modes[mode.name].optional
    inputs = {role: value for role, value in mode.inputs(net).items() if role not in optional}
    with torch.no_grad():
        outputs = mode.run(net, inputs, when=f" without its optional {', '.join(sorted(optional))}" if optional else "")
    for role, value in outputs.items():
        finite = all(bool(part.isfinite().all()) for part in parts(value))
        mode.require(finite, f"output '{role}' is not finite without its optional {', '.join(sorted(optional))}.")


def check_state(modes: Collection[BuiltMode]) -> None:
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


def check_compiled(modes: Collection[BuiltMode]) -> None:
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
