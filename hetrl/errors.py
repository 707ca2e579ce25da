"""Every error hetrl raises on purpose, and the nearest name that goes into its message."""

import difflib
from collections.abc import Iterable

_MOST_LETTERS = 1000
"""Of an error's line; of a longer one, the middle is left out."""


class HetrlError(Exception):
    r"""Base of all errors raised on purpose. Its text is one line: where, what, and what to do.

    What it repeats of a recipe may be anything: what would break the line, or move a terminal's cursor, is shown as in
    Python's own texts (``\n``, ``\x1b``), and of a line that is too long the beginning and the end are kept.
    """

    def __init__(self, *parts: object) -> None:
        super().__init__(*(one_line(part) if isinstance(part, str) else part for part in parts))


def one_line(text: str) -> str:
    r"""Return a text as one line of printable letters, its middle left out where it is too long.

    >>> one_line("a\nb")
    'a\\nb'
    """
    if len(text) > _MOST_LETTERS:
        text = f"{text[: _MOST_LETTERS // 2]} ... {text[-_MOST_LETTERS // 3 :]}"
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class RecipeError(HetrlError, ValueError):
    """A recipe, or an argument in it, cannot be used as written."""


class ComponentError(HetrlError, TypeError):
    """A component or network class breaks the contract of its key table."""


class DependencyError(HetrlError, ImportError):
    """An optional package is missing; the text names the extra that installs it."""


class RunError(HetrlError, RuntimeError):
    """A run folder, checkpoint or device cannot be used as asked."""


class UnknownNameError(HetrlError, KeyError):
    """Something was asked for by a name that it does not have: an agent, say, or a metric."""

    __str__ = Exception.__str__  # a KeyError shows its text in quotes


class DivergenceError(HetrlError, FloatingPointError):
    """A loss, a gradient, a weight, an action, or what the environment gave became NaN or infinite."""


class HetrlWarning(UserWarning):
    """Something that goes on, and that its user should know; one line."""


def nearest(word: str, words: Iterable[str]) -> str:
    """Return ``" Nearest: 'x'."`` for the closest of ``words``, or a list of them where none is close."""
    known = sorted(set(words))
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f" Nearest: '{close[0]}'."
    return f" There are: {', '.join(known)}." if known else ""
