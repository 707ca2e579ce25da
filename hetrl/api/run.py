"""A run as its user asks it: what it measured, what its policies do, how it looks."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hetrl.acting.policies import Policies
from hetrl.api.shown import Shown
from hetrl.data.environment import close
from hetrl.data.evaluate import Episodes
from hetrl.errors import HetrlError, RunError
from hetrl.export.export import Exported, export
from hetrl.recipe.read import load
from hetrl.recipe.schema import Recipe
from hetrl.report import page
from hetrl.report.curve import draw_runs
from hetrl.report.video import Film, default_file
from hetrl.runs.csv_table import FRAMES
from hetrl.runs.folder import LAST, Folder
from hetrl.runs.metrics import MetricsTable, joined
from hetrl.runs.restored import restored_actors
from hetrl.runs.run import evaluate_run, resume
from hetrl.runs.seeds import resume_seeds
from hetrl.runs.seeds_folder import SeedsFolder


class Run:
    """A run's folder, or one of several seeds, to ask and to take away.

    ```python
    run = hetrl.Run("runs/balance")
    run.metrics["eval/return"]
    run.evaluate("task.package_mass=20", episodes=100)
    ```

    A folder of seeds (``hetrl train --seeds``) has a run for each in :attr:`seeds`, is drawn as one curve
    (:meth:`plot`), and evaluated by :meth:`evaluate_seeds`. Everything else is asked of one of them.

    Args:
        path: the folder.

    Raises:
        RunError: there is no such folder, or it is no run's.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._seeds = SeedsFolder(self.path)
        if not self.path.exists():
            raise RunError(f"{self.path}: there is no such folder; a run's is what hetrl train printed at its end.")
        if not self._seeds.recipe.exists():
            Folder(self.path).refuse_if_empty()

    # ----- what it is

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe, as it was trained: of seeds, the first one's."""
        return load(self._seeds.recipe if self.is_seeds else Folder(self.path).recipe)

    @property
    def is_seeds(self) -> bool:
        """Whether this is a folder of seeds."""
        return self._seeds.recipe.exists()

    @property
    def seeds(self) -> "dict[int, Run]":
        """Seed -> its run, of those that have been started; empty where this is a single run."""
        begun = self._seeds.runs.items() if self.is_seeds else ()
        return {seed: Run(path) for seed, path in begun if Folder(path).recipe.exists()}

    @property
    def all_seeds(self) -> list[int]:
        """Every seed that there is to be, started or not; empty where this is a single run."""
        return list(self._seeds.runs) if self.is_seeds else []

    @property
    def frames(self) -> int:
        """Environment frames of the last checkpoint; 0 where there is none."""
        return self._folder("frames").frames_saved()

    @property
    def finished(self) -> bool:
        """Whether it has all the frames of its recipe; of seeds, whether every one has."""
        runs = list(self.seeds.values()) if self.is_seeds else [self]
        n_wanted = len(self.all_seeds) or 1
        return len(runs) == n_wanted and all(run.frames >= self.recipe.run.frames for run in runs)

    @property
    def metrics(self) -> MetricsTable:
        """What it has logged so far, as arrays: ``run.metrics["eval/return"]``, ``run.metrics.frames("eval/return")``.

        Raises:
            RunError: the table cannot be read.
        """
        return MetricsTable.of(self._folder("metrics").metrics)

    def table(self) -> dict[str, Any]:
        """Return the metrics as columns of equal length, NaN where nothing was logged: ``pandas.DataFrame(table)``.

        Of several seeds the rows follow one another, and a column ``seed`` says whose they are.
        """
        if not self.is_seeds:
            return self.metrics.table()
        each = {seed: run.table() for seed, run in self.seeds.items()}
        return joined({seed: {"seed": np.full(len(own[FRAMES]), seed), **own} for seed, own in each.items() if own})

    def __repr__(self) -> str:
        return f"<{self.path}: {self._about()}>"

    def _about(self) -> str:
        try:
            if self.is_seeds:
                return f"{self.recipe.name}, seeds {', '.join(map(str, self.all_seeds)) or 'none'}"
            text = f"{self.frames:,} of {self.recipe.run.frames:,} frames"
            values = self.metrics.get("eval/return", self.metrics.get("return"))
            return text if values is None else f"{text}, return {values[-1]:.4g}"
        except HetrlError as error:  # a repr tells what is wrong, and does not fail
            return str(error)

    # ----- what it does

    def evaluate(
        self, *overrides: str, episodes: int | None = None, stochastic: bool = False, seed: int | None = None,
        checkpoint: str = LAST,
    ) -> Episodes:  # fmt: skip
        """Run whole episodes with the policies of a checkpoint; the same ones every time.

        Args:
            overrides: changes to the task, such as ``"task.package_mass=20"``. Another number of agents will do where
                they share a policy.
            episodes: how many, by default ``run.n_eval_episodes``.
            stochastic: draw the actions; otherwise they are the deterministic ones.
            seed: of the initial states and the draws; by default the run's, as ``hetrl eval`` has it.
            checkpoint: which: ``last``, ``best``, ``previous``, or the one kept at these frames.

        Returns:
            ``returns``, ``lengths`` and, by agent, ``agent_returns``; ``[episodes]`` each.

        Raises:
            RecipeError: an override is wrong.
            RunError: there is no checkpoint, or its policies do not fit the changed task.
        """
        if self.is_seeds:
            raise RunError(f"{self.path} is a folder of seeds; evaluate_seeds(...) evaluates each.")
        texts = overrides if seed is None else (*overrides, f"run.seed={seed}")
        return evaluate_run(self.path, *texts, n_episodes=episodes, stochastic=stochastic, checkpoint=checkpoint)

    def evaluate_seeds(
        self, *overrides: str, episodes: int | None = None, stochastic: bool = False
    ) -> dict[int, Episodes]:
        """Return what :meth:`evaluate` does of each seed that has a checkpoint.

        Raises:
            RunError: this is a single run, or no seed has a checkpoint yet.
        """
        if not self.is_seeds:
            raise RunError(f"{self.path} is a single run; evaluate(...) it.")
        saved = {each: run for each, run in self.seeds.items() if run.frames}
        if not saved:
            raise RunError(f"{self.path}: no seed has a checkpoint yet.")
        given: dict[str, Any] = {"episodes": episodes, "stochastic": stochastic}
        return {each: run.evaluate(*overrides, **given) for each, run in saved.items()}

    def policies(
        self, *overrides: str, stochastic: bool = False, seed: int = 0, checkpoint: str = LAST
    ) -> Policies:  # fmt: skip
        """Return the policies of a checkpoint, on the CPU: ``action = run.policies()["agent_0"](observation)``.

        Args:
            overrides: changes to the task, as for :meth:`evaluate`.
            stochastic: draw the actions; otherwise they are the deterministic ones.
            seed: of the draws: the same seed draws the same actions.
            checkpoint: which, as for :meth:`evaluate`.

        Raises:
            RunError: there is no checkpoint, or its policies do not fit the changed task.
        """
        texts = (*overrides, "run.device=cpu", "run.n_eval_episodes=1")
        _, linked, env = restored_actors(self._folder("policies").path, *texts, checkpoint=checkpoint)
        close(env)
        return Policies(linked.team, linked.policy, seed if stochastic else None)

    def export(
        self, to: str | os.PathLike[str], *overrides: str, format: Literal["onnx", "torch"] = "onnx",
        stochastic: bool = False, checkpoint: str = LAST,
    ) -> Exported:  # fmt: skip
        """Write the policies into a folder that needs neither hetrl nor (``onnx``) torch.

        Every file is run against the policy that it comes from; see :func:`hetrl.export.export.export`.

        Args:
            to: a new folder.
            overrides: changes to the task, as for :meth:`evaluate`.
            format: ``onnx``, or ``torch`` for what ``torch.export.load`` reads.
            stochastic: with actions that are drawn; otherwise they are the deterministic ones.
            checkpoint: which, as for :meth:`evaluate`.

        Raises:
            RunError: the folder is taken, or there is no checkpoint, or a file gives other actions than its policy.
            DependencyError: ``onnx`` without the packages that write and run it.
        """
        asked: dict[str, Any] = {"format": format, "stochastic": stochastic, "checkpoint": checkpoint}
        return export(self._folder("export").path, Path(to), *overrides, **asked)

    def resume(self, *overrides: str, quiet: bool = False) -> "Run":
        """Train on from the last checkpoint, bit for bit on the CPU; of seeds, each that has frames left.

        Args:
            overrides: only of ``run``, such as ``"run.frames=1_000_000"``.
            quiet: no progress.

        Raises:
            RunError: there is nothing to continue, or an override changes the recipe.
        """
        if self.is_seeds:
            resume_seeds(self.path, *overrides).refuse_failures()
        else:
            resume(self.path, *overrides, quiet=quiet)
        return Run(self.path)

    # ----- how it looks

    def plot(self, metric: str | None = None, to: str | os.PathLike[str] | None = None) -> Shown:
        """Draw its learning curve, of seeds their mean; a notebook shows it.

        Args:
            metric: a name of :attr:`metrics`; by default ``eval/return``, or ``return`` where nothing is evaluated.
            to: the picture; by default ``curve.png`` in its folder.
        """
        return Shown(draw_runs([self.path], metric, Path(to) if to is not None else self.path / "curve.png"))

    def report(self, to: str | os.PathLike[str] | None = None) -> Shown:
        """Write its page, which needs nothing else; a notebook shows it.

        Args:
            to: the page; by default ``report.html`` in its folder.
        """
        folder = self._folder("report").path
        return Shown(page.write(folder, Path(to) if to is not None else folder / "report.html"))

    def film(self, to: str | os.PathLike[str] | None = None, *overrides: str) -> Shown:
        """Film an episode of the last checkpoint's policies; a notebook shows it.

        Args:
            to: an ``.mp4`` or a ``.gif``; by default ``episode.mp4`` in its folder.
            overrides: changes to the task, as for :meth:`evaluate`.
        """
        folder = self._folder("film").path
        film = Film(Path(to) if to is not None else default_file(folder))
        with film:
            evaluate_run(folder, *overrides, watch=film)
        return Shown(film.path)

    def _folder(self, asked: str) -> Folder:
        """Return the folder of a single run.

        Raises:
            RunError: this is a folder of seeds.
        """
        if self.is_seeds:
            some = list(self.seeds)
            one = f"ask one of them, run.seeds[{some[0]}].{asked}" if some else "none has been started"
            raise RunError(f"{self.path} is a folder of seeds; {one}.")
        return Folder(self.path)
