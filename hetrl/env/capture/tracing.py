"""What a simulator's step does that a tensor program cannot do, and what stands for it while the step is traced.

A step written in Python asks tensors for truth (``if close.any():``), writes where a mask holds, draws random numbers
and looks for contacts. :class:`Listener` stands between that code and torch, in two passes. The first *records* on a
real step which questions are asked and which numbers are drawn. The second *traces*: questions get the recorded answer
and become guards of the traced step, drawn numbers become its inputs, masks become ``where``, and contacts are computed
for all pairs and multiplied out where the simulator would not have looked.
"""

import sys
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hetrl.env.capture.masked_index import masked_index
from hetrl.env.capture.places import RefusalError, body, name_of, place

_FACTORIES = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "poisson"}
_ALIKE = {"rand_like": torch.rand, "randn_like": torch.randn, "randint_like": torch.randint}
_IN_PLACE = {
    "uniform_",
    "normal_",
    "random_",
    "bernoulli_",
    "exponential_",
    "cauchy_",
    "log_normal_",
    "geometric_",
}
_TO_PYTHON = {"item", "tolist", "numpy", "__int__", "__float__", "__index__", "__array__"}


@dataclass(frozen=True)
class Draw:
    """Random numbers that a step draws: how to draw them again."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    arguments: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    def __call__(self) -> Tensor:
        """Draw, in the way and from the generator that the step itself would."""
        if self.name in _IN_PLACE:
            blank = torch.empty(self.shape, dtype=self.dtype, device=self.device)
            return getattr(torch.Tensor, self.name)(blank, *self.arguments, **dict(self.options))
        return getattr(torch, self.name)(*self.arguments, **dict(self.options))


@dataclass(frozen=True)
class Question:
    """A tensor that the step asked for its truth."""

    where: str
    answer: bool


@dataclass(frozen=True)
class LoopTurn:
    """A question that a ``while`` loop asks at each turn."""

    where: str
    answer: bool


Event = Draw | Question | LoopTurn


def _indexed(func: Any, tensor: Tensor, index: Any) -> Tensor:
    try:
        return func(tensor, index)
    except RuntimeError as error:
        if "_local_scalar_dense" in str(error):  # a tensor among the indices was asked for its number
            raise RefusalError(f"it reads a number out of a tensor (as an index) at {place()[1]}") from error
        raise


def draws(name: str) -> bool:
    """Whether the function of torch of this name draws random numbers."""
    return name in _FACTORIES or name in _ALIKE or name in _IN_PLACE


@dataclass
class _Region:
    """The body of an ``if`` that is entered although its condition holds only where ``mask`` does."""

    frame: FrameType
    lines: range
    mask: Tensor


@dataclass
class Listener(TorchFunctionMode):
    """Listens to a step. With ``script`` it traces and answers from there; without, it records.

    Args:
        turns: place -> how often a ``while`` loop there is run; see :func:`loop_turns`.
        packed: how masks are read, see :class:`~hetrl.env.capture.masked_index.MaskedIndex`.
        script: what a recording heard.
        drawn: for each draw of the script, the numbers.
    """

    turns: dict[str, int]
    packed: bool = False
    script: list[Event] | None = None
    drawn: list[Tensor] = field(default_factory=list)
    heard: list[Event] = field(default_factory=list)
    guards: list[Tensor] = field(default_factory=list)
    """Questions of the trace: true where the answer would have been the recorded one."""
    contact: Tensor | None = None
    """The answer to the last look for a contact."""
    looking: bool = False
    regions: list[_Region] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._loops: dict[tuple[int, str], tuple[FrameType, int]] = {}
        self._n_drawn = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Take the call of any torch function."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__bool__":
            return self._ask(args[0])
        if draws(name):
            return self._draw(func, name, args, kwargs)
        if name in _TO_PYTHON and self.script is not None:
            raise RefusalError(f"it reads a number out of a tensor (.{name}) at {place()[1]}")
        if name == "__getitem__":
            found = masked_index(*args)
            return _indexed(func, *args) if found is None else found.read(self.packed)
        if name == "__setitem__":
            return self._write(func, *args)
        return func(*args, **kwargs)

    # ----- questions

    def _ask(self, tensor: Tensor) -> bool:
        if self.looking:
            self.contact = tensor
            return True
        frame, where = place()
        if where in self.turns:
            return self._turn(tensor, frame, where)
        if self.script is None:
            answer = bool(tensor)
            self.heard.append(Question(where, answer))
            return answer
        asked = self._next()
        if not isinstance(asked, Question) or asked.where != where:
            raise RefusalError(f"it takes another path from step to step, at {where}")
        self._guard(tensor, asked.answer)
        return asked.answer

    def _turn(self, tensor: Tensor, frame: FrameType, where: str) -> bool:
        """Run the loop as often as ever seen: turns that it would not have taken must change nothing."""
        key = (id(frame), where)
        count = self._loops[key][1] + 1 if key in self._loops else 1
        self._loops[key] = (frame, count)  # the frame is kept, so that its id stays its own
        again = count <= self.turns[where]
        if not again:
            del self._loops[key]
            self._guard(tensor, False)
        turn = LoopTurn(where, again)
        if self.script is None:
            self.heard.append(turn)
        elif self._next() != turn:
            raise RefusalError(f"it takes another path from step to step, at {where}")
        return again

    def _guard(self, tensor: Tensor, answer: bool) -> None:
        if self.script is not None:
            truth = tensor.reshape(()).to(torch.bool)
            self.guards.append(truth if answer else ~truth)

    def _next(self) -> Event | None:
        assert self.script is not None
        told = self.script[len(self.heard)] if len(self.heard) < len(self.script) else None
        if told is not None:
            self.heard.append(told)
        return told

    # ----- random numbers

    def _draw(self, func: Any, name: str, args: Any, kwargs: Any) -> Tensor:
        if self.script is None:
            numbers = func(*args, **kwargs)
            self.heard.append(_draw_again(name, args, kwargs, numbers))
            self.drawn.append(numbers.clone())
            return numbers
        told = self._next()
        if not isinstance(told, Draw) or told.name not in (name, name.removesuffix("_like")):
            raise RefusalError(f"it draws other random numbers from step to step, at {place()[1]}")
        numbers = self.drawn[self._n_drawn]
        self._n_drawn += 1
        return args[0].copy_(numbers) if name in _IN_PLACE else numbers.clone()

    # ----- masks

    def _write(self, func: Any, tensor: Tensor, index: Any, value: Any) -> None:
        within, found = self._within(), masked_index(tensor, index)
        if found is not None:
            mask, view = found.fitting, found.view
        elif within is None:
            func(tensor, index, value)
            return
        elif any(isinstance(part, (Tensor, list)) for part in (index if isinstance(index, tuple) else (index,))):
            raise RefusalError(f"it writes at places that depend on a condition, at {place()[1]}")
        else:
            mask, view = None, tensor[index]
        value = torch.as_tensor(value, dtype=view.dtype, device=view.device)
        if found is not None and self.packed:
            value = found.unpacked(value)
        if within is not None:
            whole = within.reshape(within.shape + (1,) * (view.dim() - within.dim()))
            mask = whole if mask is None else mask & whole
        assert mask is not None
        view.copy_(torch.where(mask, value, view))

    def _within(self) -> Tensor | None:
        """The mask of the ``if`` bodies that are running."""
        if not self.regions:
            return None
        running: dict[int, int] = {}
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            running[id(frame)] = frame.f_lineno
            frame = frame.f_back
        self.regions = [r for r in self.regions if running.get(id(r.frame), -1) in r.lines]
        mask = None
        for region in self.regions:
            mask = region.mask if mask is None else mask & region.mask
        return mask

    def enter(self, frame: FrameType, mask: Tensor) -> None:
        """``frame`` runs the body of the ``if`` at its line; what that writes counts where ``mask`` holds."""
        lines = body(frame.f_code.co_filename, frame.f_lineno)
        if lines is None:
            raise RefusalError(f"it looks for a contact outside of an 'if', at {name_of(frame)}")
        self.regions = [r for r in self.regions if r.frame is not frame or r.lines != lines]
        self.regions.append(_Region(frame, lines, mask))


def _draw_again(name: str, args: Any, kwargs: Any, numbers: Tensor) -> Draw:
    options = {key: value for key, value in kwargs.items() if key != "generator" or value is not None}
    if name in _ALIKE:
        low_high = args[1:] if name == "randint_like" else ()
        name, args = name.removesuffix("_like"), (*low_high, tuple(numbers.shape))
        options = {"dtype": numbers.dtype, "device": numbers.device}
    elif name in _IN_PLACE:
        args = args[1:]
    if any(isinstance(value, Tensor) for value in (*args, *options.values())):
        raise RefusalError(f"its random numbers ({name}) depend on tensors, at {place()[1]}")
    arguments = tuple(tuple(value) if isinstance(value, (list, torch.Size)) else value for value in args)
    return Draw(name, tuple(numbers.shape), numbers.dtype, numbers.device, arguments, tuple(options.items()))
