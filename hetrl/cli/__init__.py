"""The command line: a module for each command, and here what they have in common.

Nothing heavy is imported at the top of these modules, so that help, completion and lists answer at once; a command
imports what it needs when it is called.
"""

import sys
import traceback
from collections.abc import Callable

import typer
from rich.text import Text

from hetrl.cli import (
    check,
    compare,
    cp,
    diff,
    evaluate,
    export,
    groups,
    listing,
    new,
    plot,
    probe,
    report,
    search,
    show,
    train,
)
from hetrl.cli.console import err
from hetrl.cli.parts import say_warnings
from hetrl.errors import HetrlError

app = typer.Typer(
    help="Compose, check, train and understand heterogeneous-agent MARL.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: dict[str, Callable[..., None]] = {
    "train": train.train,
    "search": search.search,
    "check": check.check,
    "show": show.show,
    "diff": diff.diff,
    "list": listing.list_,
    "eval": evaluate.evaluate,
    "export": export.export,
    "groups": groups.groups,
    "probe": probe.probe,
    "plot": plot.plot,
    "compare": compare.compare,
    "report": report.report,
    "cp": cp.cp,
    "new": new.new,
}
"""What a user types -> what is called, in the order of the help."""
for name, command in COMMANDS.items():
    app.command(name=name)(command)

_BUG = "this is a bug of hetrl, or of a package that the recipe names; please report it, with the lines above."
_THEIRS = "this came from the task's environment; the lines above say from where, and what was going on."


def main() -> None:
    """Run the command line; an error raised on purpose is one line and exit code 2, Ctrl-C one line and 130."""
    say_warnings()
    try:
        app()
    except HetrlError as error:
        err.print(Text.assemble(("error", "bold red"), f" {error}"), soft_wrap=True)
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as end:
        if not _interrupted(end):
            raise
        err.print("Interrupted. A run goes on from its last checkpoint: hetrl train --resume RUN.", soft_wrap=True)
        sys.exit(130)
    except Exception as error:
        err.print(traceback.format_exc(), end="", soft_wrap=True, highlight=False)
        # Notes are what hetrl adds to an error that an environment raised.
        words = _THEIRS if getattr(error, "__notes__", ()) else _BUG
        err.print(Text.assemble(("error", "bold red"), f" {words}"), soft_wrap=True)
        sys.exit(1)


def _interrupted(end: BaseException | None) -> bool:
    """Whether an end comes from Ctrl-C: typer and Lightning make exits of their own of it."""
    while end is not None and not isinstance(end, KeyboardInterrupt):
        end = end.__cause__ or end.__context__
    return end is not None
