"""``hetrl eval``."""

from contextlib import nullcontext
from typing import Annotated

import typer

from hetrl.cli.console import out
from hetrl.cli.options import Overrides, RunPath


def evaluate(
    run: RunPath,
    overrides: Overrides = None,
    episodes: Annotated[int | None, typer.Option(help="How many; by default run.n_eval_episodes.")] = None,
    video: Annotated[
        bool,
        typer.Option("--video", help="Film the first one, as RUN/episode.mp4 or as the FILE.mp4 or .gif you name."),
    ] = False,
) -> None:
    """Evaluate a run's last checkpoint, each agent acting deterministically on what it observes."""
    from hetrl.runs.run import evaluate_run

    changes, film = list(overrides or []), None
    if video:
        from hetrl.report.video import Film, chosen_file

        path, changes = chosen_file(run, changes)
        film = Film(path)
    with film or nullcontext():
        result = evaluate_run(run, *changes, n_episodes=episodes, watch=film)
    returns, lengths = result.returns, result.lengths
    out.print(
        f"{len(returns)} episodes: return {returns.mean():.4g} (std {returns.std(correction=0):.3g}, "
        f"{returns.min():.4g} to {returns.max():.4g}), length {lengths.mean():.4g}.",
        highlight=False,
    )
    if film is not None:
        out.print(str(film.path), soft_wrap=True, highlight=False)
