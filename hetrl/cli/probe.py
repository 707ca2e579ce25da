"""``hetrl probe``."""

from pathlib import Path
from typing import Annotated

import typer

from hetrl.cli import completion
from hetrl.cli import parts as files
from hetrl.cli.console import out
from hetrl.cli.options import Parts


def probe(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Runs or folders of seeds, with an ensemble of joint values.", autocompletion=completion.runs
        ),
    ],
    noise: Annotated[
        str, typer.Option(help="Deviations, in halves of the actions' range, with commas between them.")
    ] = "0,0.05,0.1,0.2,0.4",
    episodes: Annotated[
        int | None, typer.Option(min=1, help="For each deviation; by default run.n_eval_episodes.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="The picture to write, and a .csv beside it; by default RUN/probe.png.")
    ] = None,
    parts: Parts = None,
) -> None:
    """Perturb what some of the agents do: what it costs, and how much the critic's members disagree about it."""
    files.run(parts)
    from hetrl.report.probe import draw, parsed, probe, save, table
    from hetrl.report.writable import PICTURES, check_writable
    from hetrl.runs.several import run_folders

    deviations = parsed(noise)
    picture = to or (runs[0] if len(runs) == 1 else Path()) / "probe.png"
    check_writable(picture, PICTURES)
    check_writable(picture.with_suffix(".csv"), (".csv",))
    found = {}
    for run in run_folders(runs):
        found[run] = probe(run, deviations, episodes)
        out.print(table(str(run), found[run]))
    for path in (draw(found, picture), save(found, picture.with_suffix(".csv"))):
        out.print(str(path), soft_wrap=True, highlight=False)
