"""The signals that ask for a stop, taken over while something runs and given back afterwards."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

STOPS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGBREAK")
"""Ctrl-C, a request of the system, a closed terminal, what Slurm is usually told to send before the time is up, and
Ctrl-Break, which stands for a request on Windows."""


class TakenSignals:
    """Calls a handler on every signal in :data:`STOPS` that the platform has.

    Outside the main thread python hands out no signals: there it does nothing.
    """

    def __init__(self) -> None:
        self._previous: dict[int, Any] = {}

    def take(self, handler: Callable[[int, FrameType | None], None]) -> None:
        """Take the signals over."""
        if threading.current_thread() is not threading.main_thread():
            return
        for name in STOPS:
            number = getattr(signal, name, None)  # Windows has three of them, and no other system the last one
            # nohup has a closed terminal ignored, and that is what is wanted.
            if number is None or (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
                continue
            self._previous[number] = signal.signal(number, handler)

    def give_back(self, *numbers: int) -> None:
        """Put back who was there before: all, or some of them."""
        for number in numbers or tuple(self._previous):
            if number in self._previous:
                handler = self._previous.pop(number)
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
