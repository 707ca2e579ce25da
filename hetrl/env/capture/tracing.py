"""What a simulator's step does that a tensor program cannot do, and what stands for it while the step is traced.

A step written in Python asks tensors for truth (``if close.any():``), writes where a mask holds, draws random numbers
and looks for contacts. :class:`Listener` stands between that code and torch, in two passes. The first *records* on a
real step which questions are asked and which numbers are drawn. The second *traces*: questions get the recorded answer
and become guards of the program, drawn numbers become its inputs, masks become ``where``, and contacts are computed for
all pairs and multiplied out where the simulator would not have looked.
"""

import ast
import linecache
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

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
_TORCH = str(Path(torch.__file__).parent)


class RefusalError(Exception):
    """A step cannot be a tensor program, for the reason that this carries."""


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
class Turn:
    """A question that a ``while`` loop asks at each turn."""

    where: str
    answer: bool


Event = Draw | Question | Turn


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
        script: what a recording heard.
        drawn: for each draw of the script, the numbers.
    """

    turns: dict[str, int]
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
        if name in _FACTORIES or name in _ALIKE or name in _IN_PLACE:
            return self._draw(func, name, args, kwargs)
        if self.script is None:
            return func(*args, **kwargs)
        if name in _TO_PYTHON:
            raise RefusalError(f"it reads a number out of a tensor (.{name}) at {place()[1]}")
        if name == "__getitem__":
            return _masked_read(func, *args)
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
        turn = Turn(where, again)
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
        within = self._within()
        mask, view = _split(tensor, index)
        if mask is None and within is None:
            func(tensor, index, value)
            return
        if view is None:
            if any(isinstance(part, (Tensor, list)) for part in (index if isinstance(index, tuple) else (index,))):
                raise RefusalError(f"it writes at places that depend on a condition, at {place()[1]}")
            view = tensor[index]
        value = torch.as_tensor(value, dtype=view.dtype, device=view.device)
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
        lines = _body(frame.f_code.co_filename, frame.f_lineno)
        if lines is None:
            raise RefusalError(f"it looks for a contact outside of an 'if', at {_name(frame)}")
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


# --------------------------------------------------------------------------- masks as where


def _is_mask(part: Any) -> bool:
    return isinstance(part, Tensor) and part.dtype == torch.bool and part.dim() > 0


def _split(tensor: Tensor, index: Any) -> tuple[Tensor | None, Tensor | None]:
    """A mask that fits the view, and the view of ``tensor`` with whole dimensions in the mask's place."""
    parts = index if isinstance(index, tuple) else (index,)
    masks = [part for part in parts if _is_mask(part)]
    if not masks:
        return None, None
    if len(masks) > 1 or any(isinstance(part, (Tensor, list)) for part in parts if part is not masks[0]):
        raise RefusalError(f"it indexes with a mask among other tensors, at {place()[1]}")
    mask = masks[0]
    place_of_mask = next(i for i, part in enumerate(parts) if part is mask)
    before, after = parts[:place_of_mask], parts[place_of_mask + 1 :]
    if before and before[0] is Ellipsis:
        used = sum(part is not None for part in after) + mask.dim()
        before = (slice(None),) * (tensor.dim() - used)
    view = tensor[(*before, *(slice(None),) * mask.dim(), *after)]
    leading = sum(not isinstance(part, int) for part in before)
    shape = (1,) * leading + tuple(mask.shape) + (1,) * (view.dim() - leading - mask.dim())
    return mask.reshape(shape), view


def _masked_read(func: Any, tensor: Tensor, index: Any) -> Tensor:
    """``x[mask]`` read whole: what is outside of the mask is dropped when it is written back."""
    mask, view = _split(tensor, index)
    if mask is None or view is None:
        return func(tensor, index)
    return view.clone()


# --------------------------------------------------------------------------- places in the code


def place() -> tuple[FrameType, str]:
    """The frame outside of torch and of this file that is running, and its name in words."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_TORCH) and file != __file__:
            return frame, _name(frame)
        frame = frame.f_back
    raise RefusalError("nobody called")


def _name(frame: FrameType) -> str:
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


@cache
def _tree(file: str) -> ast.Module:
    return ast.parse("".join(linecache.getlines(file)))


@cache
def _body(file: str, line: int) -> range | None:
    """Lines of the body of the ``if`` without an ``else`` whose condition is at ``line``."""
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.If) and node.test.lineno <= line <= (node.test.end_lineno or line) and not node.orelse:
            return range(node.body[0].lineno, (node.body[-1].end_lineno or node.body[-1].lineno) + 1)
    return None


@cache
def _in_while(file: str, line: int) -> bool:
    """Whether the innermost loop around ``line`` is a ``while``."""
    innermost: ast.AST | None = None
    for node in ast.walk(_tree(file)):
        inside = isinstance(node, (ast.While, ast.For)) and node.lineno <= line <= (node.end_lineno or line)
        if inside and (innermost is None or node.lineno >= innermost.lineno):  # type: ignore[attr-defined]
            innermost = node
    return isinstance(innermost, ast.While)


class Original(TorchFunctionMode):
    """Listens to a step of the simulator itself, which it does not change but for where its random numbers come from.

    Args:
        script: of a program; its draws are taken from ``drawn``.
        drawn: the program's numbers.
    """

    def __init__(self, script: Sequence[Event] = (), drawn: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.turns: Counter[str] = Counter()
        """Place of a ``while`` loop that ends when a tensor says so -> most turns seen."""
        self.lost: str | None = None
        """Where the step drew what the script does not foresee."""
        self._script, self._drawn = script, drawn
        self._at, self._n_drawn = 0, 0
        self._running: dict[tuple[int, str], tuple[FrameType, int]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let everything pass, but count and give numbers."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__bool__":
            answer = func(*args)
            frame, where = place()
            if _in_while(frame.f_code.co_filename, frame.f_lineno):
                self._turn(frame, where, answer)
            return answer
        numbers = func(*args, **kwargs)
        if self._script and (name in _FACTORIES or name in _ALIKE or name in _IN_PLACE):
            given = self._numbers()
            if given is None or given.shape != numbers.shape:
                self.lost = self.lost or place()[1]
                return numbers
            return args[0].copy_(given) if name in _IN_PLACE else given.clone()
        return numbers

    def _turn(self, frame: FrameType, where: str, answer: bool) -> None:
        key = (id(frame), where)
        count = self._running[key][1] if key in self._running else 0
        self.turns[where] = max(self.turns[where], count + answer)
        if answer:
            self._running[key] = (frame, count + 1)
        else:
            self._running.pop(key, None)
        if not self._script:
            return
        while self._at < len(self._script) and not isinstance(self._script[self._at], Turn):
            self._skip()
        if self._at == len(self._script):
            self.lost = self.lost or where
            return
        told = self._script[self._at]
        self._at += 1
        if answer and told != Turn(where, True):
            self.lost = self.lost or where
        while not answer and told != Turn(where, False) and self._at < len(self._script):
            told = self._script[self._at]  # the program goes on turning
            self._skip()

    def _skip(self) -> None:
        self._n_drawn += isinstance(self._script[self._at], Draw)
        self._at += 1

    def _numbers(self) -> Tensor | None:
        while self._at < len(self._script) and isinstance(self._script[self._at], Question):
            self._at += 1
        if self._at == len(self._script) or not isinstance(self._script[self._at], Draw):
            return None
        self._skip()
        return self._drawn[self._n_drawn - 1]


# --------------------------------------------------------------------------- the broad phase


@contextmanager
def contacts(world: Any, listener: Listener) -> Iterator[None]:
    """Within, ``world`` looks at all pairs that may ever touch, and what it would not have looked at does nothing.

    The world's class is another one for that time; the class itself is not changed.
    """
    own = type(world)
    masks: dict[tuple[int, int], Tensor] = {}
    joined: list[bool] = []

    def look(self: Any, a: Any, b: Any) -> bool:
        listener.looking, listener.contact = True, None
        try:
            answer = own.collides(self, a, b)
        finally:
            listener.looking = False
        if answer and listener.contact is not None:
            masks[id(a), id(b)] = masks[id(b), id(a)] = listener.contact
            frame = sys._getframe(1)
            if frame.f_code is not own._apply_vectorized_enviornment_force.__code__:
                listener.enter(frame, listener.contact)
        return answer

    def push(self: Any, a: Any, f_a: Any, t_a: Any, b: Any, f_b: Any, t_b: Any) -> None:
        mask = None if joined else masks.get((id(a), id(b)))
        if mask is not None:
            f_a, t_a, f_b, t_b = (
                torch.where(mask, part, 0.0) if isinstance(part, Tensor) else part for part in (f_a, t_a, f_b, t_b)
            )
        own.update_env_forces(self, a, f_a, t_a, b, f_b, t_b)

    def join(self: Any, joints: Any) -> None:
        joined.append(True)
        try:
            own._vectorized_joint_constraints(self, joints)
        finally:
            joined.clear()

    methods: dict[str, Callable[..., Any]] = {
        "collides": look, "update_env_forces": push, "_vectorized_joint_constraints": join,
    }  # fmt: skip
    world.__class__ = type(own.__name__, (own,), methods)
    try:
        yield
    finally:
        world.__class__ = own
