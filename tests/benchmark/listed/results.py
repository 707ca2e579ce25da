"""What a run has measured: a small file for each, ``docs/data/TABLE/RUN.csv``, with all that says where it came from.

Above the table stand lines such as ``# command: hetrl train ...``; the table has a row for each evaluation and no more.
"""

import csv
import io
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hetrl.disk import replace_text
from hetrl.recipe.read import load
from hetrl.runs.csv_table import read
from hetrl.runs.folder import Folder

from .entries import Entry, RunList
from .version import Probe, apart, as_json, digest, fingerprint

DATA = Path(__file__).resolve().parents[3] / "docs" / "data"
COLUMNS = {"frames": "frames", "eval/return": "deterministic", "eval/drawn_return": "drawn"}
"""Of a run's own table -> of the file."""
ABOUT = ("command", "fingerprint", "probe", "versions", "machine", "speed")
PACKAGES = ("hetrl", "torch", "torchrl", "tensordict", "lightning", "vmas", "mujoco", "numpy")
Point = dict[str, float]


class RefusedError(Exception):
    """Results that do not belong to an entry, with the reason."""


@dataclass(frozen=True)
class Result:
    """What is kept of a run.

    Args:
        command: that trained it.
        fingerprint: of its resolved recipe.
        probe: of the code that trained it.
        versions: of packages.
        machine: that it was trained on.
        speed: frames a second, evaluations counted in.
        points: its evaluations.
    """

    command: str
    fingerprint: str
    probe: Probe
    versions: Mapping[str, str]
    machine: str
    speed: float
    points: list[Point] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """Where its last evaluation is."""
        return int(self.points[-1]["frames"]) if self.points else 0

    def text(self) -> str:
        """Return the file."""
        about = {
            "command": self.command, "fingerprint": self.fingerprint, "probe": as_json(dict(self.probe)),
            "versions": as_json(dict(self.versions)), "machine": self.machine, "speed": f"{self.speed:.0f}",
        }  # fmt: skip
        out = io.StringIO()
        for word in ABOUT:
            out.write(f"# {word}: {about[word]}\n")
        table = csv.writer(out, lineterminator="\n")
        table.writerow(COLUMNS.values())
        for point in self.points:
            table.writerow([f"{point[name]:.7g}" if name in point else "" for name in COLUMNS.values()])
        return out.getvalue()


def parse_result(text: str, name: str) -> Result:
    """Return what a file says.

    Raises:
        RefusedError: it is none of ours.
    """
    about: dict[str, str] = {}
    lines = text.splitlines()
    while lines and lines[0].startswith("# "):
        word, _, value = lines.pop(0)[2:].partition(": ")
        about[word] = value
    if missing := [word for word in ABOUT if word not in about]:
        raise RefusedError(f"{name} does not say its {', '.join(missing)}; only what tables.py wrote is taken.")
    rows = csv.DictReader(lines)
    if tuple(rows.fieldnames or ()) != tuple(COLUMNS.values()):
        raise RefusedError(f"{name} has the columns {rows.fieldnames}, not {list(COLUMNS.values())}.")
    points = [{word: float(value) for word, value in row.items() if value} for row in rows]
    return Result(
        about["command"], about["fingerprint"], json.loads(about["probe"]), json.loads(about["versions"]),
        about["machine"], float(about["speed"]), points,
    )  # fmt: skip


def file_of(entry: Entry, data: Path = DATA) -> Path:
    """Return where the results of an entry are kept."""
    return data / entry.table / f"{entry.name}.csv"


def kept(entry: Entry, data: Path = DATA) -> Result | None:
    """Return what is kept of an entry, as it stands; see :func:`refuse_other`."""
    path = file_of(entry, data)
    return parse_result(path.read_text(encoding="utf-8"), path.name) if path.exists() else None


def refuse_other(entry: Entry, result: Result) -> None:
    """Refuse results of another recipe.

    Raises:
        RefusedError: saying so.
    """
    if result.fingerprint != fingerprint(entry.loaded):
        raise RefusedError(
            f"{entry.name}: the results are of another recipe ({result.fingerprint}; the list's is "
            f"{fingerprint(entry.loaded)}): {result.command}. Run it again, or write the list's line as it was."
        )


def refuse_version(name: str, theirs: Probe, ours: Probe, accepted: Mapping[str, str], whose: str) -> None:
    """Refuse results of code that gives other numbers, unless the list accepts it.

    Args:
        name: whose results they are.
        theirs: the probe of the results.
        ours: what it is held against.
        accepted: the list's.
        whose: ``ours`` is, in words.

    Raises:
        RefusedError: saying where they are apart, and how to accept them.
    """
    difference = apart(ours, theirs)
    if difference is not None and digest(theirs) not in accepted:
        raise RefusedError(
            f"{name}: the results are of another version than {whose} ({difference}). Run it again, or, where the "
            f"change is known to be none of learning, say so in the list: accepted: {{{digest(theirs)}: why}}."
        )


def every_result(wanted: RunList, data: Path = DATA) -> tuple[dict[Entry, Result], list[str]]:
    """Return what counts of what is kept, and why the rest does not.

    Seeds of one arm on one task have to be of one version: the one that most of them are of.
    """
    found, problems = {}, []
    for entry in wanted.entries:
        try:
            result = kept(entry, data)
            if result is not None:
                refuse_other(entry, result)
                found[entry] = result
        except RefusedError as error:
            problems.append(str(error))
    for entries in _seeds(found).values():
        agree = {
            each: sum(apart(found[each].probe, found[other].probe) is None for other in entries) for each in entries
        }
        most = found[max(entries, key=lambda each: agree[each])].probe
        for each in entries:
            try:
                refuse_version(each.name, found[each].probe, most, wanted.accepted, "its other seeds")
            except RefusedError as error:
                problems.append(str(error))
                del found[each]
    return found, problems


def _seeds(found: Mapping[Entry, Result]) -> dict[tuple[str, str], list[Entry]]:
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in found:
        groups.setdefault((entry.arm, entry.where), []).append(entry)
    return groups


def measured(entry: Entry, run: Path, probe: Probe) -> Result:
    """Return the evaluations of a run folder, by the recipe that lies in it.

    Args:
        entry: what it should be.
        run: its folder.
        probe: of the code that began it.

    Raises:
        RefusedError: it is a run of another recipe.
    """
    folder = Folder(run)
    points = [
        {COLUMNS[name]: row[name] for name in COLUMNS if name in row}
        for row in read(folder.metrics)
        if "eval/return" in row
    ]
    timings = read(folder.timings) if folder.timings.exists() else []
    seconds = sum(row.get("wall", 0.0) for row in timings)
    speed = timings[-1]["frames"] / seconds if seconds else float(entry.speed)
    packages = {**folder.machine().get("packages", {}), **_more_packages()}
    versions = {name: packages[name] for name in PACKAGES if name in packages} | {"python": platform.python_version()}
    result = Result(entry.command, fingerprint(load(folder.recipe)), probe, versions, machine(), speed, points)
    refuse_other(entry, result)
    return result


def take(entry: Entry, run: Path, probe: Probe, data: Path = DATA) -> Path | None:
    """Keep what a run has measured so far; return the file, or nothing where as much is there.

    Raises:
        RefusedError: it is a run of another recipe.
    """
    if not (run / "metrics.csv").exists():
        return None
    new, path = measured(entry, run, probe), file_of(entry, data)
    before = kept(entry, data)
    longer = before is None or before.fingerprint != new.fingerprint or new.frames > before.frames
    if not new.points or not longer:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, new.text())
    return path


def machine() -> str:
    """Return what this machine is, in a line that names nobody's."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    return f"{platform.system()} {platform.machine()}, {cpu}, {os.cpu_count()} cores"


def _more_packages() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, Any] = {}
    for name in ("mujoco",):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
