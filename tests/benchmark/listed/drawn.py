"""The table and the picture of a list, made from the kept results alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hetrl.report.curve import Curve, draw_panels, frames_as_text

from .entries import Entry, RunList
from .results import Result

LAST = 5
"""Evaluations at the end of a run over which a figure is averaged."""
ABSENT = "not run"
Results = Mapping[Entry, Result]


def figure(result: Result, column: str) -> float | None:
    """Return the mean of the last evaluations; nothing where the column is empty."""
    values = [point[column] for point in result.points if column in point][-LAST:]
    return float(np.mean(values)) if values else None


def cell(entries: Sequence[Entry], results: Results) -> str:
    """Return what an arm has on a task: the mean over seeds, each seed, the drawn return, and how far they are."""
    there = [entry for entry in entries if entry in results and results[entry].points]
    if not there:
        return ABSENT
    each = [figure(results[entry], "deterministic") or 0.0 for entry in there]
    drawn = [value for entry in there if (value := figure(results[entry], "drawn")) is not None]
    text = f"{np.mean(each):,.0f}"
    if len(each) > 1:
        text += f" ({', '.join(f'{value:,.0f}' for value in each)})"
    if drawn:
        text += f"; drawn {np.mean(drawn):,.0f}"
    short = min(results[entry].frames for entry in there)
    if short < max(entry.frames for entry in there):
        text += f"; at {frames_as_text(short)}"
    return text


def table(wanted: RunList, results: Results) -> str:
    """Return the table as Markdown: a row for each arm, a column for each task."""
    places = wanted.places
    heads = [wanted.columns.get(place, place) for place in places]
    lines = [f"| | frames | {' | '.join(heads)} |", f"|---|---|{'---|' * len(places)}"]
    for arm in wanted.arms:
        own = [entry for entry in wanted.entries if entry.arm == arm]
        cells = [cell([each for each in own if each.where == place], results) for place in places]
        cells = [
            text if any(each.where == place for each in own) else "" for place, text in zip(places, cells, strict=True)
        ]
        frames = "; ".join(dict.fromkeys(frames_as_text(each.frames) for each in own))
        lines.append(f"| {wanted.labels.get(arm, arm)} | {frames} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def panels(wanted: RunList, results: Results) -> dict[str, list[Curve]]:
    """Return the curves of every task that has some: deterministic returns, of seeds together.

    Runs of other lengths have a panel of their own: beside ten million frames one million is a line at the edge.
    """
    found: dict[str, list[Curve]] = {}
    for place in wanted.places:
        title = wanted.columns.get(place, place)
        here = [each for each in wanted.entries if each.where == place]
        lengths = sorted({each.frames for each in here}, reverse=True)
        for frames in lengths:
            curves = []
            for arm in wanted.arms:
                own = [each for each in here if (each.arm, each.frames) == (arm, frames) and each in results]
                series = [series_of(results[each]) for each in own if results[each].points]
                if series:
                    curves.append(Curve(wanted.labels.get(arm, arm), series, recipe=own[0].recipe))
            if curves:
                found[title if len(lengths) == 1 else f"{title}, {frames_as_text(frames)}"] = curves
    return found


def series_of(result: Result) -> tuple[np.ndarray, np.ndarray]:
    """Return frames and deterministic returns."""
    points = [(point["frames"], point["deterministic"]) for point in result.points]
    frames, values = np.array(points, dtype=float).T
    return frames, values


def marks(name: str) -> tuple[str, str]:
    """Return the lines of a page between which a list's table stands."""
    return f"<!-- {name}: written by tests/benchmark/tables.py -->", f"<!-- end of {name} -->"


def into_page(page: str, name: str, text: str) -> str:
    """Return a page with its table replaced.

    Raises:
        ValueError: the page has no place for it.
    """
    begin, end = marks(name)
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"the page needs the lines '{begin}' and '{end}' once, in this order.")
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{text}\n{end}{rest.split(end)[1]}"


def block(wanted: RunList, results: Results) -> str:
    """Return what a page has of a list: the table, and the picture where there are curves."""
    seen = f"\n![{wanted.title}: evaluation return](img/{wanted.table}.png)\n" if panels(wanted, results) else ""
    return table(wanted, results) + seen


def draw(wanted: RunList, results: Results, docs: Path) -> list[Path]:
    """Write the table into its page and draw the picture; return the files that were written."""
    written = []
    for page in sorted(docs.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if marks(wanted.table)[0] in text:
            page.write_text(into_page(text, wanted.table, block(wanted, results)), encoding="utf-8")
            written.append(page)
    curves = panels(wanted, results)
    if curves:
        picture = docs / "img" / f"{wanted.table}.png"
        written.append(draw_panels(curves, picture, ylabel="evaluation return, deterministic"))
    return written
