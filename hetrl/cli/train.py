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
        str | None,
        typer.Argument(
            help="A shipped recipe or a YAML file; more of them may follow.", autocompletion=completion.recipes
        ),
    ] = None,
    overrides: Overrides = None,
    folder: Annotated[Path | None, typer.Option(help="The run's folder; by default a new one under runs/.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Continue the run, or the runs, in this folder instead.", autocompletion=completion.runs),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Shipped tasks, balance,navigation: every recipe on each of them.")
    ] = None,
    vary: Annotated[
        list[str] | None, typer.Option(help="A.B=VALUE,VALUE: train with each; several are combined.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Train so many seeds, side by side in one folder.")] = None,
    at_once: Annotated[int | None, typer.Option(min=1, help="Seeds at once; by default as many as cores.")] = None,
    on: Annotated[str | None, typer.Option(help="Where: local, slurm, or submitit-local.")] = None,
    slurm: Annotated[str | None, typer.Option(help="What a job of Slurm asks for: partition=gpu,time=240.")] = None,
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
    """Train a recipe, or several on several tasks (HAPPO HASAC --task A,B), or continue a run with --resume FOLDER."""
    from hetrl.runs.parent import follow_parent

    follow_parent()  # before all that takes time
    files.run(parts)
    from hetrl.cli import many
    from hetrl.cli.outcome import finish
    from hetrl.cli.recipes import warned
    from hetrl.recipe.read import load
    from hetrl.report.monitor import BoundMonitor
    from hetrl.runs import run

    given = {"run.keep": keep, "run.devices": devices, "run.nodes": nodes}
    changes = [*(overrides or []), *(f"{word}={value}" for word, value in given.items() if value is not None)]
    texts = [*([recipe] if recipe and resume is not None else []), *changes]
    asked = many.Asked(recipe, texts, folder, resume, seeds, task or [], vary or [], init)
    if at_once is not None and not asked.several:
        raise RunError("--at-once goes with --seeds.")
    if not asked.several and (on is not None or slurm is not None):
        raise RunError("--on and --slurm go with --seeds, several recipes, --task or --vary.")
    if asked.several:
        _refuse_for_several(monitor, report)
    if checkpoint is not None and (resume is None or asked.several):
        raise RunError("--checkpoint goes with --resume of one run; to start from other weights, --init RUN.")
    callbacks = [] if monitor is None else [BoundMonitor(monitor)]
    if resume is not None:
        if folder is not None:
            raise RunError("--folder and --resume do not go together; the run stays in its folder.")
        if task or vary:
            raise RunError("--task and --vary do not go with --resume: the combinations are those in the folder.")
        if init is not None:
            raise RunError("--init and --resume do not go together; a run goes on from its own weights.")
    elif recipe is None:
        raise RunError("say which recipe to train (see 'hetrl list recipe'), or --resume FOLDER.")
    if asked.several:
        asked.train(at_once, wandb, on, slurm)
    elif resume is not None:
        name = checkpoint or "last"
        finish(run.resume(resume, *texts, checkpoint=name, wandb=wandb, callbacks=callbacks), report)
    else:
        finish(
            run.train(warned(load(str(recipe), *texts)), folder, init=init, wandb=wandb, callbacks=callbacks), report
        )


def _refuse_for_several(monitor: int | None, report: bool) -> None:
    """Refuse options that are about one run."""
    if monitor is not None:
        raise RunError("--monitor is about one run; train the seeds one by one, with run.seed=...")
    if report:
        raise RunError("--report is about one run; write it afterwards, hetrl report RUN.")
