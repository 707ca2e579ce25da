"""The contract of a component, check by check."""

import copy
import dataclasses
import io
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from hetrl import arguments, keys
from hetrl.component import Component, Output
from hetrl.testing.batch import N_OTHER, N_SAMPLES, close, each, parts, tensors
from hetrl.testing.compiling import for_compiling
from hetrl.testing.docstring import check_docstring
from hetrl.testing.subject import Subject, first_line

__tracebackhide__ = True  # pytest shows the line of the test, not these
_SUBSET, _PERMUTATION = torch.tensor([3, 0, 4]), torch.tensor([3, 0, 4, 1, 2])
_STEP = 1e-6
"""Of the differences that gradients are compared with."""


def check_component(
    component: str | type[Component],
    *,
    per_sample: bool | None = None,
    permutes: bool = True,
    stopped: Collection[str] = (),
    given: Mapping[str, Any] | None = None,
    **values: Any,
) -> None:
    """Check a component against the contract of its key table, on a fake batch.

    It builds from its defaults and keeps its arguments under their own names; it computes with what stands there, so
    that a schedule can replace it. It returns exactly the roles of ``writes``, finite, in the inputs' float type; a
    loss or a figure to log is one number per sample. The batch in another order gives the outputs in that order; a
    sample's loss or weight depends on that sample alone, however many dimensions the batch has. A loss's gradient is
    its derivative in every input, nothing is detached and nothing else is reached: no parameter, no state, no input is
    changed. Without its optional roles it still runs. State survives ``state_dict``; wired to one agent and then to
    another, the same instance gives the same numbers; ``torch.compile`` makes one graph of it with the same outputs and
    gradients. Its docstring has its parts in order.

    Args:
        component: a catalog name or a class.
        per_sample: whether outputs are made sample by sample. Left out, that holds of ``loss/`` and ``weight/`` and
            of whatever writes a loss, and not of an order or of what looks along time or over the batch.
        permutes: False for what draws at random: the batch in another order then gives other numbers.
        stopped: roles whose gradient the formula itself stops, as published; it is not compared with the derivative.
        given: role -> tensor, where a made-up one will not do (``N_SAMPLES`` rows); and for a role of ``calls``, the
            function to call.
        values: arguments of the component; its defaults where left out.

    Raises:
        AssertionError: one line, what is broken and what to do.
    """
    subject = Subject.of(component, values, given or {})
    check_behaviour(subject, per_sample, permutes, stopped)
    check_docstring(subject)


def check_behaviour(
    subject: Subject, per_sample: bool | None = None, permutes: bool = True, stopped: Collection[str] = ()
) -> None:
    """Check all that :func:`check_component` checks but the docstring."""
    for role in stopped:
        subject.require(role in subject.cls.reads, f"there is no role '{role}' to stop a gradient at.")
    _check_arguments(subject)
    outputs = _check_outputs(subject)
    _check_schedules(subject)
    if per_sample is None:
        per_sample = bool(subject.losses) or subject.kind in ("loss", "weight")
    if per_sample:
        _check_per_sample(subject, outputs)
    elif permutes:
        _check_permutation(subject, outputs)
    _check_gradients(subject, stopped)
    _check_optional(subject)
    _check_state(subject)
    _check_wiring(subject)
    _check_compiled(subject)


def _check_arguments(subject: Subject) -> None:
    component = subject.build()
    for name in arguments.parameters(subject.cls.__init__):
        subject.require(
            hasattr(component, name), f"argument '{name}' is not kept as self.{name}; a schedule could not replace it."
        )


def _check_schedules(subject: Subject) -> None:
    """What a schedule may replace is computed with as it stands on the component."""
    init = subject.cls.__init__
    for name in arguments.parameters(init):
        replaced, batch = subject.build(), subject.batch(torch.float32)
        value = getattr(replaced, name)
        if not isinstance(value, (int, float)) or not arguments.schedulable(init, name):
            continue
        for other in (value / 2, 2 * value, 0.5):  # one of them is in range, and another number
            with suppress(AssertionError):
                built = dataclasses.replace(subject, values={**subject.values, name: other}).build()
                if other != value:
                    break
        else:
            continue
        setattr(replaced, name, other)
        wanted = subject.run(built, batch)
        for role, found in subject.run(replaced, batch).items():
            subject.require(
                all(map(torch.equal, parts(found), parts(wanted[role]))),
                f"output '{role}' is another one where a schedule sets self.{name} than where it is built with that "
                f"{name}; compute with self.{name} itself.",
            )


def _check_outputs(subject: Subject) -> dict[str, Any]:
    """Run it in both types; returns the float64 outputs."""
    single, double = (
        _outputs(subject, subject.run(subject.build(dtype), subject.batch(dtype)), dtype)
        for dtype in (torch.float32, torch.float64)
    )
    for role, value in double.items():
        for exact, rough in zip(parts(value), parts(single[role]), strict=True):
            same = rough.shape == exact.shape and torch.allclose(rough.to(exact.dtype), exact, rtol=1e-3, atol=1e-4)
            subject.require(same, f"output '{role}' in float32 is not that in float64, up to rounding.")
    return double


def _outputs(subject: Subject, outputs: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    subject.require(
        set(outputs) == set(subject.cls.writes),
        f"compute returns {sorted(outputs)}, but the table writes {sorted(subject.cls.writes)}.",
    )
    for role, value in outputs.items():
        everybody = keys.scope(subject.cls.writes[role]) == keys.AGENTS
        kind = "tuple of tensors, one for each agent" if everybody else "tensor"
        for part in parts(value):
            sound = isinstance(part, Tensor) and isinstance(value, tuple) == everybody
            subject.require(sound, f"output '{role}' is a {type(value).__name__}, not a {kind}.")
            kept = not part.is_floating_point() or part.dtype == dtype
            subject.require(kept, f"output '{role}' is {part.dtype} where the inputs are {dtype}.")
        if keys.is_output(subject.cls.writes[role]):
            subject.require(
                list(value.shape) == [N_SAMPLES],
                f"output '{role}' has shape {list(value.shape)}, not one number per sample [{N_SAMPLES}]; "
                "leave the mean to the phase.",
            )
        what = "loss" if role in subject.losses else "output"
        for part in parts(value):
            subject.require(bool(part.isfinite().all()), f"{what} '{role}' is not finite: {part.tolist()}.")
    return outputs


# --------------------------------------------------------------------------- samples


def _check_per_sample(subject: Subject, outputs: Mapping[str, Any]) -> None:
    """Some of the samples, in another order, give the same numbers as among all of them; so do two dimensions."""
    batch, dims = subject.batch(torch.float64), subject.sample_dims
    for role, place in dims.items():
        subject.require(place is not None, f"role '{role}' has no '*batch' dimension (or say per_sample=False).")
    for role, value in subject.run(subject.build(torch.float64), _picked(batch, dims, _SUBSET)).items():
        whole = outputs[role]
        subject.require(
            all(part.shape[:1] == (N_SAMPLES,) for part in parts(whole)),
            f"output '{role}' has shape {list(parts(whole)[0].shape)}, not samples first.",
        )
        same = close(value, each(whole, lambda part: part[_SUBSET]))
        subject.require(same, f"output '{role}' of a sample depends on other samples of the batch.")
    other = _picked(batch, dims, _PERMUTATION)
    lanes = {
        role: value if dims.get(role) is None else _stacked(value, other[role], int(dims[role] or 0) + 1)
        for role, value in batch.items()
    }
    found = subject.run(
        subject.build(torch.float64), lanes, " (a batch of two dimensions, as agents with one net make)"
    )
    for role, value in found.items():
        wanted = _stacked(outputs[role], each(outputs[role], lambda part: part[_PERMUTATION]), 1)
        subject.require(
            close(value, wanted),
            f"output '{role}' is another one where the batch has two dimensions, as agents that share a net make it; "
            "count dimensions of the role from the end, or reduce none.",
        )


def _check_permutation(subject: Subject, outputs: Mapping[str, Any]) -> None:
    """The batch in another order gives the outputs in that order, also where they look at the whole of it."""
    dims = subject.sample_dims
    if all(place is None for place in dims.values()):
        return  # such as an order, which has members and no batch
    found = subject.run(subject.build(torch.float64), _picked(subject.batch(torch.float64), dims, _PERMUTATION))
    for role, value in found.items():
        subject.require(
            close(value, each(outputs[role], _permuted)),
            f"output '{role}' does not follow when the batch is put into another order; use no sample's place "
            "(or say permutes=False, where it draws at random).",
        )


def _picked(batch: Mapping[str, Any], dims: Mapping[str, int | None], index: Tensor) -> dict[str, Any]:
    """Return the batch with some of its samples, in the order of ``index``."""

    def picked(role: str, value: Any) -> Any:
        place = dims.get(role)
        return value if place is None else each(value, lambda part: part.index_select(place, index))

    return {role: picked(role, value) for role, value in batch.items()}


def _permuted(value: Tensor) -> Tensor:
    places = [place for place, size in enumerate(value.shape) if size == N_SAMPLES]
    return value.index_select(places[0], _PERMUTATION) if places else value


def _stacked(value: Any, other: Any, dim: int) -> Any:
    pairs = [torch.stack(pair, dim) for pair in zip(parts(value), parts(other), strict=True)]
    return tuple(pairs) if isinstance(value, tuple) else pairs[0]


# --------------------------------------------------------------------------- gradients


def _check_gradients(subject: Subject, stopped: Collection[str]) -> None:
    """A loss's gradient is its derivative, and reaches inputs alone; inputs stay as they are."""
    component, batch = subject.build(torch.float64), subject.batch(torch.float64)
    for name, _ in component.named_parameters():
        subject.require(False, f"owns the parameter '{name}'; a network is a step of the recipe, a state is a buffer.")
    inputs = tensors(batch)
    before = {name: (value.clone(), value._version) for name, value in inputs.items()}
    floats = {name: value.requires_grad_() for name, value in inputs.items() if value.is_floating_point()}
    outputs = subject.run(component, batch)
    for name, value in inputs.items():
        unchanged = value._version == before[name][1] and torch.equal(value, before[name][0])
        subject.require(unchanged, f"compute changes its input '{name}' in place; work on a copy.")
        subject.require(
            value.grad is None, f"compute puts a gradient into its input '{name}'; leave that to the phase."
        )
    for name, buffer in component.named_buffers():
        kept = not buffer.requires_grad
        subject.require(kept, f"its state '{name}' keeps a gradient's graph after the call; update it on no_grad.")
    for role in subject.losses:
        value = outputs[role]
        subject.require(value.requires_grad, f"loss '{role}' sends no gradient to any input; is it detached?")
        found = torch.autograd.grad(value.sum(), list(floats.values()), allow_unused=True, retain_graph=True)
        gradients = {name: gradient for name, gradient in zip(floats, found, strict=True) if gradient is not None}
        subject.require(
            any(bool((gradient != 0).any()) for gradient in gradients.values()),
            f"the gradient of loss '{role}' is 0 for every input on a made-up batch.",
        )
        finite = all(bool(gradient.isfinite().all()) for gradient in gradients.values())
        subject.require(finite, f"the gradient of loss '{role}' is not finite.")
        for name in floats:
            if name.split("[")[0] not in stopped:
                _check_derivative(subject, role, name, gradients.get(name))


def _check_derivative(subject: Subject, role: str, name: str, gradient: Tensor | None) -> None:
    """Along one direction of an input, the gradient is what the loss changes by."""
    moved = []
    for sign in (1, -1):
        batch = subject.batch(torch.float64)
        value = tensors(batch)[name]
        along = torch.randn(value.shape, generator=torch.Generator().manual_seed(1), dtype=value.dtype)
        value += sign * _STEP * along
        moved.append(subject.run(subject.build(torch.float64), batch)[role].sum())
    change = float((moved[0] - moved[1]) / (2 * _STEP))
    slope = 0.0 if gradient is None else float((gradient * along).sum())
    subject.require(
        abs(slope - change) <= 1e-4 * (1 + abs(change)),
        f"loss '{role}' changes with '{name}' at a rate of {change:.4g}, and its gradient says {slope:.4g}; detach "
        f"nothing, the phase decides what is constant (where the published formula stops it: stopped=['{name}']).",
    )


# --------------------------------------------------------------------------- the rest


def _check_optional(subject: Subject) -> None:
    """What may be left out may be left out."""
    left_out = subject.cls.table.optional - subject.cls.required(subject.values)
    if not left_out:
        return
    batch = {role: value for role, value in subject.batch(torch.float32).items() if role not in left_out}
    without = f" (its optional {', '.join(sorted(left_out))} left out)"
    outputs = subject.run(subject.build(), batch, without)
    for role in subject.losses:
        subject.require(bool(outputs[role].isfinite().all()), f"loss '{role}' is not finite{without}.")


def _check_state(subject: Subject) -> None:
    """A fresh component with the state of a used one continues like it."""
    batch, used, resumed = subject.batch(torch.float32), subject.build(), subject.build()
    for _ in range(2):
        subject.run(used, batch)
    file = io.BytesIO()
    try:
        torch.save(used.state_dict(), file)
        file.seek(0)
        resumed.load_state_dict(torch.load(file, weights_only=True))
    except Exception as error:
        subject.require(
            False, f"its state_dict does not load again: {first_line(error)} Keep tensors and plain values."
        )
    for _ in range(2):
        _require_equal(subject, subject.run(used, batch), subject.run(resumed, batch), "after a state_dict round trip")


def _check_wiring(subject: Subject) -> None:
    """The same instance, wired to one agent and then to another, gives what ``compute`` gives, through a TensorDict."""
    if subject.cls.calls:
        return  # it needs a network, so it does not run alone
    team = tuple(f"agent_{index}" for index in range(N_OTHER))
    component = subject.build()
    start = copy.deepcopy(component.state_dict())
    for seed, agent in enumerate((team[0], "somebody_else")):
        batch = _agreeing(subject, subject.batch(torch.float32, seed))
        expected = subject.run(subject.build(), batch)
        component.load_state_dict(copy.deepcopy(start))
        component.wire(agent=agent, agents=team)
        values = TensorDict()
        for role, value in batch.items():
            names = team if keys.scope(subject.cls.reads[role]) == keys.AGENTS else (agent,)
            for name, part in zip(names, parts(value), strict=True):
                values.set(keys.parse(keys.of_agent(subject.cls.reads[role], name)), part)
        written = subject.call(component, values)
        found = {}
        for role, key in subject.cls.writes.items():
            names = team if keys.scope(key) == keys.AGENTS else (agent,)
            places = [keys.parse(keys.of_agent(key, name)) for name in names]
            lost = [".".join(place) for place in places if place not in written.keys(include_nested=True)]
            subject.require(not lost, f"wired to agent '{agent}' it does not write '{''.join(lost[:1])}'.")
            found[role] = tuple(written[place] for place in places)
            found[role] = found[role] if keys.scope(key) == keys.AGENTS else found[role][0]
        _require_equal(subject, expected, found, f"wired to agent '{agent}'")


def _agreeing(subject: Subject, batch: dict[str, Any]) -> dict[str, Any]:
    """Return the batch with the first agent's own value the same where it is read in two ways."""
    own = {key: role for role, key in subject.cls.reads.items() if keys.scope(key) == keys.AGENT}
    for role, key in subject.cls.reads.items():
        same = own.get(keys.single(key))
        if keys.scope(key) == keys.AGENTS and same is not None:
            batch[role] = (batch[same], *batch[role][1:])
    return batch


def _check_compiled(subject: Subject) -> None:
    """``torch.compile`` makes one graph of what may stand in steps, with the same outputs and gradients."""
    if subject.cls.calls or subject.cls.along_time or subject.kind == "order":
        return  # no phase compiles these
    results: list[tuple[dict[str, Any], Any]] = []
    with for_compiling():
        for compiled in (False, True):
            component, batch = subject.build(), subject.batch(torch.float32)
            if compiled:
                component.compute = torch.compile(component.compute, fullgraph=True, backend="aot_eager")
            floats = [value.requires_grad_() for value in tensors(batch).values() if value.is_floating_point()]
            outputs = _compiled(subject, component, batch) if compiled else subject.run(component, batch)
            found = {role: value for role, value in tensors(outputs).items() if value.requires_grad}
            total = sum(value.sum() for value in found.values())
            gradients = torch.autograd.grad(total, floats, materialize_grads=True) if found else ()  # type: ignore[arg-type]
            results.append((outputs, gradients))
    (outputs, gradients), (graph_outputs, graph_gradients) = results
    for role, value in outputs.items():
        subject.require(close(graph_outputs[role], value), f"output '{role}' is another one when compiled.")
    same = len(gradients) == len(graph_gradients) and all(map(close, graph_gradients, gradients))
    subject.require(same, "its gradients are others when compiled.")


def _compiled(subject: Subject, component: Component, batch: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return subject.run(component, batch)
    except AssertionError as error:
        cause = error.__cause__ or error
        problem = f"torch.compile makes no single graph of compute: {first_line(cause)}"  # type: ignore[arg-type]
        raise AssertionError(f"{subject.name}: {problem} Branch on no tensor's value, and call no .item().") from cause


def _require_equal(subject: Subject, expected: Output, found: Output, when: str) -> None:
    for role, value in expected.items():
        for part, other in zip(parts(value), parts(found[role]), strict=True):
            same = part.shape == other.shape and torch.equal(part, other)
            subject.require(same or bool(part.isnan().any()), f"output '{role}' is another one {when}.")
