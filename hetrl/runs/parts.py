"""Files of the user's that register parts: run because somebody named them, and kept with a run as text.

A recipe names parts and never a file, and what a run keeps of a file is never run.
"""

import hashlib
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from hetrl import catalog
from hetrl.disk import replaced, writes
from hetrl.errors import HetrlError, HetrlWarning, RunError
from hetrl.signature import said

FOLDER = "parts"
"""Of a run: the files that registered what it uses."""
_RUN: dict[Path, ModuleType] = {}
"""File -> the module that it was run as."""


# --------------------------------------------------------------------------- run


def run(file: Path) -> None:
    """Run a file that calls :func:`hetrl.register`, once in a process.

    What lies beside it can be imported from it, after all that is installed.

    Raises:
        RunError: there is no such file, or it fails, or registers nothing.
    """
    path = file.resolve()
    if path in _RUN:
        return
    try:
        source = path.read_bytes()
    except OSError as error:
        raise RunError(f"--parts {file} cannot be read: {error.strerror or error}.") from None
    digest = _digest(source)
    module = ModuleType(f"hetrl_parts_{''.join(each if each.isalnum() else '_' for each in path.stem)}_{digest[:8]}")
    module.__file__ = str(path)
    before = dict(catalog.REGISTRATIONS)
    sys.modules[module.__name__] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException as error:
        sys.modules.pop(module.__name__, None)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise RunError(_failed(file, error)) from error
    if before == catalog.REGISTRATIONS:
        raise RunError(
            f"--parts {file} registers nothing; call hetrl.register('env/my.world', World) in it, or whatever it has: "
            "'loss/my.loss', 'net/my.net', ..."
        )
    _RUN[path] = module


def _failed(file: Path, error: BaseException) -> str:
    """Return in a line how a file failed, and where in it."""
    lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == str(file.resolve())]
    if isinstance(error, SyntaxError):
        text = f"{type(error).__name__}: {error.msg} ({Path(error.filename or file).name}, line {error.lineno})"
    elif isinstance(error, HetrlError) and lines:
        text = f"{str(error).rstrip('.')} (line {lines[-1]})"
    else:
        text = said(error)
    return f"--parts {file} failed: {text}. Correct the file."


# --------------------------------------------------------------------------- what a recipe uses


def used(tree: Any) -> Iterator[str]:
    """Yield the names of parts in a resolved recipe, scenarios as ``scenario/...``."""
    if isinstance(tree, Mapping):
        if isinstance(tree.get("use"), str):
            yield tree["use"]
            if tree["use"] == "env/vmas":
                yield f"scenario/{tree.get('scenario')}"
        tree = tree.values()
    elif not isinstance(tree, list):
        return
    for each in tree:
        yield from used(each)


def _registrations(tree: Any) -> dict[str, catalog.Registration]:
    """Return the names in a recipe that this process has registered."""
    return {name: catalog.REGISTRATIONS[name] for name in used(tree) if name in catalog.REGISTRATIONS}


def files(tree: Any) -> list[Path]:
    """Return the files that have registered what a recipe uses, each once."""
    return list(
        dict.fromkeys(
            registration.file for registration in _registrations(tree).values() if registration.file is not None
        )
    )


def options(tree: Any) -> list[str]:
    """Return the words of the command line with which another process knows a recipe's parts.

    Raises:
        RunError: one is registered by what no other process can run.
    """
    for name, registration in _registrations(tree).items():
        if registration.file is None or registration.script:
            where = "this program itself" if registration.script else "a notebook or a console"
            raise RunError(
                f"'{name}' is registered in {where}, and every seed is a process of its own; put "
                f"hetrl.register('{name}', ...) into a file that is imported here, or train the seeds one by one."
            )
    return [word for file in files(tree) for word in ("--parts", str(file))]


def again(tree: Any) -> str:
    """Return what a command has to be given to know a recipe's parts, as it ends: ``" --parts forage.py"``."""
    here = Path.cwd()
    shown = (file.relative_to(here) if file.is_relative_to(here) else file for file in files(tree))
    return "".join(f" --parts {file}" for file in shown)


# --------------------------------------------------------------------------- kept with a run


def keep(folder: Path, tree: Any, kept: Mapping[str, str]) -> dict[str, str]:
    """Write the files that registered what a recipe uses into a run's folder, those that it has not.

    Args:
        folder: the run's.
        tree: the resolved recipe.
        kept: name below ``parts/`` -> SHA-256 of those that are there.

    Returns:
        The same of all that are there now.

    Raises:
        RunError: one cannot be written.
    """
    found = dict(kept)
    for registration in _registrations(tree).values():
        if registration.file is None or _digest(registration.source) in found.values():
            continue
        name, number = registration.file.name, 2
        while name in found:
            name, number = f"{registration.file.stem}_{number}{registration.file.suffix}", number + 1
        copy = folder / FOLDER / name
        with writes(copy), replaced(copy) as half:
            half.write_bytes(registration.source)
        found[name] = _digest(registration.source)
    return found


def compare(folder: Path, tree: Any, kept: Mapping[str, str]) -> None:
    """Ask for the files that a run used where a name in its recipe is missing, and warn where one is another now.

    Args:
        folder: the run's.
        tree: its recipe.
        kept: see :func:`keep`.

    Raises:
        RunError: with the files to give.
    """
    for name in used(tree):
        if not catalog.knows(name):
            listed = " and ".join(f"{FOLDER}/{file} (sha256 {digest[:12]})" for file, digest in kept.items())
            given = " ".join(f"--parts {file}" for file in kept)
            raise RunError(
                f"{folder} uses '{name}', and nothing has registered it here; this run used {listed}: give {given}, or "
                "import it first in Python."
            )
    for name, registration in _registrations(tree).items():
        if registration.file is not None and _digest(registration.source) not in kept.values():
            warnings.warn(
                f"'{name}' comes from {registration.file.name}, which is not what {folder} was trained with "
                f"({', '.join(f'{FOLDER}/{file}' for file in kept)}): what follows may differ.",
                HetrlWarning,
                stacklevel=3,
            )


def _digest(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()
