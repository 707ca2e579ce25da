"""Where the time of a run goes: collection, each phase, evaluation."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers.logger import Logger

from hetrl.train.learner import Learner
from hetrl.train.settled import Settled

COLLECT, EVALUATE, WALL = "collect", "evaluate", "wall"
_N_ROWS = 100
"""About how many rows the table of a whole run has."""

Mark = float | torch.cuda.Event
"""A moment: seconds of the clock, or on a GPU an event in its queue of work."""


class Timings(Settled):
    """Writes a table of the seconds spent on each phase, on collecting, on evaluating, and in all (``wall``).

    A row holds the time since the row before. On a GPU the time between two events in its queue of work is measured,
    and nothing waits for them: events that the GPU has not reached yet count in the next row; only the last row waits.

    Args:
        table: where the rows go.
    """

    def __init__(self, table: Logger) -> None:
        self._table = table
        self._spans: list[tuple[str, Mark, Mark]] = []
        self._seconds: dict[str, float] = {}
        self._wrapped: list[Any] = []
        self._cuda = False

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put a mark before and after every phase and every evaluation."""
        assert isinstance(pl_module, Learner)
        self._cuda = pl_module.device.type == "cuda"
        for phase in pl_module.phases:
            self._wrap(phase, phase.phase.name)
        if pl_module.evaluates:
            self._wrap(pl_module.evaluation, EVALUATE)

    def _wrap(self, owner: Any, name: str) -> None:
        owner.run = partial(self._timed, name, owner.run)
        self._wrapped.append(owner)

    def _timed(self, name: str, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        start = self._mark()
        result = function(*given, **named)
        self._span(name, start)
        return result

    def _mark(self) -> Mark:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _span(self, name: str, start: Mark) -> None:
        self._spans.append((name, start, self._mark()))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._began, self._waiting = time.perf_counter(), self._mark()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count collecting: an evaluation before it is over."""
        self._waiting = self._mark()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the time since the last batch as collecting."""
        self._span(COLLECT, self._waiting)

    def on_settled(self, trainer: L.Trainer, learner: Learner) -> None:
        """Add up, and write a row now and then."""
        frames, every = learner.frames, max(learner.recipe.run.frames // _N_ROWS, 1)
        done = frames >= learner.recipe.run.frames or trainer.should_stop
        self._add_up(wait=done)
        if done or frames // every > (frames - learner.batch_frames) // every:
            now = time.perf_counter()
            self._table.log_metrics({**self._seconds, WALL: now - self._began}, frames)
            self._seconds, self._began = {}, now
        self._waiting = self._mark()

    def _add_up(self, wait: bool) -> None:
        """Count the spans that are over; the others stay, unless they are to be waited for."""
        later = []
        for name, start, end in self._spans:
            if wait or _reached(end):
                self._seconds[name] = self._seconds.get(name, 0.0) + _between(start, end)
            else:
                later.append((name, start, end))
        self._spans = later

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Take the marks away again."""
        self._unwrap()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Take the marks away again: Lightning calls no teardown where a fit raises."""
        self._unwrap()

    def _unwrap(self) -> None:
        for owner in self._wrapped:
            del owner.run
        self._wrapped.clear()


def _reached(mark: Mark) -> bool:
    return isinstance(mark, float) or mark.query()


def _between(start: Mark, end: Mark) -> float:
    """Return the seconds between two marks, waiting for a GPU that has not reached them."""
    if isinstance(start, float) and isinstance(end, float):
        return end - start
    assert isinstance(start, torch.cuda.Event) and isinstance(end, torch.cuda.Event)
    end.synchronize()
    return start.elapsed_time(end) / 1e3
