"""``hetrl groups``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from hetrl.cli import completion
from hetrl.cli import parts as files
from hetrl.cli.console import out
from hetrl.cli.options import Parts


def groups(
    run: Annotated[
        Path,
        typer.Argument(help="The folder of a run in which not all share a policy.", autocompletion=completion.runs),
    ],
    threshold: Annotated[float, typer.Option(help="Agents whose policies are at most this far apart share.")] = 0.2,
    into: Annotated[Path | None, typer.Option(help="Also write a run that goes on with shared policies, here.")] = None,
    parts: Parts = None,
) -> None:
    """Group a run's agents by what they do, and say which override trains them with shared policies."""
    files.run(parts)
    from hetrl.recipe.read import load
    from hetrl.report.alike import alike
    from hetrl.runs.parts import again
    from hetrl.runs.regroup import regroup

    found = alike(run, threshold)
    for group, (names, distances) in found.distances.items():
        table = Table(group, *names)
        for name, row in zip(names, distances.tolist(), strict=True):
            table.add_row(name, *(f"{value:.3f}" for value in row))
        out.print(table)
    out.print(found.override, soft_wrap=True, highlight=False)
    if into is not None:
        new = regroup(run, found.groups, found.models, into)
        recipe = load(new.recipe)
        frames, whole = new.load_checkpoint()["hetrl"]["frames"], recipe.run.frames
        told = f"{into} stands at {frames:,} of {whole:,} frames, with these groups. Continue with:"
        more = f" run.frames={2 * frames}" if frames >= whole else ""
        out.print(told, soft_wrap=True, highlight=False)
        out.print(f"  hetrl train --resume {into}{again(recipe.tree)}{more}", highlight=False, soft_wrap=True)
