"""Memory that cannot be had: one line that says what asks for it, and for how much."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from hetrl.errors import HetrlError, RecipeError

_ASKED = re.compile(r"(?i)allocate (\d+ bytes|[\d.]+ [KMGTPE]i?B)")
"""How torch and numpy say what they asked for."""
_FREE = re.compile(r"(?m)^MemAvailable: +(\d+) kB$")
_TOO_LARGE = re.compile(r"(?i)size calculation overflow|multiplication overflow|overflow when unpacking|out of memory")
"""What torch says where it cannot even name the size."""


@contextmanager
def allocating(what: str) -> Iterator[None]:
    """Turn an allocation that fails inside into an error of the recipe.

    Args:
        what: what the memory is for, by the name of its setting: "data.frames = 800".

    Raises:
        RecipeError: the memory cannot be had.
    """
    try:
        yield
    except HetrlError:
        raise
    except (RuntimeError, MemoryError, OverflowError, TypeError) as error:
        asked = _asked_for(error)
        if asked is None:
            raise
        raise RecipeError(f"{what} needs memory that cannot be had: {asked}; make it smaller.") from error


def _asked_for(error: Exception) -> str | None:
    """Return how much was asked for; None where the error is about something else."""
    found = _ASKED.search(str(error))
    if found is not None:
        amount, unit = found[1].split()
        return f"{size(int(amount)) if unit == 'bytes' else found[1]} at once"
    known = isinstance(error, MemoryError | OverflowError) or _TOO_LARGE.search(str(error))
    return "more than can be addressed" if known else None


def refuse_above_all(what: str, n_bytes: int, device: torch.device) -> None:
    """Refuse what is larger than the whole memory of a device.

    The system may grant it and kill the process when the memory is used.

    Args:
        what: see :func:`allocating`.
        n_bytes: how much it takes.
        device: where.

    Raises:
        RecipeError: it is larger.
    """
    whole = _whole_memory(device)
    if whole is not None and n_bytes > whole:
        raise RecipeError(f"{what} needs {size(n_bytes)}, and there are {size(whole)} in all; make it smaller.")


def _whole_memory(device: torch.device) -> int | None:
    """Return a device's memory [byte], None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def free_memory() -> int | None:
    """Return how many bytes of this machine's memory may still be used, None where the system does not say."""
    try:
        found = _FREE.search(Path("/proc/meminfo").read_text(encoding="ascii"))
    except OSError:  # not Linux
        return None
    return None if found is None else int(found[1]) * 1024


def size(n_bytes: int) -> str:
    """Return a number of bytes as text, in the largest unit that leaves it above 1."""
    amount, units = float(n_bytes), ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    while amount >= 1024 and len(units) > 1:
        amount, units = amount / 1024, units[1:]
    return f"{amount:.3g} {units[0]}" if amount < 1000 else f"{amount:.0f} {units[0]}"
