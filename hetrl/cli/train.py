"""``hetrl train``."""

from pathlib import Path
from typing import Annotated

import typer

from hetrl.cli import completion
from hetrl.cli import parts as files
from hetrl.cli.options import Overrides, Parts
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
    init: Annotated[
        str | None, typer.Option(help="Start from a run's weights: RUN, RUN:NET,NET, or RUN:NET+optimizers.")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="Checkpoints that stay: best, best:3, every:1e5, or best:3,every:1e5.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="With --resume: from last (by default), best, previous, or at these frames.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="Processes that train it together, each with a device and its share.")
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Machines, each with so many processes.")] = None,
    monitor: Annotated[int | None, typer.Option(min=1, help="Measure the bound every so many frames.")] = None,
    parts: Parts = None,
) -> None:
    """Train a recipe, or continue a run with --resume FOLDER."""
    from hetrl.runs.parent import follow_parent

    follow_parent()  # before all that takes time
    files.run(parts)
    from hetrl.cli.outcome import finish, finish_seeds
    from hetrl.cli.recipes import warned
    from hetrl.recipe.read import load
    from hetrl.report.monitor import BoundMonitor
    from hetrl.runs import run
    from hetrl.runs.seeds import resume_seeds, train_seeds
    from hetrl.runs.seeds_folder import SeedsFolder

    given = {"run.keep": keep, "run.devices": devices, "run.nodes": nodes}
    texts = [*(overrides or []), *(f"{word}={value}" for word, value in given.items() if value is not None)]
    several = seeds is not None or (resume is not None and SeedsFolder(resume).recipe.exists())
    if at_once is not None and not several:
        raise RunError("--at-once goes with --seeds.")
    if several:
        _refuse_for_several(monitor, report)
    if checkpoint is not None and (resume is None or several):
        raise RunError("--checkpoint goes with --resume of one run; to start from other weights, --init RUN.")
    callbacks = [] if monitor is None else [BoundMonitor(monitor)]
    if resume is not None:
        if folder is not None:
            raise RunError("--folder and --resume do not go together; the run stays in its folder.")
        if init is not None:
            raise RunError("--init and --resume do not go together; a run goes on from its own weights.")
        texts = [*([recipe] if recipe else []), *texts]
        if several:
            finish_seeds(resume_seeds(resume, *texts, count=seeds, at_once=at_once, wandb=wandb))
        else:
            name = checkpoint or "last"
            finish(run.resume(resume, *texts, checkpoint=name, wandb=wandb, callbacks=callbacks), report)
    elif recipe is None:
        raise RunError("say which recipe to train (see 'hetrl list recipe'), or --resume FOLDER.")
    elif seeds is not None:
        loaded = warned(load(recipe, *texts))
        finish_seeds(train_seeds(loaded, seeds, folder, init=init, at_once=at_once, wandb=wandb))
    else:
        finish(run.train(warned(load(recipe, *texts)), folder, init=init, wandb=wandb, callbacks=callbacks), report)


def _refuse_for_several(monitor: int | None, report: bool) -> None:
    """Refuse options that are about one run."""
    if monitor is not None:
        raise RunError("--monitor is about one run; train the seeds one by one, with run.seed=...")
    if report:
        raise RunError("--report is about one run; write it afterwards, hetrl report RUN.")
