"""Every error hetrl raises on purpose, and the nearest name that goes into its message."""

import difflib
from collections.abc import Iterable


class HetrlError(Exception):
    """Base of all errors raised on purpose. Its text is one line: where, what, and what to do."""


class RecipeError(HetrlError, ValueError):
    """A recipe, or an argument in it, cannot be used as written."""


class ComponentError(HetrlError, TypeError):
    """A component or network class breaks the contract of its key table."""


class DependencyError(HetrlError, ImportError):
    """An optional package is missing; the text names the extra that installs it."""


class RunError(HetrlError, RuntimeError):
    """A run folder, checkpoint or device cannot be used as asked."""


class DivergenceError(HetrlError, FloatingPointError):
    """A loss, a gradient, a weight, an action, or what the environment gave became NaN or infinite."""


def nearest(word: str, words: Iterable[str]) -> str:
    """Return ``" Nearest: 'x'."`` for the closest of ``words``, or a list of them where none is close."""
    known = sorted(set(words))
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f" Nearest: '{close[0]}'."
    return f" There are: {', '.join(known)}." if known else ""
