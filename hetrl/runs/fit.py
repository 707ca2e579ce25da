"""A module is fitted into a run's folder; of several processes each calls this, and the first one writes."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger

from hetrl import ranks
from hetrl.disk import replace_text
from hetrl.ranks import ALONE
from hetrl.recipe.keep import Keep
from hetrl.recipe.schema import Recipe
from hetrl.runs.csv_table import CsvTable
from hetrl.runs.folder import Folder
from hetrl.train.begun import Begun
from hetrl.train.board import silent_threads
from hetrl.train.callbacks import Checkpoints, GracefulStop
from hetrl.train.checkpoint_file import CheckpointFiles
from hetrl.train.collection import Collection
from hetrl.train.keeping import Keeping
from hetrl.train.learner import Learner
from hetrl.train.processes import JoinedProcesses, environment
from hetrl.train.timings import Timings


def fit(
    folder: Folder,
    module: Learner,
    data: Collection,
    resumed: tuple[Path, int] | None,
    loggers: Sequence[Logger],
    callbacks: Sequence[L.Callback],
    files: CheckpointFiles | None = None,
) -> Folder:
    """Train into a folder; ``resumed`` says from which checkpoint, and at which frames it stands.

    Returns:
        The folder, of several processes that of the first one: it alone may have chosen a name.
    """
    checkpoint, frames = resumed or (None, None)
    note = _Note(folder, module)
    begun = Begun(note.take)
    restoring = nullcontext() if checkpoint is None else begun.restoring(checkpoint)
    with _lightning_quiet(), silent_threads(), restoring:
        own = [begun, GracefulStop(), *_saving(folder, module.recipe)]
        if module.rank.first:
            own.append(Timings(CsvTable(folder.timings, frames)))
        trainer = _trainer(folder, module, data, loggers, [*own, *callbacks], files or CheckpointFiles())
        try:
            trainer.fit(module, data, ckpt_path=str(checkpoint) if checkpoint else None, weights_only=True)
        except ranks.LostError:
            if module.rank.first:
                raise
            raise SystemExit(2) from None  # the first one says it
    return note.folder


def _saving(folder: Folder, recipe: Recipe) -> list[L.Callback]:
    """Return who writes checkpoints."""
    run, place = recipe.run, folder.checkpoint.parent
    keep = Keep.parse(run.keep)
    keeping = [] if keep == Keep() else [Keeping(place, keep)]
    return [*keeping, Checkpoints(place, run.checkpoint_every or max(run.frames // 20, 1))]


def _trainer(
    folder: Folder,
    module: Learner,
    data: Collection,
    loggers: Sequence[Logger],
    callbacks: list[L.Callback],
    files: CheckpointFiles,
) -> L.Trainer:
    run, alone, on_gpu = module.recipe.run, module.rank == ALONE, data.device.type == "cuda"
    return L.Trainer(
        max_epochs=-1,
        accelerator="gpu" if on_gpu else "cpu",
        devices=[data.device.index or 0] if alone and on_gpu else run.devices,
        num_nodes=run.nodes,
        strategy="auto" if alone else JoinedProcesses(),
        logger=list(loggers),
        callbacks=callbacks,
        plugins=[environment(module.rank), files],
        enable_checkpointing=any(isinstance(each, Checkpoint) for each in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        default_root_dir=str(folder.path),
    )


class _Note:
    """Writes down what goes on: the recipe, and the files of its parts as they are now."""

    def __init__(self, folder: Folder, module: Learner) -> None:
        self.folder, self._module = folder, module

    def take(self) -> None:
        self.folder = Folder(Path(ranks.from_first(str(self.folder.path))))
        if self._module.rank.first:
            replace_text(self.folder.recipe, self._module.recipe.yaml())
            self.folder.keep_parts()


@contextmanager
def _lightning_quiet() -> Iterator[None]:
    """Leave out what Lightning says about other kinds of training."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # a deprecation between it and torch
            warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
            warnings.filterwarnings("ignore", message=r".*following callbacks: \['Keeping'\].*")  # run.keep may change
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
