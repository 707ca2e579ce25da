"""Tables of the documentation that take days: a written list of runs, trained bit by bit, wherever there is time.

    python tests/benchmark/tables.py                              the table and the picture, from what is kept
    python tests/benchmark/tables.py --missing                    what is still to run, and what it costs
    python tests/benchmark/tables.py --run RUNS [--hours 2] [--at-once 2] [--only 'happo_hopper*' ...]
    python tests/benchmark/tables.py --check                      whether the kept results are this code's

The list is ``tests/benchmark/lists/NAME.yaml``. ``--run`` takes what is free in it, in its order, and trains it in
``RUNS``; Ctrl-C, a signal or ``--hours`` make the runs save and end, and the next call goes on with them. Several may
share a folder. What a run has measured goes to ``docs/data/NAME/RUN.csv``: commit these files as they come. Machines
without a common disk take different parts of the list, ``--only``. Tables and pictures are drawn from these files
alone, and results of another recipe or of code that gives other numbers are refused, see ``listed/version.py``.
"""

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from listed.drawn import draw, table
from listed.entries import Entry, RunList, read_list
from listed.missing import missing_in_words
from listed.results import DATA, RefusedError, every_result, refuse_version
from listed.version import probe
from listed.work import Worker

LISTS = Path(__file__).parent / "lists"


def chosen(wanted: RunList, patterns: Sequence[str]) -> list[Entry]:
    """Return the entries whose names one of the patterns fits; all where there is none.

    Raises:
        SystemExit: a pattern fits none.
    """
    for pattern in patterns:
        if not any(fnmatch(each.name, pattern) for each in wanted.entries):
            sys.exit(f"--only {pattern}: no run is called so; --missing names them, such as {wanted.entries[0].name}.")
    return [each for each in wanted.entries if not patterns or any(fnmatch(each.name, word) for word in patterns)]


def check(wanted: RunList, entries: Sequence[Entry], data: Path) -> list[str]:
    """Return why kept results do not count, held against this code; each recipe is trained for a moment."""
    results, problems = every_result(wanted, data)
    for entry in entries:
        if entry in results:
            try:
                ours = probe(entry.loaded)
                refuse_version(entry.name, results[entry].probe, ours, wanted.accepted, "this code")
            except RefusedError as error:
                problems.append(str(error))
    return problems


def main(words: Sequence[str] | None = None) -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", default="mujoco", help="a file of lists/, without .yaml, or a path")
    parser.add_argument("--missing", action="store_true")
    parser.add_argument("--run", type=Path, metavar="RUNS")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--hours", type=float, help="after which runs are asked to save and end")
    parser.add_argument("--at-once", type=int, default=1, help="runs side by side, a core each")
    parser.add_argument("--only", nargs="+", default=[], metavar="PATTERN", help="of the runs' names")
    parser.add_argument("--data", type=Path, default=DATA, help="where results are kept")
    options = parser.parse_args(words)
    path = Path(options.list) if options.list.endswith(".yaml") else LISTS / f"{options.list}.yaml"
    wanted = read_list(path)
    entries = chosen(wanted, options.only)
    if options.run is not None:
        seconds = None if options.hours is None else options.hours * 3600
        Worker(wanted, options.run, options.data, options.at_once, seconds).work(entries)
    results, problems = every_result(wanted, options.data)
    if options.missing:
        print("\n".join(missing_in_words(wanted, results)))
    if options.check:
        problems = check(wanted, entries, options.data)
    if not options.missing and not options.check:
        print(table(wanted, results))
        for file in draw(wanted, results, options.data.parent):
            print(file)
    for problem in problems:
        print(f"refused: {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
