"""Text of a table in a narrow terminal: a line breaks between words or, where it must, after a / . or _ of a name."""

import re
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

_WORDS = re.compile(r"(?:\[[^\]]*\]|\S)+\s*")
"""Words with the space behind them; what stands in brackets, such as a shape, is one."""
_PIECES = re.compile(r"(?<=[/_])(?=\w)|(?<=[a-z]\.)(?=[a-z_])")


class Cell:
    """What a cell of a table says.

    Args:
        text: its lines.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")

    def __str__(self) -> str:
        return "\n".join(self._lines)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        pieces = [piece for line in self._lines for word in _WORDS.findall(line) for piece in _PIECES.split(word)]
        least = max((len(piece.rstrip()) for piece in pieces), default=0)
        return Measurement(least, max(map(len, self._lines))).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._lines:
            for part in broken(line, options.max_width):
                yield Text(part, overflow="fold")


def broken(line: str, width: int) -> Iterator[str]:
    """Return a line in parts of a width; a piece that is wider stays whole."""
    part = ""
    for word in _WORDS.findall(line):
        whole = len(word.rstrip()) <= width
        for piece in [word] if whole else _PIECES.split(word):
            if part and len(part + piece.rstrip()) > width:
                yield part.rstrip()
                part = ""
            part += piece
    yield part.rstrip()
