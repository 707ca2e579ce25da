"""Many runs: combinations of recipes, tasks and variations, each with several seeds, in one folder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from hetrl.disk import replace_text
from hetrl.errors import HetrlError, RecipeError, RunError
from hetrl.recipe.combinations import Combination
from hetrl.recipe.schema import Recipe
from hetrl.runs import lock
from hetrl.runs.combined_folder import CombinedFolder
from hetrl.runs.folder import Folder, is_free
from hetrl.runs.one_device import one_device
from hetrl.runs.place import RunPlace
from hetrl.runs.seeds import Group, Outcome, continued, fill, make_room, prepare, refuse_unfit, run_groups


@dataclass
class Outcomes:
    """How all combinations ended."""

    folder: CombinedFolder
    each: dict[str, Outcome]

    def refuse_failures(self) -> None:
        """Raise where seeds failed.

        Raises:
            RunError: naming the combinations, and what their seeds said last.
        """
        found = list(self._failures())
        if found:
            raise RunError(" ".join(found))

    def _failures(self) -> Iterator[str]:
        for name, outcome in self.each.items():
            try:
                outcome.refuse_failures()
            except RunError as error:
                yield f"{name}: {error}"


def train_combinations(
    combinations: Sequence[Combination],
    count: int,
    path: Path | None = None,
    *,
    at_once: int | None = None,
    wandb: str | None = None,
    on: str = "local",
    slurm: Mapping[str, Any] | None = None,
) -> Outcomes:
    """Train combinations with ``count`` seeds each, in a new folder; all are checked before anything is written.

    Args:
        combinations: as :func:`~hetrl.recipe.combinations.combinations` makes them.
        count: seeds of each, from the recipe's own upwards.
        path: the folder; by default a new one under ``runs/``.
        at_once: see :func:`~hetrl.runs.seeds.train_seeds`, also for all that follows.
        wandb: see there.
        on: see there.
        slurm: see there.

    Raises:
        RecipeError: combinations do not link; all that do not are named.
        RunError: the folder is taken.
    """
    place = RunPlace(on, slurm or {}, at_once)
    recipes = loaded(combinations, place)
    folder = CombinedFolder(path or _default(combinations))
    with lock.sole_writer(folder.path):
        _make_room(folder)
        folder.write({each.name: each.about for each in combinations})
        for name, recipe in recipes.items():
            fill(folder.combinations[name], recipe, range(recipe.run.seed, recipe.run.seed + count), None)
        return _run(folder, recipes, [], place, wandb)


def resume_combinations(
    path: Path,
    *overrides: str,
    count: int | None = None,
    at_once: int | None = None,
    wandb: str | None = None,
    on: str = "local",
    slurm: Mapping[str, Any] | None = None,
) -> Outcomes:
    """Go on with what is not finished in a folder of combinations.

    Args:
        path: the folder.
        overrides: only of ``run``.
        count: how many seeds each shall have now.
        at_once: see :func:`train_combinations`, also for all that follows.
        wandb: see there.
        on: see there.
        slurm: see there.

    Raises:
        RecipeError: a recipe asks for several processes.
        RunError: everything is finished, the overrides change a recipe, or a run's own parts are missing.
    """
    place, folder = RunPlace(on, slurm or {}, at_once), CombinedFolder(path)
    with lock.sole_writer(path):
        recipes = {name: continued(seeds, overrides) for name, seeds in folder.combinations.items()}
        for name, seeds in folder.combinations.items():
            first = recipes[name].run.seed
            seeds.add(() if count is None else range(first, first + count))
        every = [(run, recipes[name]) for name, seeds in folder.combinations.items() for run in seeds.runs.values()]
        if all(Folder(run).frames_saved() >= recipe.run.frames for run, recipe in every):
            raise RunError(f"everything in {path} is finished; add seeds with --seeds, or go on with run.frames=... .")
        for name, seeds in folder.combinations.items():
            replace_text(seeds.recipe, recipes[name].yaml())
        return _run(folder, recipes, overrides, place, wandb)


def loaded(combinations: Sequence[Combination], place: RunPlace) -> dict[str, Recipe]:
    """Return the checked recipes of combinations by their names.

    Raises:
        RecipeError: naming every combination that does not work, and why.
    """
    recipes, problems = {}, []
    for each in combinations:
        try:
            recipes[each.name] = each.load()
            refuse_unfit(recipes[each.name], place)
        except HetrlError as error:
            problems.append(f"{each.about}: {error}")
    if problems:
        bad = f"{len(problems)} of {len(combinations)} combinations cannot be trained, and nothing was started"
        raise RecipeError(f"{bad}. {' '.join(problems)}")
    return recipes


def _run(
    folder: CombinedFolder, recipes: Mapping[str, Recipe], overrides: Sequence[str], place: RunPlace, wandb: str | None
) -> Outcomes:
    console = Console(markup=False, emoji=False)
    every = [run for seeds in folder.combinations.values() for run in seeds.runs.values()]
    recipes = one_device(recipes, every, place, console)
    executor = place.executor(folder.path, *recipes.values())
    groups: dict[str, Group] = {
        name: prepare(seeds, recipes[name], overrides, executor, wandb, name)
        for name, seeds in folder.combinations.items()
    }
    run_groups(list(groups.values()), executor, console)
    return Outcomes(folder, {name: group.outcome for name, group in groups.items()})


def _make_room(folder: CombinedFolder) -> None:
    """Clear away combinations of which nothing was trained; refuse any other folder."""
    if is_free(folder.path):
        return
    if not folder.table.exists():
        raise RunError(f"{folder.path} exists and is no folder of combinations; choose another --folder.")
    for seeds in folder.combinations.values():
        if seeds.path.exists():
            make_room(seeds)


def _default(combinations: Sequence[Combination]) -> Path:
    recipes = "_".join(dict.fromkeys(Path(each.recipe).stem for each in combinations))[:60]
    path, number = Path("runs") / f"{recipes}_all", 2
    while path.exists():
        path, number = Path("runs") / f"{recipes}_all_{number}", number + 1
    return path
