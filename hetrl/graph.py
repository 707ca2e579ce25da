"""Work that is recorded once and played again: on a GPU one launch in place of hundreds.

What is recorded reads tensors in fixed places and leaves its results in fixed places, so it is played again without
Python and without any question to the device. On a GPU the recording is a CUDA graph. On a CPU there is nothing to
record: the function is called again on the same places, so that everything around a recording runs there as well.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import Tensor, nn

Work = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""What can be recorded: it asks no tensor for its numbers, and each call takes the same path."""
Generators = Sequence[torch.Generator]

EXACT = 1e-4
"""How far what is played may be off, as a part of the largest number of its tensor: kernels may add in any order."""
_LEAST = 1e-3
"""The least that counts as a tensor's largest number: a mean of numbers around 1 may be nothing but rounding."""
_WARM_UP = 3
"""Calls before a recording: libraries make what they make once."""


def copy_all(places: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Copy values to places, together those of a type: a GPU takes others one by one."""
    types = dict.fromkeys((place.dtype, value.dtype) for place, value in zip(places, values, strict=True))
    pairs = list(zip(places, values, strict=True))
    for kind in types:
        alike = [pair for pair in pairs if (pair[0].dtype, pair[1].dtype) == kind]
        torch._foreach_copy_([place for place, _ in alike], [value for _, value in alike])


_INLINE: ContextVar[bool] = ContextVar("inline", default=False)


def inline() -> bool:
    """Whether a part of something is running that is itself recorded, or called as it would be recorded.

    What records its own work calls it instead: it belongs to the larger recording. Nothing may then be asked of the
    device, nor of its generators.
    """
    return _INLINE.get()


def _as_a_part(function: Work) -> Work:
    """Return the function such that all that it calls knows it: see :func:`inline`."""

    def call(given: Sequence[Tensor]) -> Sequence[Tensor]:
        token = _INLINE.set(True)
        try:
            return function(given)
        finally:
            _INLINE.reset(token)

    return call


def plays(word: bool | str, device: torch.device) -> bool:
    """Whether work is recorded and played, given ``run.graphs``: ``auto`` does so on a GPU alone."""
    return device.type == "cuda" if word == "auto" else bool(word)


class Recording(Protocol):
    """A function on fixed places."""

    outputs: Sequence[Tensor]
    """Where the results are, always the same tensors."""

    def play(self) -> None:
        """Run once more: read the inputs where they are, and put the results in their places."""


class Called:
    """The recording of a CPU, which calls the function again.

    Args:
        function: what is recorded.
        inputs: the places that it reads.
        generators: what it draws from, apart from torch's own.
    """

    def __init__(self, function: Work, inputs: Sequence[Tensor], generators: Generators = ()) -> None:
        self._function, self._inputs = function, inputs
        self.outputs: Sequence[Tensor] = [result.detach().clone() for result in function(inputs)]

    def play(self) -> None:
        """Call it, and copy its results to their places."""
        for place, result in zip(self.outputs, self._function(self._inputs), strict=True):
            place.copy_(result.detach())


class CudaGraph:
    """The recording of a GPU; see :class:`Called` for the arguments.

    All recordings of a device share one pool of memory: each holds its results, so that no other is given their places,
    and what it needs while it is played is free again afterwards. No two are played at the same time.
    """

    _shared: dict[torch.device, tuple[torch.cuda.Stream, object]] = {}
    """Device -> the stream on which all is recorded, and the pool; memory is shared on one stream alone."""

    def __init__(self, function: Work, inputs: Sequence[Tensor], generators: Generators = ()) -> None:
        device = inputs[0].device
        if device not in self._shared:
            self._shared[device] = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()
        side, pool = self._shared[device]
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                function(inputs)
        torch.cuda.synchronize(device)
        self._graph = torch.cuda.CUDAGraph()
        for generator in generators:
            # Played, it draws on from where the generator is, and moves it on: as if it had been called.
            self._graph.register_generator_state(generator)
        # By hand: torch.cuda.graph stays on its own stream where a recording fails.
        with torch.cuda.stream(side):
            self._graph.capture_begin(pool=pool)  # type: ignore[arg-type]
            try:
                self.outputs: Sequence[Tensor] = [result.detach() for result in function(inputs)]
            except BaseException:
                with suppress(RuntimeError):
                    self._graph.capture_end()
                raise
            self._graph.capture_end()
        torch.cuda.current_stream(device).wait_stream(side)

    def play(self) -> None:
        """Launch the graph."""
        self._graph.replay()


RECORDERS: dict[str, Callable[[Work, Sequence[Tensor], Generators], Recording]] = {
    "cpu": Called,
    "cuda": CudaGraph,
}
"""Kind of device -> what records there."""


def record(function: Work, inputs: Sequence[Tensor], generators: Generators = ()) -> Recording:
    """Record a function on the device of its inputs. It is called for that, more than once.

    Args:
        function: what is recorded.
        inputs: the places that it reads, at least one.
        generators: what it draws from, apart from torch's own.
    """
    return RECORDERS[inputs[0].device.type](function, inputs, generators)


@contextmanager
def unmoved(state: Sequence[Tensor], generators: Generators, device: torch.device) -> Iterator[Callable[[], None]]:
    """Put some tensors, and all generators that may be drawn from on a device, back as they were, at the end.

    Gives a function that does so at once.
    """
    drawn = [torch.default_generator, *generators]
    numbers, draws = [tensor.detach().clone() for tensor in state], [generator.get_state() for generator in drawn]
    of_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    @torch.no_grad()
    def put_back() -> None:
        for tensor, number in zip(state, numbers, strict=True):
            tensor.copy_(number)
        for generator, draw in zip(drawn, draws, strict=True):
            generator.set_state(draw)
        if of_device is not None:
            torch.cuda.set_rng_state(of_device, device)

    try:
        yield put_back
    finally:
        put_back()


def difference(own: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Return the largest difference, as a part of the largest number of the tensor that it is in (see ``_LEAST``).

    Infinite where only one of two numbers is finite. It waits for the device.
    """
    worst = 0.0
    for mine, theirs in zip(own, other, strict=True):
        a, b = mine.detach().double(), theirs.detach().double()
        alike = (a == b) | (a.isnan() & b.isnan())
        far = torch.where(alike, 0.0, (a - b).abs().nan_to_num(torch.inf, torch.inf))
        scale = b.abs().nan_to_num(0, 0, 0)
        if far.numel() and bool(far.max() > 0):
            worst = max(worst, float(far.max() / scale.max().clamp(min=_LEAST)))
    return worst


class Played:
    """A function that is recorded for each set of shapes that it is given, proved, and played from then on.

    The first call with other shapes records: it calls the function as it is, records it, puts everything back, plays
    the recording, and compares the two. Where it cannot be recorded, or differs, one line says why, and the function is
    called as it is from then on. Either way the state and the generators are moved on by one call.

    A result stays as it is until the next call alone. Whatever else is recorded and called within the function becomes
    a part of this recording; where this one is refused, it is recorded by itself.

    Args:
        function: from tensors to tensors; it may write to the state, and to nothing else.
        state: gives the tensors that it reads or writes besides: parameters, buffers. Where they have moved to other
            places, it is recorded anew.
        what: what the line calls it: "run.graphs: phase 'actors'".
        generators: what it draws from, apart from torch's own.
    """

    def __init__(
        self, function: Work, state: Callable[[], Sequence[Tensor]], what: str, generators: Generators = ()
    ) -> None:
        self._function, self._state, self._what, self._generators = function, state, what, generators
        self._part = _as_a_part(function)
        self._recordings: dict[tuple[object, ...], tuple[Sequence[Tensor], Recording]] = {}
        self._places: tuple[int, ...] = ()
        self.refused: str | None = None
        """Why it is called as it is, where it is."""

    def __call__(self, given: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the function's results."""
        if self.refused is not None or inline():
            return self._function(given)
        places = self._where()
        if places != self._places:
            self._recordings.clear()
            self._places = places
        key = tuple((value.shape, value.dtype) for value in given)
        found = self._recordings.get(key)
        if found is None:
            return self._first(key, given)
        inputs, recording = found
        copy_all(inputs, given)
        recording.play()
        return recording.outputs

    def _where(self) -> tuple[int, ...]:
        return tuple(tensor.data_ptr() for tensor in self._state())

    def _first(self, key: tuple[object, ...], given: Sequence[Tensor]) -> Sequence[Tensor]:
        """Take the first call with these shapes: record and prove."""
        inputs = [value.detach().clone(memory_format=torch.contiguous_format) for value in given]
        state = list(self._state())
        device = inputs[0].device
        try:
            with unmoved(state, self._generators, device) as put_back:
                expected = [result.detach().clone() for result in self._part(inputs)]
                reached = [tensor.detach().clone() for tensor in state]
            with unmoved(state, self._generators, device):
                recording = record(self._part, inputs, self._generators)
            if self._where() != self._places:
                raise RuntimeError("it puts other tensors in the place of its own")
            recording.play()
            worst = difference([*recording.outputs, *state], [*expected, *reached])
            if worst > EXACT:
                raise RuntimeError(f"played, it differs by {worst:.1e}")
        except Exception as error:
            put_back()
            self.refused = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            results = self._function(given)  # what fails as it is fails again, and that is said by itself
            warnings.warn(f"{self._what} runs operation by operation: {self.refused}.", stacklevel=2)
            return results
        self._recordings[key] = inputs, recording
        return recording.outputs


class Held:
    """All that some modules hold, parameters and buffers: what is recorded reads them where they are.

    Modules are gone through once, as that takes longer than to play. A buffer may be replaced later, a parameter moves
    to another place and stays the same object.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        each = {module: None for whole in modules for module in whole.modules()}
        self._parameters = list(dict.fromkeys(parameter for module in each for parameter in module.parameters(False)))
        self._buffers = [(module._buffers, name) for module in each for name in module._buffers]

    def __call__(self) -> list[Tensor]:
        """Return them as they are now."""
        buffers = (holder[name] for holder, name in self._buffers)
        return [*self._parameters, *(buffer for buffer in buffers if buffer is not None)]
