"""The study of a search: Optuna's, with its journal in the search's folder."""

from typing import Any

import numpy as np

from hetrl.disk import writes
from hetrl.errors import DependencyError, RunError, nearest
from hetrl.search.search_folder import SearchFolder, SearchWords

PRUNERS = ("halving", "median", "none")
"""Stop what is not among the best third after a ninth and after a third of the frames; what is below the median of the
trials before it; or nothing."""
_NAME = "search"
_FACTOR = 3
_RUNGS = 2


class _FoldersLock:
    """No lock of Optuna's: the folder has one writer already, and its file would outlive a killed process."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def require_optuna() -> Any:
    """Return Optuna, which then says nothing but warnings.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise DependencyError("hetrl search needs Optuna: pip install 'hetrl[search]'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def refuse_pruner(name: str) -> None:
    """Refuse a way of pruning that there is not.

    Raises:
        RunError: naming those that there are.
    """
    if name not in PRUNERS:
        raise RunError(f"--prune {name}: there is {', '.join(PRUNERS)}.{nearest(name, PRUNERS)}")


def begun_study(folder: SearchFolder, words: SearchWords, frames: int) -> Any:
    """Return the study of a search, new or with all that its journal has.

    Args:
        folder: the search's; the caller is its sole writer.
        words: what it was asked for.
        frames: of a whole run; how far a run has come is counted in frames.
    """
    optuna = require_optuna()
    _mend(folder)
    first = max(frames // _FACTOR**_RUNGS, 1)
    pruner = {
        "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=_FACTOR),
        "median": lambda: optuna.pruners.MedianPruner(n_warmup_steps=first),
        "none": optuna.pruners.NopPruner,
    }[words.prune]()
    direction = "minimize" if words.minimize else "maximize"
    return optuna.create_study(
        storage=_storage(folder), study_name=_NAME, load_if_exists=True, direction=direction, pruner=pruner
    )


def known_study(folder: SearchFolder) -> Any:
    """Return the study of a search to look at; it may go on meanwhile.

    Raises:
        RunError: no trial has been begun.
    """
    optuna = require_optuna()
    try:
        return optuna.load_study(storage=_storage(folder), study_name=_NAME)
    except KeyError:
        raise RunError(f"no trial has been begun in {folder.path}; hetrl search --resume {folder.path}.") from None


def seeded(study: Any, seed: int, number: int) -> None:
    """Let a trial be drawn from seed, number, and what is known by then: the same whether or not there was a stop."""
    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    study.sampler = require_optuna().samplers.TPESampler(seed=own)


def _storage(folder: SearchFolder) -> Any:
    storages = require_optuna().storages
    try:
        with writes(folder.journal):
            backend = storages.journal.JournalFileBackend(str(folder.journal), lock_obj=_FoldersLock())
            return storages.JournalStorage(backend)
    except ValueError as error:
        raise RunError(f"{folder.journal} is no journal of Optuna's ({error}); begin a new search.") from None


def _mend(folder: SearchFolder) -> None:
    """Cut off a last line that a kill left half written: Optuna would write on behind it."""
    if folder.journal.exists():
        with writes(folder.journal), folder.journal.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
