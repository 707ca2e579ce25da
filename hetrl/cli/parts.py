"""Files of the user's that commands run before they do anything else, ``--parts FILE``."""

import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hetrl.cli.console import err
from hetrl.errors import HetrlError, HetrlWarning, RunError


def run(files: Sequence[Path] | None) -> None:
    """Run the files that a command was given; what goes wrong in one is shown as the file's own.

    Raises:
        RunError: one cannot be run.
    """
    if not files:
        return
    from hetrl.runs import parts

    for file in files:
        try:
            parts.run(file)
        except RunError as error:
            _show(error.__cause__, file)
            raise


def _show(error: BaseException | None, file: Path) -> None:
    """Print where an error came from, from the file's first line on."""
    if error is None or isinstance(error, HetrlError):
        return
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != str(file.resolve()):
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    err.print(text, end="", soft_wrap=True, highlight=False)


def say_warnings() -> None:
    """Print warnings of hetrl's own as a line each; all others as Python does."""
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, HetrlWarning):
            err.print(f"warning: {message}", style="yellow", soft_wrap=True, highlight=False)
        else:
            others(message, category, *place, **more)

    warnings.showwarning = show
