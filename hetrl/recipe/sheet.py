"""Tables for a terminal in which no name is ever broken: where the columns do not fit, a row becomes a few lines."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

_WORDS = re.compile(r"(?:\([^)a-z]*\)|\[[^\]]*\]|\S)+")
"""Words; what stands in brackets, such as a shape or several, is one."""
_BORDER = 3
"""Letters that a column takes besides what stands in it."""

Cell = str | Sequence[str]
"""A text, or the items of a list: under each other in a table, one after the other in a line."""


@dataclass
class Sheet:
    """A table, or the same as lines.

    Args:
        columns: what stands above the columns.
        title: what stands above all.
        heads: how many of the columns say what a row is about; the others have their title before them in a line.
        styles: of the columns, in rich's words.
        numbers: whether all columns but the heads are numbers, which stand at the right.
    """

    columns: Sequence[str]
    title: str = ""
    heads: int = 1
    styles: Sequence[str] = ()
    numbers: bool = False
    rows: list[tuple[Cell, ...]] = field(default_factory=list)
    ends: set[int] = field(default_factory=set)
    """Numbers of rows below which a section ends."""

    def add(self, *cells: Cell) -> None:
        """Add a row."""
        self.rows.append(cells)

    def end_section(self) -> None:
        """Put a line below the last row."""
        self.ends.add(len(self.rows) - 1)

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """The rows, what is a list with its items under each other."""
        return [tuple(cell if isinstance(cell, str) else "\n".join(cell) for cell in row) for row in self.rows]

    def fits(self, width: int) -> bool:
        """Whether all names fit side by side."""
        return sum(self._least()) + _BORDER * len(self.columns) + 1 <= width

    def table(self, width: int) -> Table:
        """Return the table, its columns as wide as they may be."""
        widths = [max(map(len, lines)) for lines in self._lines()]
        least, room = self._least(), width - _BORDER * len(self.columns) - 1
        while sum(widths) > room:
            widest = max((i for i in range(len(widths)) if widths[i] > least[i]), key=lambda i: widths[i], default=None)
            if widest is None:
                break
            widths[widest] -= 1
        styles = [*self.styles, *[""] * len(widths)]
        table = Table(title=self.title or None, title_justify="left", title_style="bold")
        for place, (head, wide, style) in enumerate(zip(self.columns, widths, styles, strict=False)):
            side: Literal["left", "right"] = "right" if self.numbers and place >= self.heads else "left"
            table.add_column(Text(head), width=wide, style=style, justify=side)
        for number, row in enumerate(self.texts):
            cells = [Text(_filled(cell, wide)) for cell, wide in zip(row, widths, strict=True)]
            table.add_row(*cells, end_section=number in self.ends)
        return table

    def lines(self, width: int) -> Iterator[Text]:
        """Yield the rows as lines: what a row is about, and below it, indented, what there is to it."""
        if self.title:
            yield Text()
            yield from (text_line(line, "bold") for line in wrapped(self.title.split(), width))
        if self.numbers:
            yield from self._numbers()
            return
        first = max((len(row[0]) for row in self.texts), default=0) if self.heads > 1 else 0
        labels = self.columns[self.heads :]
        label = max(map(len, labels)) if max(map(len, labels)) < width // 3 else 0
        for row in self.rows:
            about = [part for cell in row[1 : self.heads] for part in str(cell).split("\n")]
            indent = first + 4 if self.heads > 1 else 4
            start = f"  {row[0]:<{first}}"
            if about and indent + len(about[0]) <= width:
                start += f"  {about.pop(0)}"
            yield text_line(start.rstrip())
            for part in about:
                yield from map(text_line, wrapped(_WORDS.findall(part), width, indent) if part else [])
            for word, cell in zip(labels, row[self.heads :], strict=True):
                if cell:
                    yield from self._labelled(word, cell, width, indent + 2, label)

    def _numbers(self) -> Iterator[Text]:
        """Yield what each row is about, and its numbers below that, in columns."""
        widths = [max(map(len, lines)) for lines in self._lines()][self.heads :]
        for row in [tuple(self.columns), *self.texts]:
            yield text_line(f"  {'  '.join(row[: self.heads])}")
            numbers = zip(row[self.heads :], widths, strict=True)
            yield text_line("    " + "  ".join(f"{number:>{wide}}" for number, wide in numbers))

    def _labelled(self, word: str, cell: Cell, width: int, indent: int, label: int) -> Iterator[Text]:
        """Yield what a column says in a row, behind the column's title, or below it where that is long."""
        if word and not label:
            yield text_line(" " * indent + word)
        before = f"{word:<{label}}  " if label else "  "
        if isinstance(cell, str):
            parts = [_WORDS.findall(line) for line in cell.split("\n")]
        else:
            parts = [[*(f"{item}," for item in cell[:-1]), *cell[-1:]]]
        indented = " " * indent + before
        lines = [line for part in parts for line in wrapped(part, width, len(indented))]
        if lines[0].startswith(" " * len(indented)):
            lines[0] = indented + lines[0].lstrip()
        else:
            yield text_line(indented.rstrip())
        yield from map(text_line, lines)

    def _lines(self) -> Iterator[list[str]]:
        """Yield the lines of each column, its title first."""
        for place, head in enumerate(self.columns):
            yield [head, *(line for row in self.texts for line in row[place].split("\n"))]

    def _least(self) -> list[int]:
        """Return the longest word of each column, a title's too."""
        return [
            max((_indent(line) + len(word) for line in lines for word in _WORDS.findall(line)), default=0)
            for lines in self._lines()
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from shown([self], options.max_width)


@dataclass(frozen=True)
class Page:
    """Texts and tables below each other; those of the same columns are tables where all of them fit."""

    blocks: Sequence[str | Sheet]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from shown(self.blocks, options.max_width)


def shown(blocks: Sequence[str | Sheet], width: int) -> Iterator[RenderableType]:
    """Yield what a terminal of a width shows of texts and tables."""
    narrow = {tuple(block.columns) for block in blocks if isinstance(block, Sheet) and not block.fits(width)}
    for block in blocks:
        if isinstance(block, str):
            yield from (text_line(line, "bold") for line in wrapped(block.split(), width))
        elif tuple(block.columns) not in narrow:
            yield block.table(width)
        else:
            yield from block.lines(width)


def wrapped(words: Iterable[str], width: int, indent: int = 0) -> list[str]:
    """Return words as lines of at most a width; a word too wide for its indent stands further left, whole.

    >>> wrapped(["agent.log_prob [B],", "factor [B]"], 22, 2)
    ['  agent.log_prob [B],', '  factor [B]']
    """
    lines = [" " * indent]
    for word in words:
        for part in [word] if indent + len(word) <= width else _WORDS.findall(word):
            if lines[-1].strip() and len(lines[-1]) + 1 + len(part) <= width:
                lines[-1] += f" {part}"
                continue
            start = " " * max(min(indent, width - len(part)), 0)
            lines[len(lines) if lines[-1].strip() else -1 :] = [start + part]
    return lines


def _filled(cell: str, width: int) -> str:
    """Return the lines of a cell, broken between words where they are wider."""
    lines = cell.split("\n")
    return "\n".join(part for line in lines for part in wrapped(_WORDS.findall(line), width, _indent(line)))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def text_line(line: str, style: str = "") -> Text:
    """Return a line that is printed as it is, however wide."""
    return Text(line, style=style, no_wrap=True, overflow="ignore")
