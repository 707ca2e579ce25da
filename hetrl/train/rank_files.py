"""What each process of a run saves beside its checkpoint, and what another one goes on with.

A checkpoint is the first process's: weights, optimisers and progress, which are everybody's, and its own simulator,
replay and random streams. The others write theirs to ``ranks/MARK-NUMBER.ckpt`` beside it, before it: the mark, which
the checkpoint names, is new each time, so that no checkpoint ever finds the files of another.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hetrl.ranks import Rank
from hetrl.train.checkpoint_file import Checkpoint, read, write

FOLDER = "ranks"
COLLECTION = "Collection"
"""Where Lightning keeps the state of the data."""
_STREAMS = ("generator", "global")
"""What a process draws from, in what the module saves."""


def note(checkpoint: Checkpoint, mark: str) -> None:
    """Write down in a checkpoint under which mark the files of its processes are."""
    checkpoint["hetrl"]["ranks"]["mark"] = mark


def write_own(checkpoint: Checkpoint, path: Path, mark: str, rank: Rank) -> None:
    """Write what is this process's own of what it would save.

    Args:
        checkpoint: all of it.
        path: of the checkpoint that the first process writes.
        mark: of that checkpoint.
        rank: which process this is; the first one's is in the checkpoint itself.

    Raises:
        RunError: it cannot be written.
    """
    if not rank.first:
        write({"hetrl": checkpoint["hetrl"], COLLECTION: checkpoint[COLLECTION]}, _place(path, mark, rank.number))


def of_process(checkpoint: Checkpoint, path: Path, rank: Rank) -> Checkpoint:
    """Return a checkpoint as one process goes on from it.

    Of as many processes it is what that process saved. Of another number its data is what all have stored, under
    ``sources``, for the process to take its part of.

    Args:
        checkpoint: the first process's.
        path: where it lies.
        rank: which process goes on.

    Raises:
        RunError: the file of another process is missing or damaged.
    """
    saved = checkpoint["hetrl"].get("ranks", {})
    n_ranks, mark = saved.get("count", 1), saved.get("mark")
    if n_ranks == rank.count:
        if rank.first or mark is None:
            return checkpoint
        own = read(_place(path, mark, rank.number))
        return {**checkpoint, "hetrl": {**checkpoint["hetrl"], **_own(own["hetrl"])}, COLLECTION: own[COLLECTION]}
    others = [] if mark is None else [read(_place(path, mark, number), mmap=True) for number in range(1, n_ranks)]
    try:
        sources = [each[COLLECTION]["source"] for each in (checkpoint, *others)]
        return {**checkpoint, COLLECTION: {**checkpoint[COLLECTION], "sources": sources}}
    except (KeyError, TypeError):
        return checkpoint  # it is refused where it is held against what it would be loaded into


def is_dealt(checkpoint: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint's data is of another number of processes, for each to take its part of."""
    collected = checkpoint.get(COLLECTION)
    return isinstance(collected, dict) and "sources" in collected


def _own(saved: dict[str, Any]) -> dict[str, Any]:
    return {word: saved[word] for word in (*_STREAMS, "ranks")}


def taken_anew(saved: dict[str, Any], rank: Rank) -> str:
    """Return the line that says what does not go on where other processes go on from a checkpoint."""
    return (
        f"the checkpoint is of {_processes(saved.get('count', 1))} and goes on in {_processes(rank.count)}: weights, "
        "optimisers, statistics, orders and what replay has stored are taken over; simulators, with the episodes under "
        "way, and random streams begin anew."
    )


def _processes(count: int) -> str:
    return "one process" if count == 1 else f"{count} processes"


def forget_unused(folder: Path) -> None:
    """Remove the files of processes that no checkpoint in a folder names any more."""
    files = list((folder / FOLDER).glob("*.ckpt"))
    if files:
        used = {_mark(path) for path in folder.glob("*.ckpt")}
        for file in files:
            if file.stem.rpartition("-")[0] not in used:
                file.unlink(missing_ok=True)


def _mark(path: Path) -> str | None:
    """Return the mark that a checkpoint names; nothing of it is read besides."""
    found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return found["hetrl"].get("ranks", {}).get("mark")


def _place(path: Path, mark: str, number: int) -> Path:
    return path.parent / FOLDER / f"{mark}-{number}.ckpt"
