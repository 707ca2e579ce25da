"""The simulator's own step, listened to: how often its loops turn, and that it draws what a traced step drew."""

from collections import Counter
from collections.abc import Sequence
from types import FrameType
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from hetrl.env.capture.masked_index import has_mask
from hetrl.env.capture.places import in_while, place
from hetrl.env.capture.tracing import Draw, Event, LoopTurn, Question, draws


class Original(TorchFunctionMode):
    """Listens to a step of the simulator itself, which it does not change but for where its random numbers come from.

    Args:
        script: of a traced step; its draws are taken from ``drawn``.
        drawn: the traced step's numbers.
    """

    def __init__(self, script: Sequence[Event] = (), drawn: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.turns: Counter[str] = Counter()
        """Place of a ``while`` loop that ends when a tensor says so -> most turns seen."""
        self.masks = False
        """Whether something was read through a mask."""
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
            if in_while(frame.f_code.co_filename, frame.f_lineno):
                self._turn(frame, where, answer)
            return answer
        self.masks = self.masks or (name == "__getitem__" and has_mask(args[1]))
        numbers = func(*args, **kwargs)
        if self._script and (draws(name)):
            given = self._numbers()
            if given is not None and given.shape != numbers.shape and given.shape[1:] == numbers.shape[1:]:
                given = given[: len(numbers)]  # one for each row of a mask: the traced step draws for all rows
            if given is None or given.shape != numbers.shape:
                self.lost = self.lost or place()[1]
                return numbers
            return args[0].copy_(given) if name.endswith("_") else given.clone()
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
        while self._at < len(self._script) and not isinstance(self._script[self._at], LoopTurn):
            self._skip()
        if self._at == len(self._script):
            self.lost = self.lost or where
            return
        told = self._script[self._at]
        self._at += 1
        if answer and told != LoopTurn(where, True):
            self.lost = self.lost or where
        while not answer and told != LoopTurn(where, False) and self._at < len(self._script):
            told = self._script[self._at]  # the traced step goes on turning
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
