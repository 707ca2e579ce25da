"""``hetrl train``."""

from pathlib import Path
from typing import Annotated

import typer

from hetrl.cli import completion
from hetrl.cli.options import Overrides
from hetrl.errors import RunError


def train(
    recipe: Annotated[
        str | None, typer.Argument(help="A shipped recipe or a YAML file.", autocompletion=completion.recipes)
    ] = None,
    overrides: Overrides = None,
    folder: Annotated[Path | None, typer.Option(help="The run's folder; by default a new one under runs/.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Continue the run, or the seeds, in this folder instead.", autocompletion=completion.runs),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Train so many seeds, side by side in one folder.")] = None,
    at_once: Annotated[int | None, typer.Option(min=1, help="Seeds at once; by default as many as cores.")] = None,
    report: Annotated[bool, typer.Option("--report", help="Write the run's page, report.html, at the end.")] = False,
    wandb: Annotated[str | None, typer.Option(help="Also log to this Weights & Biases project.")] = None,
    monitor: Annotated[int | None, typer.Option(min=1, help="Measure the bound every so many frames.")] = None,
) -> None:
    """Train a recipe, or continue a run with --resume FOLDER."""
    from hetrl.runs.parent import follow_parent

    follow_parent()  # before all that takes time
    from hetrl.cli.outcome import finish, finish_seeds
    from hetrl.cli.recipes import warned
    from hetrl.recipe.read import load
    from hetrl.report.monitor import BoundMonitor
    from hetrl.runs import run
    from hetrl.runs.seeds import SeedsFolder, resume_seeds, train_seeds

    texts = overrides or []
    several = seeds is not None or (resume is not None and SeedsFolder(resume).recipe.exists())
    if at_once is not None and not several:
        raise RunError("--at-once goes with --seeds.")
    if several:
        _refuse_for_several(monitor, report)
    callbacks = [] if monitor is None else [BoundMonitor(monitor)]
    if resume is not None:
        if folder is not None:
            raise RunError("--folder and --resume do not go together; the run stays in its folder.")
        texts = [*([recipe] if recipe else []), *texts]
        if several:
            finish_seeds(resume_seeds(resume, *texts, count=seeds, at_once=at_once, wandb=wandb))
        else:
            finish(run.resume(resume, *texts, wandb=wandb, callbacks=callbacks), report)
    elif recipe is None:
        raise RunError("say which recipe to train (see 'hetrl list recipe'), or --resume FOLDER.")
    elif seeds is not None:
        finish_seeds(train_seeds(warned(load(recipe, *texts)), seeds, folder, at_once=at_once, wandb=wandb))
    else:
        finish(run.train(warned(load(recipe, *texts)), folder, wandb=wandb, callbacks=callbacks), report)


def _refuse_for_several(monitor: int | None, report: bool) -> None:
    """Refuse options that are about one run."""
    if monitor is not None:
        raise RunError("--monitor is about one run; train the seeds one by one, with run.seed=...")
    if report:
        raise RunError("--report is about one run; write it afterwards, hetrl report RUN.")
