"""Names and what they are about, a line each, as wide as the terminal."""

import re
from collections.abc import Iterable, Iterator

from hetrl.cli.console import out

_LEAST = 12
"""Of what a name is about, fewer letters are of no use."""
_SENTENCE = re.compile(r"[.!?](?= [A-Z])")


def width() -> int | None:
    """Return how wide a line may be: the terminal's width; what goes into a file or a pipe is not cut."""
    return out.width if out.is_terminal else None


def lines(rows: Iterable[tuple[str, str]], wide: int | None) -> Iterator[str]:
    """Yield a line for each name, with what fits of what it is about; a name is never cut."""
    rows = list(rows)
    names = max((len(name) for name, _ in rows), default=0)
    for name, about in rows:
        room = None if wide is None else wide - names - 4
        yield f"  {name:<{names}}  {fitted(about, room)}".rstrip()


def fitted(text: str, room: int | None) -> str:
    """Return as much of a text as fits: whole sentences if they fill half of the room, else whole words and dots.

    >>> fitted("One thing. And another one.", 20)
    'One thing.'
    >>> fitted("One thing and another one.", 20)
    'One thing and ...'
    """
    if room is None or len(text) <= room:
        return text
    if room < _LEAST:
        return ""
    ends = [found.end() for found in _SENTENCE.finditer(text) if room / 2 <= found.end() <= room]
    if ends:
        return text[: ends[-1]]
    return text[: room - 3].rsplit(" ", 1)[0].rstrip(" ,;:(") + " ..." if " " in text[: room - 3] else ""
