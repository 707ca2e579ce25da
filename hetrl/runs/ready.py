"""What is done about one of several runs before it starts, and once it has failed."""

from rich.console import Console

from hetrl.disk import writes
from hetrl.runs import lock
from hetrl.runs.folder import is_free
from hetrl.runs.launch import Executor, SeedProcess

_LAST_LINES = 8
"""That are shown of a run that failed."""


def make_ready(each: SeedProcess, executor: Executor, saved: bool) -> None:
    """Give a run the process that it has from an earlier call, or make room for a new one.

    Args:
        each: the run.
        executor: what will start it.
        saved: whether it has a checkpoint to go on from.

    Raises:
        RunError: somebody else writes into its folder.
    """
    if executor.adopt(each):
        return
    with lock.sole_writer(each.run):  # it may be trained yet, by a process whose parent was killed
        if not saved and not is_free(each.run):
            _start_again(each, Console(markup=False, emoji=False))


def _start_again(each: SeedProcess, console: Console) -> None:
    """Move what a run without a checkpoint has to the next free name, and say so."""
    run = each.run
    kept, number = run.with_name(f"{run.name}.old"), 2
    while kept.exists():
        kept, number = run.with_name(f"{run.name}.old{number}"), number + 1
    with writes(kept):
        run.rename(kept)
        (kept / lock.NAME).unlink(missing_ok=True)
        run.mkdir()
    text = f"{each.title} has no checkpoint and starts again. What it had is kept in {kept}."
    console.print(text, highlight=False, soft_wrap=True)


def show_last_lines(each: SeedProcess, console: Console) -> None:
    """Print the last lines of a run that failed, where there are more than the one that its error has."""
    lines = each.last_lines(_LAST_LINES)
    if len(lines) > 1:
        console.print(f"The last lines of {each.log}:", highlight=False, soft_wrap=True)
        for line in lines:
            console.print(f"  {line}", highlight=False, soft_wrap=True)
