"""``hetrl search``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from hetrl.cli import completion
from hetrl.cli import parts as files
from hetrl.cli.options import Overrides, Parts
from hetrl.errors import RunError


def search(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="A shipped recipe or a YAML file; with --best the folder of a search.",
            autocompletion=completion.recipes,
        ),
    ] = None,
    overrides: Overrides = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(help="A.B=log:1e-4:1e-3, A.B=0.9:0.99, A.B=int:1:8, or a list, A.B=VALUE,VALUE."),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="How many, also with --resume; failed ones aside.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="A column of metrics.csv, its last value; by default eval/return.")
    ] = None,
    minimize: Annotated[bool, typer.Option("--minimize", help="The less of it the better.")] = False,
    prune: Annotated[
        str | None, typer.Option(help="Which trials stop early: halving (by default), median, or none.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="The folder; by default a new one under runs/.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the search in this folder.", autocompletion=completion.runs)
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Print the best trial's words for hetrl train, and draw importances.")
    ] = False,
    at_once: Annotated[int | None, typer.Option(min=1, help="Trials at once; by default as many as cores.")] = None,
    on: Annotated[str, typer.Option(help="Where: local, slurm, or submitit-local.")] = "local",
    slurm: Annotated[str | None, typer.Option(help="What a job of Slurm asks for: partition=gpu,time=240.")] = None,
    wandb: Annotated[str | None, typer.Option(help="Also log to this Weights & Biases project.")] = None,
    parts: Parts = None,
) -> None:
    """Search for the values of a recipe's words with Optuna, go on with --resume FOLDER, or ask FOLDER --best."""
    files.run(parts)
    asked = {"--vary": vary, "--metric": metric, "--minimize": minimize, "--prune": prune, "--folder": folder}
    if best:
        if recipe is None:
            raise RunError("say which search to ask, hetrl search FOLDER --best.")
        _refuse(asked | {"overrides": overrides, "--resume": resume, "--trials": trials}, "--best asks a search")
        return _say_best(Path(recipe))
    from hetrl.cli.outcome import finish_search
    from hetrl.runs.place import RunPlace
    from hetrl.runs.submitted import slurm_words
    from hetrl.search.search import resume_search
    from hetrl.search.search import search as begin
    from hetrl.search.search_folder import SearchFolder, SearchWords

    place = RunPlace(on, slurm_words(slurm), at_once)
    if resume is not None:
        _refuse(asked | {"a recipe": recipe}, "--resume goes on with the search as it is")
        return finish_search(resume_search(resume, trials, place, wandb))
    if recipe is None:
        raise RunError("say which recipe to search for (see 'hetrl list recipe'), or --resume FOLDER.")
    if SearchFolder(Path(recipe)).words.exists():
        raise RunError(f"{recipe} is a search; go on with --resume {recipe}, or ask it with --best.")
    if not vary:
        raise RunError("say what to search for, --vary update.actors.optim.lr=log:1e-4:1e-3; it may be given again.")
    if trials is None:
        raise RunError("say how many trials there shall be, --trials 50.")
    words = SearchWords(
        recipe, tuple(overrides or ()), tuple(vary), trials, metric or "eval/return", minimize, prune or "halving"
    )
    finish_search(begin(words, folder, place, wandb))


def _refuse(given: Mapping[str, object], why: str) -> None:
    """Refuse what is given and does not go with the way that the command is asked."""
    if words := [word for word, value in given.items() if value]:
        raise RunError(f"{why}; leave out {', '.join(words)}.")


def _say_best(path: Path) -> None:
    """Print the words of the best trial alone, so that a shell may put them behind another command."""
    import shlex

    from hetrl.cli.console import err, out
    from hetrl.cli.outcome import best_line
    from hetrl.report.importances import draw_importances
    from hetrl.search.found import Found
    from hetrl.search.search_folder import SearchFolder

    found = Found.of(SearchFolder(path))
    out.print(shlex.join(found.command()), highlight=False, soft_wrap=True)
    err.print(best_line(found), highlight=False, soft_wrap=True)
    try:
        err.print(str(draw_importances(found, found.folder.picture)), highlight=False, soft_wrap=True)
    except RunError as error:
        err.print(f"No picture: {error}", highlight=False, soft_wrap=True)
