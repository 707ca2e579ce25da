"""A search for the values of a recipe's words, in a folder of its own: begun, and continued."""

from dataclasses import replace
from itertools import chain
from pathlib import Path

from rich.console import Console

from hetrl.disk import replace_text
from hetrl.errors import RecipeError, RunError
from hetrl.recipe.packaged import recipes
from hetrl.recipe.schema import Recipe
from hetrl.runs import lock
from hetrl.runs.board import SeedsBoard
from hetrl.runs.combined import loaded
from hetrl.runs.folder import default_folder, is_free
from hetrl.runs.launch import StopSignals, run_side_by_side
from hetrl.runs.loggers import require_wandb
from hetrl.runs.place import RunPlace
from hetrl.search.found import Found
from hetrl.search.ranges import corners
from hetrl.search.search_folder import SearchFolder, SearchWords
from hetrl.search.study import begun_study, refuse_pruner, require_optuna
from hetrl.search.trials import Trials

HERE = RunPlace()
"""Where trials are trained if nothing is said: side by side, on this machine."""


def search(words: SearchWords, path: Path | None = None, place: RunPlace = HERE, wandb: str | None = None) -> Found:
    """Begin a search in a new folder; the recipe is checked at the ends of all ranges before anything is written.

    Args:
        words: what is searched.
        path: the folder; by default a new one under ``runs/``.
        place: where they are trained.
        wandb: a Weights & Biases project to log to as well.

    Raises:
        RecipeError: a range cannot be read, or the recipe does not link at some of their ends, all of which are named.
        RunError: the folder is taken.
        DependencyError: Optuna is not installed.
    """
    require_optuna()
    require_wandb(wandb)
    checked = _checked(words, words.recipe, place)
    folder = SearchFolder(path or default_folder(checked[0], search=True))
    with lock.sole_writer(folder.path):
        if folder.words.exists():
            raise RunError(
                f"{folder.path} holds a search already; go on with hetrl search --resume {folder.path}, or choose "
                "another --folder."
            )
        if not is_free(folder.path):
            raise RunError(f"{folder.path} exists and is no search; choose another --folder.")
        file = recipes().get(words.recipe, Path(words.recipe))
        replace_text(folder.recipe, file.read_text(encoding="utf-8"))
        folder.write(words)
        return _run(Found(folder, words, begun_study(folder, words, _frames(checked))), checked, place, wandb)


def resume_search(path: Path, trials: int | None = None, place: RunPlace = HERE, wandb: str | None = None) -> Found:
    """Go on with a search: with the trials that were begun and have not ended, and with those that are missing.

    Args:
        path: its folder.
        trials: how many there shall be now.
        place: where they are trained.
        wandb: a Weights & Biases project to log to as well.

    Raises:
        RunError: there is nothing to go on with.
        DependencyError: Optuna is not installed.
    """
    require_optuna()
    require_wandb(wandb)
    folder = SearchFolder(path)
    words = folder.read()
    words = replace(words, trials=trials or words.trials)
    checked = _checked(words, str(folder.recipe), place)
    with lock.sole_writer(path):
        found = Found(folder, words, begun_study(folder, words, _frames(checked)))
        if found.whole:
            raise RunError(f"all {words.trials} trials in {path} have ended; add some with --trials above that.")
        folder.write(words)
        return _run(found, checked, place, wandb)


def _checked(words: SearchWords, recipe: str, place: RunPlace) -> list[Recipe]:
    """Return the recipe at the ends of all ranges, where all of them can be trained."""
    refuse_pruner(words.prune)
    if place.name == "slurm" and place.at_once is None:
        raise RunError(
            "--on slurm: say how many trials may wait and run at once, --at-once 8: what has ended teaches the next."
        )
    found = list(loaded(corners(recipe, words.overrides, words.ranges), place).values())
    if words.metric.startswith("eval/") and any(each.run.eval_every is None for each in found):
        raise RecipeError(f"--metric {words.metric}: run.eval_every is null, so nothing is evaluated; set it.")
    return found


def _frames(checked: list[Recipe]) -> int:
    return max(each.run.frames for each in checked)


def _run(found: Found, checked: list[Recipe], place: RunPlace, wandb: str | None) -> Found:
    console = Console(markup=False, emoji=False)
    executor = place.executor(found.folder.path, *checked)
    executor.say(console)
    with SeedsBoard(console, {}, {}, folds=True) as board:
        trials = Trials(found, checked[0].run.seed, place, executor, board, console, wandb)
        begun = trials.begun()
        with StopSignals(executor.lasts) as stop:
            run_side_by_side(chain(begun, trials.new()), executor, stop, board, trials.look)
    if stop.left:
        console.print("The jobs go on; the same command with --resume watches them.", highlight=False)
    return found
