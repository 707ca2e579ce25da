"""Does a component keep the contract that recipes rely on? Checks for your own tests, and the fake batches they use.

>>> check_component("loss/clipped_surrogate", clip=0.1)
"""

import copy
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Union, get_args, get_origin, get_type_hints

import jaxtyping
import torch
from tensordict import TensorDict
from torch import Tensor

from hetrl import arguments, catalog, keys
from hetrl.component import Component, Output

N_SAMPLES, N_OTHER = 5, 3
"""Size of the batch dimension (``*batch``) and of every other named dimension of a fake batch."""

_SUBSET = [3, 0, 4]
_SECTIONS = ("Args", "Raises", "Source", "Differs")


def check_component(
    component: str | type[Component],
    *,
    per_sample: bool | None = None,
    given: Mapping[str, Any] | None = None,
    **values: Any,
) -> None:
    """Check a component against the contract of its key table, on a fake batch.

    It returns exactly the roles of ``writes``; every loss and figure to log is one finite number per sample; a
    sample's output depends on that sample alone; a loss sends a gradient to one of its inputs and changes none of
    them; state survives ``state_dict``; float32 and float64 come out as they went in; wired to any agent it gives the
    same numbers; arguments are kept under their own names (a schedule replaces them there); and the docstring has
    its parts in order.

    Args:
        component: a catalog name or a class.
        per_sample: whether outputs are made sample by sample. Left out, that holds of ``loss/`` and ``weight/`` and
            of whatever writes a loss, and not of an order or of what looks along time or over the batch.
        given: role -> tensor, where a made-up one will not do (``N_SAMPLES`` rows); and for a role of ``calls``, the
            function to call.
        values: arguments of the component; its defaults where left out.

    Raises:
        AssertionError: one line, what is broken and what to do.
    """
    subject = _subject(component, values, given or {})
    _check_docstring(subject)
    _check_arguments(subject)
    outputs = _check_outputs(subject)
    if _is_per_sample(subject, component) if per_sample is None else per_sample:
        _check_per_sample(subject, outputs)
    _check_gradients(subject)
    _check_state(subject)
    _check_wiring(subject)


def fake_batch(component: str | type[Component], dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Return made-up values for the roles of a component, from the shapes that ``compute`` is annotated with.

    Floats are normal draws, integers 0 to ``N_OTHER - 1``, flags a coin's (the first one True); always the same ones.

    Args:
        component: a catalog name or a class.
        dtype: of the floats.
    """
    return _subject(component, {}, {}).batch(dtype)


@dataclass(frozen=True)
class _Subject:
    """What is checked: a class, the arguments to build it with, and values that are not made up."""

    name: str
    cls: type[Component]
    values: Mapping[str, Any]
    given: Mapping[str, Any]

    def require(self, holds: bool, problem: str) -> None:
        if not holds:
            raise AssertionError(f"{self.name}: {problem}")

    def build(self, dtype: torch.dtype = torch.float32) -> Component:
        return self.cls(**self.values).to(dtype)

    def batch(self, dtype: torch.dtype) -> dict[str, Any]:
        """Return one value for each role that ``compute`` takes."""
        generator = torch.Generator().manual_seed(0)
        hints = get_type_hints(self.cls.compute)
        return {
            role: _of_dtype(self.given[role], dtype)
            if role in self.given
            else self._fake(role, hints.get(role), dtype, generator)
            for role in [*self.cls.reads, *self.cls.calls]
        }

    def _fake(self, role: str, hint: Any, dtype: torch.dtype, generator: torch.Generator) -> Any:
        if self.cls.reads.get(role) == keys.PLACE:
            return 0
        self.require(role not in self.cls.calls, f"calls '{role}'; give a function for it, given={{'{role}': ...}}.")
        shape, several = _annotation(hint)
        self.require(shape is not None, f"role '{role}' has no shape; annotate it, such as Float[Tensor, '*batch'].")
        made = [_fake_tensor(shape, dtype, generator) for _ in range(N_OTHER if several else 1)]
        return tuple(made) if several else made[0]

    def run(self, component: Component, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return what ``compute`` makes of a batch; its global random draws, if any, are the same every time."""
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return dict(component.compute(**batch))
        except AssertionError:
            raise
        except Exception as error:
            shapes = ", ".join(f"{role} {_shape(value)}" for role, value in batch.items())
            raise AssertionError(f"{self.name}: compute failed on {shapes}: {_first_line(error)}") from error


def _subject(component: Any, values: Mapping[str, Any], given: Mapping[str, Any]) -> _Subject:
    cls = catalog.resolve(component) if isinstance(component, str) else component
    name = component if isinstance(component, str) else getattr(cls, "__name__", repr(cls))
    if not (isinstance(cls, type) and issubclass(cls, Component)):
        raise AssertionError(f"{name} is no component; give a catalog name or a subclass of Component.")
    subject = _Subject(name, cls, values, given)
    for role in given:
        subject.require(role in [*cls.reads, *cls.calls], f"there is no role '{role}' to give a value for.")
    return subject


# --------------------------------------------------------------------------- fake values


def _annotation(hint: Any) -> tuple[Any, bool]:
    """Return the jaxtyping shape in an annotation (None without one), and whether it stands for a tuple of tensors."""
    if hasattr(hint, "dim_str"):
        return hint, False
    origin = get_origin(hint)
    if origin is tuple:
        return _annotation(get_args(hint)[0])[0], True
    if origin in (Union, types.UnionType):
        found = [_annotation(part) for part in get_args(hint)]
        return next((each for each in found if each[0] is not None), (None, False))
    return None, False


def _dims(shape: Any) -> list[str]:
    return [word.split("=")[-1] for word in shape.dim_str.split()]


def _size(dim: str) -> int:
    return N_SAMPLES if "*" in dim or dim == "..." else int(dim) if dim.isdigit() else N_OTHER


def _sample_dim(hint: Any) -> int | None:
    """Return the place of the batch dimension, or None where the annotation has none."""
    shape, _ = _annotation(hint)
    found = [place for place, dim in enumerate(_dims(shape)) if "*" in dim or dim == "..."] if shape else []
    return found[0] if found else None


def _fake_tensor(shape: Any, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    sizes = [_size(dim) for dim in _dims(shape)]
    if shape.dtype is jaxtyping.Bool:
        flags = torch.rand(sizes, generator=generator) < 0.5
        flags.view(-1)[:1] = True
        return flags
    if shape.dtype in (jaxtyping.Int, jaxtyping.Integer, jaxtyping.UInt):
        return torch.randint(0, N_OTHER, sizes, generator=generator)
    # Drawn in one type, so that the two types hold the same numbers.
    return torch.randn(sizes, generator=generator, dtype=torch.float64).to(dtype)


def _of_dtype(value: Any, dtype: torch.dtype) -> Any:
    return _each(value, lambda part: part.to(dtype) if isinstance(part, Tensor) and part.is_floating_point() else part)


def _each(value: Any, function: Callable[[Any], Any]) -> Any:
    return tuple(map(function, value)) if isinstance(value, tuple) else function(value)


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _tensors(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return a batch's tensors by name; those of a tuple by name and place."""
    found: dict[str, Tensor] = {}
    for role, value in batch.items():
        parts = {f"{role}[{i}]": part for i, part in enumerate(value)} if isinstance(value, tuple) else {role: value}
        found.update({name: part for name, part in parts.items() if isinstance(part, Tensor)})
    return found


def _shape(value: Any) -> Any:
    return [list(part.shape) for part in value] if isinstance(value, tuple) else list(getattr(value, "shape", []))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


# --------------------------------------------------------------------------- the checks


def _check_docstring(subject: _Subject) -> None:
    """Summary line, formula, ``Args`` (where there are any), ``Source``, ``Differs``, in this order."""
    lines = [line.strip() for line in (subject.cls.__doc__ or "").strip().splitlines()]
    subject.require(bool(lines), "no docstring; write a summary line, the formula, Args, Source and Differs.")
    subject.require(len(lines) > 2 and not lines[1], "the docstring needs one summary line, then an empty one.")
    sections = {word: place for place, line in enumerate(lines) for word in _SECTIONS if line.startswith(f"{word}:")}
    formula = next((line for line in lines[1:] if line), "")
    is_formula = not formula.startswith(tuple(f"{word}:" for word in _SECTIONS)) and re.search(r"[=<>+*/()^-]", formula)
    subject.require(bool(is_formula), f"the docstring's second paragraph is no formula: '{formula}'.")
    names = list(arguments.parameters(subject.cls.__init__))
    needed = ["Args", "Source", "Differs"] if names else ["Source", "Differs"]
    for word in needed:
        subject.require(word in sections, f"the docstring has no line that starts with '{word}:'.")
    places = [sections[word] for word in needed]
    subject.require(places == sorted(places), f"the docstring's sections stand in another order than {needed}.")
    if names:
        end = min(place for place in [*sections.values(), len(lines)] if place > sections["Args"])
        for name in names:
            named = any(line.startswith(f"{name}:") for line in lines[sections["Args"] + 1 : end])
            subject.require(named, f"the docstring's Args do not explain '{name}'.")


def _check_arguments(subject: _Subject) -> None:
    component = subject.build()
    for name in arguments.parameters(subject.cls.__init__):
        subject.require(
            hasattr(component, name), f"argument '{name}' is not kept as self.{name}; a schedule could not replace it."
        )


def _check_outputs(subject: _Subject) -> dict[str, Tensor]:
    """Run it in both types; returns the float64 outputs."""
    outputs: dict[str, Tensor] = {}
    for dtype in (torch.float32, torch.float64):
        outputs = subject.run(subject.build(dtype), subject.batch(dtype))
        subject.require(
            set(outputs) == set(subject.cls.writes),
            f"compute returns {sorted(outputs)}, but the table writes {sorted(subject.cls.writes)}.",
        )
        for role, value in outputs.items():
            everybody = keys.scope(subject.cls.writes[role]) == keys.AGENTS
            kind = "tuple of tensors, one for each agent" if everybody else "tensor"
            for part in _parts(value):
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
            if subject.cls.writes[role].startswith(f"{keys.LOSS}."):
                subject.require(bool(value.isfinite().all()), f"loss '{role}' is not finite: {value.tolist()}.")
    return outputs


def _is_per_sample(subject: _Subject, component: str | type[Component]) -> bool:
    place = component.split("/")[0] if isinstance(component, str) else subject.cls.__module__
    writes_loss = any(key.startswith(f"{keys.LOSS}.") for key in subject.cls.writes.values())
    return writes_loss or bool({"loss", "weight"} & set(place.split(".")))


def _check_per_sample(subject: _Subject, outputs: Mapping[str, Tensor]) -> None:
    """Some of the samples, in another order, give the same numbers as among all of them."""
    batch, hints = subject.batch(torch.float64), get_type_hints(subject.cls.compute)
    chosen = torch.tensor(_SUBSET)
    picked = {}
    for role, value in batch.items():
        sampled = role in subject.cls.reads and subject.cls.reads[role] != keys.PLACE
        place = _sample_dim(hints[role]) if sampled else None
        if sampled:
            subject.require(place is not None, f"role '{role}' has no '*batch' dimension (or say per_sample=False).")
        picked[role] = value if place is None else _each(value, partial(torch.index_select, dim=place, index=chosen))
    for role, value in subject.run(subject.build(torch.float64), picked).items():
        whole = outputs[role]
        subject.require(
            whole.shape[:1] == (N_SAMPLES,), f"output '{role}' has shape {list(whole.shape)}, not samples first."
        )
        same = value.shape == whole[chosen].shape and torch.allclose(value, whole[chosen], equal_nan=True)
        subject.require(same, f"output '{role}' of a sample depends on other samples of the batch.")


def _check_gradients(subject: _Subject) -> None:
    """Inputs stay as they are; a loss depends on at least one of them."""
    batch = subject.batch(torch.float64)
    tensors = _tensors(batch)
    before = {name: (value.clone(), value._version) for name, value in tensors.items()}
    floats = [value.requires_grad_() for value in tensors.values() if value.is_floating_point()]
    outputs = subject.run(subject.build(torch.float64), batch)
    for name, value in tensors.items():
        unchanged = value._version == before[name][1] and torch.equal(value, before[name][0])
        subject.require(unchanged, f"compute changes its input '{name}' in place; work on a copy.")
    for role, value in outputs.items():
        if not subject.cls.writes[role].startswith(f"{keys.LOSS}."):
            continue
        subject.require(value.requires_grad, f"loss '{role}' sends no gradient to any input; is it detached?")
        found = torch.autograd.grad(value.sum(), floats, allow_unused=True, retain_graph=True)
        subject.require(
            any(each is not None and bool((each != 0).any()) for each in found),
            f"the gradient of loss '{role}' is 0 for every input on a made-up batch.",
        )
        finite = all(each is None or bool(each.isfinite().all()) for each in found)
        subject.require(finite, f"the gradient of loss '{role}' is not finite.")


def _check_state(subject: _Subject) -> None:
    """A fresh component with the state of a used one continues like it."""
    batch, used, resumed = subject.batch(torch.float32), subject.build(), subject.build()
    for _ in range(2):
        subject.run(used, batch)
    resumed.load_state_dict(copy.deepcopy(used.state_dict()))
    for _ in range(2):
        _require_equal(subject, subject.run(used, batch), subject.run(resumed, batch), "after a state_dict round trip")


def _check_wiring(subject: _Subject) -> None:
    """Wired to any agent, through a TensorDict, it gives what ``compute`` gives."""
    if subject.cls.calls:
        return  # it needs a network, so it does not run alone
    batch = subject.batch(torch.float32)
    own = {key: role for role, key in subject.cls.reads.items() if keys.scope(key) == keys.AGENT}
    for role, key in subject.cls.reads.items():
        same = own.get(".".join(keys.AGENT if word == keys.AGENTS else word for word in key.split(".")))
        if keys.scope(key) == keys.AGENTS and same is not None:
            batch[role] = (batch[same], *batch[role][1:])  # the first agent's own value, read in two ways
    expected = subject.run(subject.build(), batch)
    team = tuple(f"agent_{index}" for index in range(N_OTHER))
    for agent in (team[0], "somebody_else"):
        component = subject.build().wire(agent=agent, agents=team)
        values = TensorDict()
        for role, value in batch.items():
            names = team if keys.scope(subject.cls.reads[role]) == keys.AGENTS else (agent,)
            for name, part in zip(names, value if isinstance(value, tuple) else (value,), strict=True):
                values.set(keys.parse(keys.of_agent(subject.cls.reads[role], name)), part)
        component(values)
        written = {}
        for role, key in subject.cls.writes.items():
            names = team if keys.scope(key) == keys.AGENTS else (agent,)
            parts = tuple(values[keys.parse(keys.of_agent(key, name))] for name in names)
            written[role] = parts if keys.scope(key) == keys.AGENTS else parts[0]
        _require_equal(subject, expected, written, f"wired to agent '{agent}'")


def _require_equal(subject: _Subject, expected: Output, found: Output, when: str) -> None:
    for role, value in expected.items():
        for part, other in zip(_parts(value), _parts(found[role]), strict=True):
            same = part.shape == other.shape and torch.equal(part, other)
            subject.require(same or bool(part.isnan().any()), f"output '{role}' is another one {when}.")
