"""A traced step at work in a simulator: read its tensors, run, put the results back."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from hetrl.env.capture.alternating import Alternating
from hetrl.env.capture.traced_step import TracedStep
from hetrl.env.simulator_state import KeyPath, get, python_values, slots
from hetrl.graph import copy_all, inline
from hetrl.team import Grouped

Executable = Callable[[Sequence[Tensor]], Sequence[Tensor]]


class Compilable(Protocol):
    """A graph, and tensors of the shapes that it takes."""

    @property
    def graph(self) -> Any:
        """A ``torch.fx`` graph module."""

    @property
    def examples(self) -> Sequence[Tensor]:
        """Tensors to call it with."""


Compiler = Callable[[TracedStep], Executable]


class Runner:
    """Takes a traced step in a simulator, again and again.

    Args:
        traced: the step.
        run: the same, compiled.
        first: see :func:`~hetrl.env.simulator_state.walk`.
    """

    def __init__(self, traced: TracedStep, run: Executable, first: Sequence[KeyPath]) -> None:
        self.traced, self.run, self._first = traced, run, first
        self._bound_to: Any = None
        self.trusted = False
        """Whether its way never changed in a proof, although it might."""
        self._trusting = False
        self._held: Tensor | None = None

    def bind(self, simulator: Any) -> str | None:
        """Find the places that the traced step reads and writes. Returns why it does not fit the simulator, or None."""
        traced = self.traced
        self._bound_to = None
        python = python_values(simulator, self._first)
        if python != traced.python:
            changed = [path for path in traced.python if path not in python or python[path] != traced.python[path]]
            return f"values that are no tensors are others: {_named(changed or list(python.keys() - traced.python))}"
        here = slots(simulator, self._first)
        aliases = (path for alias in traced.aliases for path in alias)
        missing = [path for path in (*traced.reads, *traced.writes, *traced.moves, *aliases) if path not in here]
        if missing:
            return f"what the first steps make is not there yet: {_named(missing)}"
        first_slot = len(traced.groups) + len(traced.read_draws)
        for path, example in zip(traced.reads, traced.examples[first_slot:], strict=True):
            if here[path].shape != example.shape or here[path].dtype != example.dtype:
                return f"a tensor is of another shape: {_named([path])}"
        self._read = [_place(simulator, path) for path in traced.reads]
        self._write = [(*_place(simulator, path), number) for path, number in traced.writes.items()]
        self._move = [(*_place(simulator, to), *_place(simulator, source)) for to, source in traced.moves.items()]
        self._alike = [
            (*_place(simulator, alias[0]), *_place(simulator, path)) for alias in traced.aliases for path in alias[1:]
        ]
        self._bound_to = simulator
        return None

    def fits(self, simulator: Any) -> bool:
        """Whether it is bound to this simulator."""
        return self._bound_to is simulator

    def loosen(self) -> None:
        """Something else than the traced step changed the simulator: bind again before the next step."""
        self._bound_to = None

    def step(self, actions: Mapping[str, Tensor], drawn: Sequence[Tensor]) -> tuple[Grouped, Grouped, Tensor] | None:
        """Step the bound simulator. Returns observations, rewards and who terminated.

        None where the step goes another way than the traced one; the simulator is then as it was.
        """
        traced = self.traced
        if any(holder[key] is not other[where] for holder, key, other, where in self._alike):
            return None
        given = [actions[group] for group in traced.groups]
        given += [drawn[number] for number in traced.read_draws]
        given += [holder[key] for holder, key in self._read]
        out = self.run([value if value.is_contiguous() else value.contiguous() for value in given])
        if traced.guard is not None and not self._goes_on(out[traced.guard]):
            return None
        moved = [(holder, key, source[where]) for holder, key, source, where in self._move]
        given_out = [*traced.observations.values(), *traced.rewards.values(), traced.terminated]
        if isinstance(self.run, Alternating) and not inline():
            out = self._taken(self.run, out, given_out)
            moved = [(holder, key, tensor.clone()) for holder, key, tensor in moved]
        for holder, key, number in self._write:
            holder[key] = out[number]
        for holder, key, tensor in moved:
            holder[key] = tensor
        return (
            {group: out[number] for group, number in traced.observations.items()},
            {group: out[number] for group, number in traced.rewards.items()},
            out[traced.terminated],
        )

    @property
    def asks(self) -> bool:
        """Whether each step asks the device whether it went as the traced one."""
        return self.traced.guard is not None and not self._trusting

    def _goes_on(self, guard: Tensor) -> bool:
        """Whether the step counts: it went as the traced one, or that is found out later."""
        if self._held is None or not self._trusting:
            return bool(guard)
        self._held.logical_and_(guard)
        return True

    def trust(self) -> None:
        """Only note from now on, on the device, whether steps go as the traced one."""
        if self._held is None:
            self._held = torch.ones((), dtype=torch.bool, device=self.traced.examples[0].device)
        self._held.fill_(True)
        self._trusting = True

    @property
    def notes(self) -> list[Tensor]:
        """Where that is noted, always the same place."""
        return [] if self._held is None else [self._held]

    def held(self) -> bool:
        """Whether all steps since did; where not, it is not trusted again. From now on each step asks."""
        went = self._held is None or not self._trusting or bool(self._held)
        self._trusting = False
        self.trusted = self.trusted and went
        return went

    @staticmethod
    def _taken(run: Alternating, out: Sequence[Tensor], given_out: Sequence[int]) -> list[Tensor]:
        """Keep the results: those for the simulator where they are, those for others in tensors of their own."""
        own = list(out)
        fresh = [torch.empty_like(out[number]) for number in given_out]
        copy_all(fresh, [out[number] for number in given_out])
        for number, tensor in zip(given_out, fresh, strict=True):
            own[number] = tensor
        run.taken()
        return own

    def draw(self) -> list[Tensor]:
        """The random numbers of one step, from the generators that are the present ones."""
        return [draw() for draw in self.traced.draws]


def _named(paths: Sequence[KeyPath]) -> str:
    return ", ".join("/".join(map(str, path)) for path in paths[:2])


def _place(simulator: Any, path: KeyPath) -> tuple[Any, Any]:
    """The container and key of a slot, so that ``container[key]`` is its tensor."""
    holder, key = get(simulator, path[:-1]), path[-1]
    if isinstance(holder, dict):
        return holder, list(holder)[int(key)]
    if isinstance(holder, tuple):
        raise TypeError(f"a tuple holds tensors: {_named([path])}")
    return holder if isinstance(holder, (list, deque)) else vars(holder), key


# --------------------------------------------------------------------------- compilers


def as_it_is(traced: TracedStep) -> Executable:
    """The graph itself, one kernel for each of its operations: the bits of the original, and quick to make."""
    graph: Any = traced.graph

    def run(given: Sequence[Tensor]) -> Sequence[Tensor]:
        with torch.no_grad():
            return graph(*given)

    return run


def compiled(traced: Compilable) -> Executable:
    """Kernels by inductor, kept on disk for the next process."""
    from torch._guards import TracingContext, tracing
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    # Without a tracing context torch neither reads nor writes its cache on disk.
    context = tracing(TracingContext(FakeTensorMode(shape_env=ShapeEnv(), static_shapes=True)))
    # Shapes are checked when a runner is bound, once and not at every step.
    options: dict[str, Any] = {"fx_graph_cache": True, "size_asserts": False}
    if traced.examples[0].device.type == "cpu":  # one file of C++; for a GPU many kernels are compiled side by side
        options["compile_threads"] = 1
    with context, torch.no_grad(), config.patch(**options):
        built: Any = compile_fx(traced.graph, list(traced.examples))
        merged = _merged(built(*traced.examples), traced.examples)  # compiling is put off until this first call

    def run(given: Sequence[Tensor]) -> Sequence[Tensor]:
        with torch.no_grad():
            results = list(built(*given))
            for number in merged:
                results[number] = results[number].clone()
            return results

    return run


def _merged(results: Sequence[Tensor], given: Sequence[Tensor]) -> list[int]:
    """Results that share memory with others or with inputs: inductor drops copies, and a slot's tensor is its own."""
    taken, found = {tensor.untyped_storage().data_ptr() for tensor in given}, []
    for number, result in enumerate(results):
        storage = result.untyped_storage().data_ptr()
        if storage in taken:
            found.append(number)
        taken.add(storage)
    return found


def replayed(traced: TracedStep) -> Executable:
    """Kernels by inductor, recorded: on a GPU they are launched together, as one CUDA graph."""
    return in_turns(traced, compiled(traced))


def in_turns(traced: TracedStep, run: Executable) -> Executable:
    """A traced step that is recorded, and leaves the simulator's tensors where its next step reads them."""
    first_slot = len(traced.groups) + len(traced.read_draws)
    fed: set[int] = set()
    feeds: dict[int, int] = {}
    for number, path in enumerate(traced.reads, first_slot):
        result = traced.writes.get(path)
        if result is not None and result not in fed:
            fed.add(result)
            feeds[number] = result
    return Alternating(run, traced.examples, feeds)
