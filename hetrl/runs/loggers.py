"""Who writes a run's figures down."""

from lightning.pytorch.loggers import Logger, WandbLogger

from hetrl.errors import DependencyError
from hetrl.runs.csv_table import CsvTable
from hetrl.runs.folder import Folder
from hetrl.train.board import Board


def loggers_of(folder: Folder, resumed: int | None, wandb: str | None) -> list[Logger]:
    """Return who writes the metrics down: the table, TensorBoard, and a project of Weights & Biases where one is named.

    Rows after frame ``resumed`` are dropped: they come again.
    """
    own: list[Logger] = [
        CsvTable(folder.metrics, resumed),
        Board(str(folder.path), name="", version="tensorboard", purge_step=resumed),
    ]
    if wandb is None:
        return own
    return [*own, WandbLogger(project=wandb, name=folder.path.name, save_dir=str(folder.path))]


def require_wandb(project: str | None) -> None:
    """Refuse a project of Weights & Biases where that is not installed."""
    if project is None:
        return
    try:
        import wandb  # noqa: F401
    except ImportError:
        raise DependencyError("--wandb needs Weights & Biases: pip install 'hetrl[wandb]'.") from None
