"""A traced program at work in a simulator: read its tensors, run, put the results back."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hetrl.env.capture.program import Grouped, Program
from hetrl.env.simulator_state import Path, get, python_values, slots

Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]
Compiler = Callable[[Program], Run]


class Runner:
    """Steps a simulator with a program.

    Args:
        program: the program.
        run: the program, compiled.
        first: see :func:`~hetrl.env.simulator_state.walk`.
    """

    def __init__(self, program: Program, run: Run, first: Sequence[Path]) -> None:
        self.program, self.run, self._first = program, run, first
        self._bound_to: Any = None

    def bind(self, simulator: Any) -> str | None:
        """Find the places that the program reads and writes. Returns why it does not fit the simulator, or None."""
        program = self.program
        self._bound_to = None
        python = python_values(simulator, self._first)
        if python != program.python:
            changed = [path for path in program.python if path not in python or python[path] != program.python[path]]
            return f"values that are no tensors are others: {_named(changed or list(python.keys() - program.python))}"
        here = slots(simulator, self._first)
        aliases = (path for alias in program.aliases for path in alias)
        missing = [path for path in (*program.reads, *program.writes, *program.moves, *aliases) if path not in here]
        if missing:
            return f"what the first steps make is not there yet: {_named(missing)}"
        first_slot = len(program.groups) + len(program.read_draws)
        for path, example in zip(program.reads, program.examples[first_slot:], strict=True):
            if here[path].shape != example.shape or here[path].dtype != example.dtype:
                return f"a tensor is of another shape: {_named([path])}"
        self._read = [_place(simulator, path) for path in program.reads]
        self._write = [(*_place(simulator, path), number) for path, number in program.writes.items()]
        self._move = [(*_place(simulator, to), *_place(simulator, source)) for to, source in program.moves.items()]
        self._alike = [
            (*_place(simulator, alias[0]), *_place(simulator, path)) for alias in program.aliases for path in alias[1:]
        ]
        self._bound_to = simulator
        return None

    def fits(self, simulator: Any) -> bool:
        """Whether it is bound to this simulator."""
        return self._bound_to is simulator

    def loosen(self) -> None:
        """Something else than the program changed the simulator: bind again before the next step."""
        self._bound_to = None

    def step(self, actions: Mapping[str, Tensor], drawn: Sequence[Tensor]) -> tuple[Grouped, Grouped, Tensor] | None:
        """Step the bound simulator. Returns observations, rewards and who terminated.

        None where the step goes another way than the traced one; the simulator is then as it was.
        """
        program = self.program
        if any(holder[key] is not other[where] for holder, key, other, where in self._alike):
            return None
        given = [actions[group] for group in program.groups]
        given += [drawn[number] for number in program.read_draws]
        given += [holder[key] for holder, key in self._read]
        out = self.run([value if value.is_contiguous() else value.contiguous() for value in given])
        if program.guard is not None and not out[program.guard]:
            return None
        moved = [(holder, key, source[where]) for holder, key, source, where in self._move]
        for holder, key, number in self._write:
            holder[key] = out[number]
        for holder, key, tensor in moved:
            holder[key] = tensor
        return (
            {group: out[number] for group, number in program.observations.items()},
            {group: out[number] for group, number in program.rewards.items()},
            out[program.terminated],
        )

    def draw(self) -> list[Tensor]:
        """The random numbers of one step, from the generators that are the present ones."""
        return [draw() for draw in self.program.draws]


def _named(paths: Sequence[Path]) -> str:
    return ", ".join("/".join(map(str, path)) for path in paths[:2])


def _place(simulator: Any, path: Path) -> tuple[Any, Any]:
    """The container and key of a slot, so that ``container[key]`` is its tensor."""
    holder, key = get(simulator, path[:-1]), path[-1]
    if isinstance(holder, dict):
        return holder, list(holder)[int(key)]
    if isinstance(holder, tuple):
        raise TypeError(f"a tuple holds tensors: {_named([path])}")
    return holder if isinstance(holder, (list, deque)) else vars(holder), key


# --------------------------------------------------------------------------- compilers


def as_it_is(program: Program) -> Run:
    """The graph itself, one kernel for each of its operations: the bits of the original, and quick to make."""
    graph: Any = program.graph

    def run(given: Sequence[Tensor]) -> Sequence[Tensor]:
        with torch.no_grad():
            return graph(*given)

    return run


def compiled(program: Program) -> Run:
    """Kernels by inductor, kept on disk for the next process."""
    from torch._guards import TracingContext, tracing
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    # Without a tracing context torch neither reads nor writes its cache on disk.
    context = tracing(TracingContext(FakeTensorMode(shape_env=ShapeEnv(), static_shapes=True)))
    # Shapes are checked when a runner is bound, once and not at every step.
    options = config.patch(fx_graph_cache=True, compile_threads=1, size_asserts=False)
    with context, torch.no_grad(), options:
        built: Any = compile_fx(program.graph, list(program.examples))
        merged = _merged(built(*program.examples), program.examples)  # compiling is put off until this first call

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


def replayed(program: Program) -> Run:
    """Kernels by inductor, launched together as one CUDA graph."""
    kernels = compiled(program)
    static = [example.clone() for example in program.examples]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            kernels(static)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = list(kernels(static))

    def run(given: Sequence[Tensor]) -> Sequence[Tensor]:
        torch._foreach_copy_(static, list(given))
        graph.replay()
        fresh = [torch.empty_like(result) for result in results]
        torch._foreach_copy_(fresh, results)
        return fresh

    return run
