"""``hetrl compare``."""

from pathlib import Path
from typing import Annotated

import typer

from hetrl.cli import completion
from hetrl.cli.console import out


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Runs or folders of seeds; seeds of one recipe belong together.", autocompletion=completion.runs
        ),
    ],
    score: Annotated[
        str, typer.Option(help="last: the last evaluation; tail: mean of the last tenth; area: mean of the whole run.")
    ] = "last",
    metric: Annotated[str, typer.Option(help="A column of metrics.csv.")] = "eval/return",
    scale: Annotated[
        list[str] | None, typer.Option(help="Also all tasks together, scaled: TASK=LOW:HIGH for each, or 'runs'.")
    ] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Compare what is not comparable, and say why not.")] = False,
    to: Annotated[Path, typer.Option(help="The picture to write.")] = Path("comparison.png"),
) -> None:
    """Compare recipes over seeds: interquartile means, probabilities of improvement, sample efficiency."""
    from hetrl.report.compare import compare
    from hetrl.report.compare_picture import draw
    from hetrl.report.compare_table import as_table
    from hetrl.report.writable import PICTURES, check_writable

    check_writable(to, PICTURES)
    comparison = compare(runs, score=score, metric=metric, scale=scale or [], anyway=anyway)
    out.print(as_table(comparison))
    out.print(str(draw(comparison, to)), soft_wrap=True, highlight=False)
