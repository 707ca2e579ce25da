"""A run as one page of HTML that needs nothing else: no network, no scripts, no files beside it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from hetrl.engine.show import show
from hetrl.engine.task import team_of
from hetrl.errors import HetrlError, RunError
from hetrl.recipe.read import load
from hetrl.recipe.schema import Recipe
from hetrl.recipe.sheet import Page, Sheet
from hetrl.report.chart import N_COLORS, Polyline, chart
from hetrl.report.writable import PAGES, check_writable, written
from hetrl.runs.combined_folder import CombinedFolder
from hetrl.runs.csv_table import FRAMES, TableRow, read
from hetrl.runs.folder import Folder, task_name
from hetrl.runs.seeds_folder import SeedsFolder
from hetrl.train.timings import WALL


@dataclass(frozen=True)
class LegendEntry:
    """Whom a line of a phase's charts is about: an agent, a sharing group or the team."""

    name: str
    color: int

    @property
    def style(self) -> str:
        """Class names of its mark in the legend."""
        return f"c{self.color % N_COLORS}" + (" dashed" if self.color >= N_COLORS else "")


@dataclass(frozen=True)
class TimeSpent:
    """Seconds that one part of a run took."""

    name: str
    seconds: float
    fraction: float
    """Of the whole, 0 to 1."""


def write(run: Path, path: Path) -> Path:
    """Write a run's page and return its path.

    Args:
        run: the folder of a run, finished or not.
        path: the page.

    Raises:
        RunError: the folder holds no run, or no metrics yet, or the page cannot be written.
        RecipeError: its recipe cannot be read.
    """
    for seeds in CombinedFolder(run).combinations.values():
        raise RunError(f"{run} holds combinations; name a run in it, as in {seeds.path}, or see hetrl compare.")
    if SeedsFolder(run).recipe.exists():
        first = next(iter(SeedsFolder(run).runs.values()), run)
        raise RunError(f"{run} is a folder of seeds; name one of its runs, {first}, or see hetrl compare.")
    Folder(run).refuse_if_empty()
    check_writable(path, PAGES)
    text = page(run)
    with written(path) as half:
        half.write_text(text, encoding="utf-8")
    return path


def page(run: Path) -> str:
    """Return a run's page."""
    folder = Folder(run)
    folder.need_parts()
    recipe, rows = load(folder.recipe), read(folder.metrics)
    if not rows:
        raise RunError(f"{run} has no metrics yet.")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("hetrl.report").joinpath("page.html.jinja").read_text(encoding="utf-8"))
    tables, left_out = _linked_tables(recipe)
    return template.render(
        name=run.resolve().name,
        about=recipe.about or recipe.name,
        task=task_name(folder.tree()["task"]),
        seed=recipe.run.seed,
        frames=folder.frames_logged(),
        wanted=recipe.run.frames,
        figures=_figures(rows, folder),
        returns=_returns(rows),
        lengths=_lengths(rows),
        phases=[_phase(name, rows) for name in _families(recipe, rows)],
        timings=_timings(folder),
        tables=tables,
        left_out=left_out,
        recipe=_highlighted(folder.recipe.read_text(encoding="utf-8")),
        versions=_versions(folder),
    )


# What it came to


def _figures(rows: Sequence[TableRow], folder: Folder) -> list[tuple[str, str, str]]:
    """Return (what, figure, remark) of the headline."""
    found = []
    for name, what in (("eval/return", "Return, evaluated"), ("return", "Return, exploring")):
        values = [row[name] for row in rows if name in row]
        if values:
            found.append((what, f"{values[-1]:.4g}", f"from {values[0]:.4g}, best {max(values):.4g}"))
    found.append(("Frames", f"{rows[-1][FRAMES]:,.0f}", f"{sum('episodes' in row for row in rows):,} batches"))
    if folder.timings.exists():
        seconds = sum(row.get(WALL, 0.0) for row in read(folder.timings))
        found.append(("Time", _duration(seconds), f"{rows[-1][FRAMES] / max(seconds, 1e-9):,.0f} frames/s, all in all"))
    return found


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {left:02} s" if minutes else f"{seconds:.1f} s"


def _column(rows: Sequence[TableRow], name: str) -> tuple[np.ndarray, np.ndarray]:
    points = [(row[FRAMES], row[name]) for row in rows if name in row]
    frames, values = np.array(points).reshape(-1, 2).T
    return frames, values


def _returns(rows: Sequence[TableRow]) -> Markup | None:
    lines = []
    frames, values = _column(rows, "return")
    if len(values):
        lines.append(Polyline("exploring", 1, frames, values, faint=True))
    frames, values = _column(rows, "eval/return")
    if len(values):
        spread = _column(rows, "eval/return_std")[1]
        lines.append(Polyline("evaluated", 0, frames, values, spread if len(spread) == len(values) else None))
    return chart(lines, "Return over environment frames", 920, 300) if lines else None


def _lengths(rows: Sequence[TableRow]) -> Markup | None:
    named = (("episode_length", "exploring", 1), ("eval/episode_length", "evaluated", 0))
    columns = [(name, color, *_column(rows, key)) for key, name, color in named]
    lines = [Polyline(name, color, frames, values, faint=color == 1)
             for name, color, frames, values in columns if len(values)]  # fmt: skip
    flat = len({value for line in lines for value in line.values.tolist()}) < 2
    return None if flat else chart(lines, "Episode length over environment frames", 920, 160)


def _families(recipe: Recipe, rows: Sequence[TableRow]) -> list[str]:
    """Return who logged anything: the phases in their order, and then whatever else did."""
    found = {name.split("/")[0] for row in rows for name in row if "/" in name} - {"eval"}
    phases = [phase.name for phase in recipe.update]
    return sorted(found, key=lambda name: (phases.index(name) if name in phases else len(phases), name))


def _phase(phase: str, rows: Sequence[TableRow]) -> dict[str, Any]:
    """Return the charts of what a phase logged: one for each name, with a line for everybody who has it."""
    columns = dict.fromkeys(name for row in rows for name in row if name.startswith(f"{phase}/"))
    split = {name: name.removeprefix(f"{phase}/").rpartition("/") for name in columns}
    owners = sorted({owner for owner, _, _ in split.values()}, key=_natural)
    legend = {owner: LegendEntry(owner or "team", color) for color, owner in enumerate(owners)}
    charts: dict[str, list[Polyline]] = {}
    for column, (owner, _, word) in split.items():
        entry = legend[owner]
        charts.setdefault(word, []).append(Polyline(entry.name, entry.color, *_column(rows, column)))
    drawn = [
        (word, chart(sorted(lines, key=lambda line: line.color), f"{phase}: {word}")) for word, lines in charts.items()
    ]
    drawn = [(word, svg) for word, svg in drawn if svg]
    return {"name": phase, "legend": list(legend.values()) if owners != [""] else [], "charts": drawn}


def _natural(text: str) -> list[tuple[int, str]]:
    """Sort agent_10 after agent_2."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


# Where the time went


def _timings(folder: Folder) -> dict[str, Any] | None:
    if not folder.timings.exists():
        return None
    seconds: dict[str, float] = {}
    for row in read(folder.timings):
        for name, value in row.items():
            if name != FRAMES:
                seconds[name] = seconds.get(name, 0.0) + value
    total = seconds.pop(WALL, 0.0)
    if not total:
        return None
    seconds["the rest"] = max(total - sum(seconds.values()), 0.0)
    parts = [TimeSpent(name, value, value / total) for name, value in seconds.items()]
    colors = {part.name: index % N_COLORS for index, part in enumerate(parts)}
    return {"parts": sorted(parts, key=lambda part: -part.seconds), "colors": colors, "total": _duration(total)}


# What ran


def _linked_tables(recipe: Recipe) -> tuple[list[dict[str, Any]], str]:
    """Return the tables of the linked program, and what had to be left out of them."""
    try:
        return _tables(show(recipe, team_of(recipe))), ""
    except HetrlError as error:  # the page may be made elsewhere, without the simulator
        left_out = str(error)
    try:
        return _tables(show(recipe)), f"Shapes and the team are left out: {left_out}"
    except HetrlError as error:
        return [], f"The program is left out: {error}"


def _tables(shown: Page) -> list[dict[str, Any]]:
    """Return what ``hetrl show`` prints as tables of texts."""
    return [
        {"title": sheet.title, "headers": sheet.columns, "rows": sheet.texts}
        for sheet in shown.blocks
        if isinstance(sheet, Sheet)
    ]


def _highlighted(text: str) -> Markup:
    """Return YAML with its words marked."""
    marked = (
        re.sub(r"^(\s*(?:- )*)([\w.]+):", r"\1<b>\2</b>:", str(escape(line))) for line in text.rstrip().splitlines()
    )
    return Markup("\n".join(marked))


def _versions(folder: Folder) -> list[tuple[str, str]]:
    saved = dict(folder.machine())
    packages, parts = saved.pop("packages", {}), {f"parts/{name}": f"sha256 {digest[:12]}..."
                                                  for name, digest in folder.parts().items()}  # fmt: skip
    saved.pop("parts", None)
    return [(str(name), str(value)) for name, value in [*packages.items(), *parts.items(), *saved.items()]]
