"""Several seeds of one recipe, each in a process of its own, side by side in one folder."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch
from rich.console import Console

from hetrl.errors import RunError
from hetrl.recipe.check import check
from hetrl.recipe.read import load
from hetrl.recipe.schema import Recipe
from hetrl.runs.board import SeedsBoard
from hetrl.runs.run import Folder, default_folder
from hetrl.train.build import make_env, resolve_device
from hetrl.train.learner import refuse_other_recipe

_POLL = 0.2
"""Seconds between two looks at the processes."""


@dataclass(frozen=True)
class SeedsFolder:
    """Where the runs of several seeds lie: ``seed0``, ``seed1``, ... with what they printed in ``seed0.log``, ..."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe of the first seed; its presence makes a folder one of seeds."""
        return self.path / "seeds.yaml"

    @property
    def runs(self) -> dict[int, Path]:
        """Seed -> its run's folder, which is empty until it is started."""
        numbers = {path.name.removeprefix("seed"): path for path in self.path.glob("seed*") if path.is_dir()}
        return {int(number): numbers[number] for number in sorted(filter(str.isdecimal, numbers), key=int)}

    def add(self, seeds: Sequence[int]) -> None:
        """Make room for seeds."""
        for seed in seeds:
            (self.path / f"seed{seed}").mkdir(parents=True, exist_ok=True)


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
    recipe: Recipe, count: int, path: Path | None = None, *, at_once: int | None = None, wandb: str | None = None
) -> Outcome:
    """Train a recipe with ``count`` seeds from its own upwards, in a new folder.

    Args:
        recipe: what to train.
        count: how many seeds.
        path: the folder; by default a new one under ``runs/``.
        at_once: processes; by default as many as there are cores for their threads.
        wandb: a Weights & Biases project to log to as well.

    Raises:
        RecipeError: the recipe does not link.
        RunError: the folder is taken.
    """
    check(recipe, make_env(recipe, resolve_device("cpu"), 0, n_envs=1).team)  # before anything is written
    resolve_device(recipe.run.device)
    folder = SeedsFolder(path or default_folder(recipe, seeds=True))
    if folder.path.exists() and any(folder.path.iterdir()):
        if not folder.recipe.exists():
            raise RunError(f"{folder.path} exists and is no folder of seeds; choose another --folder.")
        raise RunError(
            f"{folder.path} holds seeds already; continue them with --resume {folder.path}, or choose another --folder."
        )
    folder.add(range(recipe.run.seed, recipe.run.seed + count))
    folder.recipe.write_text(recipe.yaml())
    return _run(folder, recipe, [], at_once, wandb)


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
    recipe = load(folder.recipe, *overrides)
    refuse_other_recipe(recipe, folder.recipe.read_text())
    if count is not None:
        folder.add(range(recipe.run.seed, recipe.run.seed + count))
    if all(frames_of(run) >= recipe.run.frames for run in folder.runs.values()):
        raise RunError(
            f"every seed in {path} is finished ({recipe.run.frames} frames); add some with --seeds, or go on with "
            "run.frames=... above that."
        )
    folder.recipe.write_text(recipe.yaml())
    return _run(folder, recipe, list(overrides), at_once, wandb)


def frames_of(run: Path) -> int:
    """Return the frames of a run's last checkpoint, without reading its tensors; 0 where it has none."""
    checkpoint = Folder(run).checkpoint
    if not checkpoint.exists():
        return 0
    try:
        return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["hetrl"]["frames"])
    except Exception as error:
        raise RunError(f"{checkpoint} cannot be read as a checkpoint: {error}.") from error


@dataclass
class _Seed:
    """One seed's process."""

    seed: int
    run: Path
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    told: bool = False
    """Whether it was told to stop while it still ran."""

    @property
    def log(self) -> Path:
        return self.run.with_name(self.run.name + ".log")

    def start(self, threads: int) -> None:
        # A session of its own: Ctrl-C in the terminal reaches this process alone, which then tells each seed once.
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ, "COLUMNS": "200"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment,
                start_new_session=True,
            )  # fmt: skip

    def interrupt(self) -> None:
        # Not SIGINT: a shell's background jobs ignore that one from birth on.
        if self.process is not None and self.process.poll() is None:
            self.told = True
            self.process.send_signal(signal.SIGTERM)

    def ending(self, finished: bool) -> str:
        """Return ``done``, ``stopped`` or ``failed``; what was never started counts as stopped."""
        code = None if self.process is None else self.process.returncode
        if code == 0:
            return "done" if finished else "stopped"
        return "stopped" if code is None or (self.told and code != 2) else "failed"  # 2: hetrl refused something

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _run(folder: SeedsFolder, recipe: Recipe, overrides: list[str], at_once: int | None, wandb: str | None) -> Outcome:
    console, outcome = Console(markup=False, emoji=False), Outcome(folder)
    threads, wanted = recipe.run.threads or 1, recipe.run.frames
    seeds = []
    for seed, run in folder.runs.items():
        frames = frames_of(run)
        if frames >= wanted:
            outcome.done.append(seed)
            continue
        if not frames and any(run.iterdir()):
            kept = _moved_aside(run)
            text = f"seed {seed} has no checkpoint and starts again. What it had is kept in {kept}."
            console.print(text, highlight=False, soft_wrap=True)
            run.mkdir()
        new = [str(folder.recipe), f"run.seed={seed}", f"run.threads={threads}", "--folder", str(run)]
        words = ["--resume", str(run), *overrides] if frames else new
        seeds.append(_Seed(seed, run, _command(words, wandb)))
    with _Stop() as stop, SeedsBoard(console, {each.seed: each.run for each in seeds}, wanted) as board:
        _work(seeds, at_once or max(_cores() // threads, 1), threads, stop, board)
    for each in seeds:
        word = each.ending(frames_of(each.run) >= wanted)
        if word == "failed":
            outcome.failed[each.seed] = each.last_words()
        else:
            (outcome.done if word == "done" else outcome.stopped).append(each.seed)
    outcome.done.sort()
    return outcome


def _moved_aside(run: Path) -> Path:
    """Rename a folder to the next free name, and return that."""
    kept, number = run.with_name(f"{run.name}.old"), 2
    while kept.exists():
        kept, number = run.with_name(f"{run.name}.old{number}"), number + 1
    return run.rename(kept)


def _command(words: list[str], wandb: str | None) -> list[str]:
    """Return the command line that trains one seed; what lies in the current folder is not imported."""
    more = [] if wandb is None else ["--wandb", wandb]
    return [sys.executable, "-P", "-m", "hetrl.cli", "train", *words, *more]


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _work(seeds: list[_Seed], n_processes: int, threads: int, stop: "_Stop", board: SeedsBoard) -> None:
    """Run the seeds, ``n_processes`` at once, until all have ended or a stop was asked for."""
    waiting = list(seeds)
    try:
        while waiting or stop.running:
            while waiting and len(stop.running) < n_processes and not stop.asked:
                seed = waiting.pop(0)
                stop.running.append(seed)
                seed.start(threads)
                if stop.asked:  # while it was being started
                    seed.interrupt()
            time.sleep(_POLL)
            ended = [seed for seed in stop.running if seed.process is not None and seed.process.poll() is not None]
            board.update([seed.seed for seed in stop.running])
            for seed in ended:
                stop.running.remove(seed)
                board.end(seed.seed, seed.ending)
            if stop.asked:
                waiting.clear()
    finally:
        stop.forward()  # nothing goes on alone


class _Stop:
    """Hands Ctrl-C (or SIGTERM, or a closed terminal) on to the seeds: each finishes its batch and saves."""

    def __init__(self) -> None:
        self.asked = 0
        self.running: list[_Seed] = []
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        def stop(number: int, frame: FrameType | None) -> None:
            self.asked += 1
            self.forward()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._previous[number] = signal.signal(number, stop)
        return self

    def forward(self) -> None:
        """Interrupt every running seed."""
        for seed in self.running:
            seed.interrupt()

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
