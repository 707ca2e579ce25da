"""``hetrl eval``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hetrl.cli import completion
from hetrl.cli import parts as files
from hetrl.cli.console import out
from hetrl.cli.options import Overrides, Parts
from hetrl.errors import RunError


def evaluate(
    run: Annotated[
        Path, typer.Argument(help="A run's folder, or one of several seeds.", autocompletion=completion.runs)
    ],
    overrides: Overrides = None,
    episodes: Annotated[int | None, typer.Option(help="How many; by default run.n_eval_episodes.")] = None,
    stochastic: Annotated[bool, typer.Option("--stochastic", help="Draw the actions.")] = False,
    checkpoint: Annotated[
        str, typer.Option(help="Which one: last, best, previous, or the one kept at these frames.")
    ] = "last",
    csv: Annotated[Path | None, typer.Option(help="Also write a row for each episode into this file.")] = None,
    video: Annotated[
        bool,
        typer.Option("--video", help="Film the first one, as RUN/episode.mp4 or as the FILE.mp4 or .gif you name."),
    ] = False,
    parts: Parts = None,
) -> None:
    """Evaluate a run's last checkpoint, each agent acting deterministically on what it observes."""
    files.run(parts)
    from hetrl.report.writable import check_writable
    from hetrl.runs.seeds_folder import SeedsFolder

    if csv is not None:
        check_writable(csv, (".csv",))
    if SeedsFolder(run).recipe.exists():
        if video:
            raise RunError(f"{run} is a folder of seeds; film one of them, hetrl eval RUN/seed0 --video.")
        if checkpoint != "last":
            raise RunError(f"{run} is a folder of seeds; --checkpoint is of one of them, hetrl eval RUN/seed0.")
        _each_seed(run, overrides or [], episodes, stochastic, csv)
    else:
        _single(run, overrides or [], csv, video, n_episodes=episodes, stochastic=stochastic, checkpoint=checkpoint)


def _single(run: Path, overrides: list[str], csv: Path | None, video: bool, **asked: Any) -> None:
    from contextlib import nullcontext

    from hetrl.report.episodes import line, save
    from hetrl.report.video import Film, chosen_file
    from hetrl.runs.run import evaluate_run

    film = None
    if video:
        path, overrides = chosen_file(run, overrides)
        film = Film(path)
    with film or nullcontext():
        found = evaluate_run(run, *overrides, **asked, watch=film)
    out.print(line(found), highlight=False, soft_wrap=True)
    for written in [*([save(found, csv)] if csv else []), *([film.path] if film else [])]:
        out.print(str(written), soft_wrap=True, highlight=False)


def _each_seed(run: Path, overrides: list[str], episodes: int | None, stochastic: bool, csv: Path | None) -> None:
    from hetrl.api.run import Run
    from hetrl.report.episodes import line, means_line, save

    asked = Run(run)
    found = asked.evaluate_seeds(*overrides, episodes=episodes, stochastic=stochastic)
    for seed, its in found.items():
        out.print(f"seed {seed}  {line(its)}", highlight=False, soft_wrap=True)
    out.print(means_line(found), highlight=False, soft_wrap=True)
    missing = [seed for seed in asked.all_seeds if seed not in found]
    if missing:
        out.print(f"Without a checkpoint yet: seed {', '.join(map(str, missing))}.", highlight=False)
    if csv is not None:
        out.print(str(save(found, csv)), soft_wrap=True, highlight=False)
