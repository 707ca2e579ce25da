"""Several seeds of one recipe, each in a process of its own, side by side in one folder."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from hetrl.disk import replace_text, writes
from hetrl.engine.device import resolve_device
from hetrl.engine.task import team_of
from hetrl.errors import RunError
from hetrl.recipe.check import check
from hetrl.recipe.read import load
from hetrl.recipe.same import refuse_other_recipe
from hetrl.recipe.schema import Recipe
from hetrl.runs import lock
from hetrl.runs.board import SeedsBoard
from hetrl.runs.failed import clear, has_trained
from hetrl.runs.folder import Folder, default_folder, is_free
from hetrl.runs.launch import SeedProcess, StopSignals, command_line, n_cores, run_side_by_side
from hetrl.runs.origin import Origin
from hetrl.runs.parts import options
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
) -> Outcome:
    """Train a recipe with ``count`` seeds from its own upwards, in a new folder.

    Args:
        recipe: what to train.
        count: how many seeds.
        path: the folder; by default a new one under ``runs/``.
        init: another run, or a folder of seeds, whose weights each seed starts from; of a folder, its own seed's.
        at_once: processes; by default as many as there are cores for their threads.
        wandb: a Weights & Biases project to log to as well.

    Raises:
        RecipeError: the recipe does not link.
        RunError: the folder is taken, or ``init`` has not every seed.
    """
    seeds = range(recipe.run.seed, recipe.run.seed + count)
    origin = None if init is None else Origin.parse(init)
    if origin is not None:
        for seed in seeds:
            Folder(origin.of_seed(seed).run).refuse_if_empty()
    check(recipe, team_of(recipe))  # before anything is written
    options(recipe.tree)
    resolve_device(recipe)
    folder = SeedsFolder(path or default_folder(recipe, seeds=True))
    with lock.sole_writer(folder.path):
        _make_room(folder)
        folder.add(seeds)
        replace_text(folder.recipe, recipe.yaml())
        if origin is not None:
            replace_text(folder.init, f"{Origin(origin.run.resolve(), origin.nets, origin.optimizers)}\n")
        return _run_all(folder, recipe, [], at_once, wandb)


def _make_room(folder: SeedsFolder) -> None:
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
) -> Outcome:
    """Continue the seeds of a folder: those that were stopped, and those that have not been started.

    Args:
        path: the folder.
        overrides: only of ``run`` (more frames, another evaluation interval).
        count: how many seeds there shall be now; new ones are added.
        at_once: see :func:`train_seeds`.
        wandb: see :func:`train_seeds`.

    Raises:
        RunError: there is nothing to continue, or the overrides change the recipe.
    """
    folder = SeedsFolder(path)
    if not folder.recipe.exists():
        raise RunError(f"{path} is no folder of seeds (it has no seeds.yaml).")
    for run in folder.runs.values():
        if Folder(run).recipe.exists():
            Folder(run).need_parts()
    with lock.sole_writer(path):
        recipe = load(folder.recipe, *overrides)
        refuse_other_recipe(recipe, load(folder.recipe).yaml())
        if count is not None:
            folder.add(range(recipe.run.seed, recipe.run.seed + count))
        if all(Folder(run).frames_saved() >= recipe.run.frames for run in folder.runs.values()):
            raise RunError(
                f"every seed in {path} is finished ({recipe.run.frames} frames); add some with --seeds, or go on with "
                "run.frames=... above that."
            )
        replace_text(folder.recipe, recipe.yaml())
        return _run_all(folder, recipe, list(overrides), at_once, wandb)


def _run_all(
    folder: SeedsFolder, recipe: Recipe, overrides: Sequence[str], at_once: int | None, wandb: str | None
) -> Outcome:
    """Run the seeds of a folder that have frames left, and return how all of them stand."""
    console, outcome = Console(markup=False, emoji=False), Outcome(folder)
    threads, wanted = recipe.run.threads or 1, recipe.run.frames
    given = ["--init", folder.init.read_text(encoding="utf-8").strip()] if folder.init.exists() else []
    known, processes = options(recipe.tree), []
    for seed, run in folder.runs.items():
        frames = Folder(run).frames_saved()
        if frames >= wanted:
            outcome.done.append(seed)
            continue
        with lock.sole_writer(run):  # it may be trained yet, by a process whose parent was killed
            if not frames and not is_free(run):
                _start_again(seed, run, console)
        new = [str(folder.recipe), f"run.seed={seed}", f"run.threads={threads}", "--folder", str(run), *given]
        words = ["--resume", str(run), *overrides] if frames else new
        processes.append(SeedProcess(seed, run, command_line([*words, *known], wandb)))
    with StopSignals() as stop, SeedsBoard(console, {each.seed: each.run for each in processes}, wanted) as board:
        run_side_by_side(processes, at_once or max(n_cores() // threads, 1), threads, stop, board)
    for each in processes:
        word = each.ending(Folder(each.run).frames_saved() >= wanted)
        if word == "failed":
            outcome.failed[each.seed] = each.last_words()
        else:
            (outcome.done if word == "done" else outcome.stopped).append(each.seed)
    outcome.done.sort()
    return outcome


def _start_again(seed: int, run: Path, console: Console) -> None:
    """Move what a seed without a checkpoint has to the next free name, and say so."""
    kept, number = run.with_name(f"{run.name}.old"), 2
    while kept.exists():
        kept, number = run.with_name(f"{run.name}.old{number}"), number + 1
    with writes(kept):
        run.rename(kept)
        (kept / lock.NAME).unlink(missing_ok=True)
        run.mkdir()
    text = f"seed {seed} has no checkpoint and starts again. What it had is kept in {kept}."
    console.print(text, highlight=False, soft_wrap=True)
