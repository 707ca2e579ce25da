"""What is done on a pretended device: launches, waits, and devices that are mixed."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

CUDA = torch.device("cuda", 0)
"""The device that is pretended."""
_OF_OTHERS = ("/torch/", "/tensordict/", "/contextlib", "/functools", "<frozen", "<string>", "/testing/pretended_",
              "/testing/ledger")  # fmt: skip
"""Files whose lines do not count as somebody's."""


class Place(NamedTuple):
    """A line of somebody's code."""

    file: str
    """From the package on: ``hetrl/env/vmas.py``."""
    function: str
    line: int


class Notice(NamedTuple):
    """What somebody did, and where; the second line is that which called the first."""

    what: str
    places: tuple[Place, ...]

    def __str__(self) -> str:
        return f"{self.what}: {' < '.join(f'{file}:{line} ({function})' for file, function, line in self.places)}"


@dataclass
class Ledger:
    """What was done on the pretended device while it was watched."""

    waits: Counter[Notice] = field(default_factory=Counter)
    mixed: Counter[Notice] = field(default_factory=Counter)
    """Operations on tensors of both devices; CUDA refuses them."""
    kernels: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Operation and whose code asked for it (``hetrl``, ``vmas``) -> how often it was launched."""

    @property
    def launches(self) -> int:
        """How many operations were launched."""
        return self.kernels.total()

    def launches_of(self, package: str) -> int:
        """How many of them by one package."""
        return sum(count for (_, owner), count in self.kernels.items() if owner == package)


_open: Ledger | None = None


@contextmanager
def watched() -> Iterator[Ledger]:
    """Keep a ledger of what is done inside; one within another leaves the outer one alone."""
    global _open
    before, _open = _open, Ledger()
    try:
        yield _open
    finally:
        _open = before


def note_wait(what: str) -> None:
    """Take down that the host waits."""
    if _open is not None:
        _open.waits[Notice(what, _places())] += 1


def note_launch(operation: str) -> None:
    """Take down an operation."""
    if _open is not None:
        places = _places(1)
        _open.kernels[operation, places[0].file.partition("/")[0] if places else ""] += 1


def note_mixed(what: str) -> None:
    """Take down an operation on tensors of both devices."""
    if _open is not None:
        _open.mixed[Notice(what, _places())] += 1


def _places(n: int = 2) -> tuple[Place, ...]:
    """Return the innermost lines that are not torch's."""
    frame: Any = sys._getframe(1)
    found: list[Place] = []
    while frame is not None and len(found) < n:
        name = frame.f_code.co_filename
        if not any(part in name for part in _OF_OTHERS):
            found.append(Place(_short(name), frame.f_code.co_name, frame.f_lineno))
        frame = frame.f_back
    return tuple(found)


def _short(file: str) -> str:
    """Return a path from its package on."""
    for before, kept in (("/site-packages/", ""), ("/hetrl/", "hetrl/"), ("/tests/", "tests/")):
        _, found, rest = file.rpartition(before)
        if found:
            return kept + rest
    return file
