"""Several seeds of one recipe, each in a process of its own, side by side in one folder."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from hetrl.disk import replace_text, writes
from hetrl.engine.task import team_of
from hetrl.errors import RecipeError, RunError
from hetrl.recipe.check import check
from hetrl.recipe.read import load
from hetrl.recipe.same import refuse_other_recipe
from hetrl.recipe.schema import Recipe
from hetrl.runs import lock
from hetrl.runs.board import SeedsBoard
from hetrl.runs.failed import clear, has_trained
from hetrl.runs.folder import Folder, default_folder, is_free
from hetrl.runs.launch import Executor, SeedProcess, StopSignals, command_line, run_side_by_side
from hetrl.runs.one_device import one_device
from hetrl.runs.origin import Origin
from hetrl.runs.parts import options
from hetrl.runs.place import RunPlace
from hetrl.runs.ready import make_ready, show_last_lines
from hetrl.runs.seeds_folder import SeedsFolder


@dataclass
class Outcome:
    """How the seeds ended."""

    folder: SeedsFolder
    done: list[int] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    """Seed -> the last line that it printed."""

    def refuse_failures(self) -> None:
        """Raise where seeds failed.

        Raises:
            RunError: naming them, and what each said last.
        """
        if self.failed:
            said: dict[str, list[str]] = {}
            for seed, text in self.failed.items():
                said.setdefault(text or "no message", []).append(str(seed))
            reasons = "; ".join(f"{', '.join(seeds)}: {text}" for text, seeds in said.items())
            total = len(self.done) + len(self.stopped) + len(self.failed)
            raise RunError(
                f"{len(self.failed)} of {total} seeds failed ({reasons}). What they printed is in "
                f"{self.folder.path}/seed*.log."
            )


def train_seeds(
    recipe: Recipe,
    count: int,
    path: Path | None = None,
    *,
    init: str | Path | None = None,
    at_once: int | None = None,
    wandb: str | None = None,
    on: str = "local",
    slurm: Mapping[str, Any] | None = None,
) -> Outcome:
    """Train a recipe with ``count`` seeds from its own upwards, in a new folder.

    Args:
        recipe: what to train.
        count: how many seeds.
        path: the folder; by default a new one under ``runs/``.
        init: another run, or a folder of seeds, whose weights each seed starts from; of a folder, its own seed's.
        at_once: processes; by default as many as there are cores for their threads.
        wandb: a Weights & Biases project to log to as well.
        on: where: ``local``, ``slurm`` or ``submitit-local``.
        slurm: what each job of Slurm asks for.

    Raises:
        RecipeError: the recipe does not link.
        RunError: the folder is taken, or ``init`` has not every seed.
    """
    seeds = range(recipe.run.seed, recipe.run.seed + count)
    origin = None if init is None else Origin.parse(init)
    if origin is not None:
        for seed in seeds:
            Folder(origin.of_seed(seed).run).refuse_if_empty()
    place = RunPlace(on, slurm or {}, at_once)
    refuse_unfit(recipe, place)  # before anything is written
    folder = SeedsFolder(path or default_folder(recipe, seeds=True))
    with lock.sole_writer(folder.path):
        make_room(folder)
        fill(folder, recipe, seeds, origin)
        return _run_all(folder, recipe, [], place, wandb)


def refuse_unfit(recipe: Recipe, place: RunPlace) -> None:
    """Refuse what would fail in every seed.

    Raises:
        RecipeError: the recipe does not link, its device is not here, or it asks for several processes.
        RunError: a part cannot be known to other processes.
    """
    _refuse_processes(recipe)
    check(recipe, team_of(recipe))
    options(recipe.tree)
    place.refuse_device(recipe)


def _refuse_processes(recipe: Recipe) -> None:
    if recipe.run.n_ranks > 1:
        raise RecipeError(
            f"run.devices = {recipe.run.devices} with run.nodes = {recipe.run.nodes}: of several runs each is one "
            "process; drop both, or train the runs one by one."
        )


def fill(folder: SeedsFolder, recipe: Recipe, seeds: Sequence[int], origin: Origin | None) -> None:
    """Write what a folder of seeds has before any is started."""
    folder.add(seeds)
    replace_text(folder.recipe, recipe.yaml())
    if origin is not None:
        replace_text(folder.init, f"{Origin(origin.run.resolve(), origin.nets, origin.optimizers)}\n")


def make_room(folder: SeedsFolder) -> None:
    """Clear away seeds of which none was ever trained; refuse any other folder."""
    if is_free(folder.path):
        return
    if not folder.recipe.exists():
        raise RunError(f"{folder.path} exists and is no folder of seeds; choose another --folder.")
    if any(has_trained(Folder(run)) for run in folder.runs.values()):
        raise RunError(
            f"{folder.path} holds seeds already; continue them with --resume {folder.path}, or choose another --folder."
        )
    for run in folder.runs.values():
        with lock.sole_writer(run):
            clear(Folder(run))
        with writes(run), suppress(OSError):  # something else is in it
            run.with_name(f"{run.name}.log").unlink(missing_ok=True)
            run.rmdir()
    for file in (folder.recipe, folder.init):
        file.unlink(missing_ok=True)


def resume_seeds(
    path: Path,
    *overrides: str,
    count: int | None = None,
    at_once: int | None = None,
    wandb: str | None = None,
    on: str = "local",
    slurm: Mapping[str, Any] | None = None,
) -> Outcome:
    """Continue the seeds of a folder: those that were stopped, and those that have not been started.

    Args:
        path: the folder.
        overrides: only of ``run`` (more frames, another evaluation interval).
        count: how many seeds there shall be now; new ones are added.
        at_once: see :func:`train_seeds`.
        wandb: see :func:`train_seeds`.
        on: see :func:`train_seeds`.
        slurm: see :func:`train_seeds`.

    Raises:
        RunError: there is nothing to continue, or the overrides change the recipe.
    """
    folder = SeedsFolder(path)
    if not folder.recipe.exists():
        raise RunError(f"{path} is no folder of seeds (it has no seeds.yaml).")
    place = RunPlace(on, slurm or {}, at_once)
    with lock.sole_writer(path):
        recipe = continued(folder, overrides)
        if count is not None:
            folder.add(range(recipe.run.seed, recipe.run.seed + count))
        _refuse_finished(folder, recipe)
        replace_text(folder.recipe, recipe.yaml())
        return _run_all(folder, recipe, list(overrides), place, wandb)


def continued(folder: SeedsFolder, overrides: Sequence[str]) -> Recipe:
    """Return the recipe with which the seeds of a folder go on.

    Raises:
        RecipeError: it asks for several processes.
        RunError: the overrides change it, or a run's own parts are missing.
    """
    for run in folder.runs.values():
        if Folder(run).recipe.exists():
            Folder(run).need_parts()
    recipe = load(folder.recipe, *overrides)
    refuse_other_recipe(recipe, load(folder.recipe).yaml())
    _refuse_processes(recipe)
    return recipe


def _refuse_finished(folder: SeedsFolder, recipe: Recipe) -> None:
    if all(Folder(run).frames_saved() >= recipe.run.frames for run in folder.runs.values()):
        raise RunError(
            f"every seed in {folder.path} is finished ({recipe.run.frames} frames); add some with --seeds, or go on "
            "with run.frames=... above that."
        )


def _run_all(
    folder: SeedsFolder, recipe: Recipe, overrides: Sequence[str], place: RunPlace, wandb: str | None
) -> Outcome:
    """Run the seeds of a folder that have frames left, and return how all of them stand."""
    console = Console(markup=False, emoji=False)
    recipe = one_device({"": recipe}, folder.runs.values(), place, console)[""]
    executor = place.executor(folder.path, recipe)
    group = prepare(folder, recipe, overrides, executor, wandb)
    run_groups([group], executor, console)
    return group.outcome


@dataclass
class Group:
    """The processes of one recipe's seeds, and how all of them stand."""

    outcome: Outcome
    processes: list[SeedProcess]
    frames: int


def prepare(
    folder: SeedsFolder,
    recipe: Recipe,
    overrides: Sequence[str],
    executor: Executor,
    wandb: str | None,
    combination: str = "",
) -> Group:
    """Return the processes of the seeds of a folder that have frames left, not started yet."""
    outcome, threads, wanted = Outcome(folder), recipe.run.threads or 1, recipe.run.frames
    given = ["--init", folder.init.read_text(encoding="utf-8").strip()] if folder.init.exists() else []
    device = [] if recipe.run.device == "auto" else [f"run.device={recipe.run.device}"]
    known, processes = options(recipe.tree), []
    for seed, run in folder.runs.items():
        frames = Folder(run).frames_saved()
        if frames >= wanted:
            outcome.done.append(seed)
            continue
        own = [f"run.seed={seed}", f"run.threads={threads}", *device]
        new = [str(folder.recipe), *own, "--folder", str(run), *given]
        first, then = (command_line([*words, *known], wandb) for words in (new, ["--resume", str(run), *overrides]))
        name = f"{combination} seed {seed}" if combination else ""
        each = SeedProcess(seed, run, then if frames else first, new=first, on=then, frames=wanted, name=name)
        processes.append(each)
        make_ready(each, executor, saved=frames > 0)
    return Group(outcome, processes, wanted)


def run_groups(groups: Sequence[Group], executor: Executor, console: Console) -> None:
    """Run what is prepared, and note how it ended."""
    executor.say(console)
    every = [each for group in groups for each in group.processes]
    runs = {each.key: each.run for each in every}
    wanted = {each.key: each.frames for each in every}
    with StopSignals(executor.lasts) as stop, SeedsBoard(console, runs, wanted) as board:
        run_side_by_side(every, executor, stop, board)
    for group in groups:
        outcome = group.outcome
        for each in group.processes:
            word = each.ending(Folder(each.run).frames_saved() >= group.frames)
            if word == "failed":
                outcome.failed[each.seed] = each.last_words()
                show_last_lines(each, console)
            else:
                (outcome.done if word == "done" else outcome.stopped).append(each.seed)
        outcome.done.sort()
    if stop.left:
        console.print("The jobs go on; the same command with --resume watches them.", highlight=False)
