"""The processes of a run: every number that is a mean over samples goes through here, and is that of all of them.

R *ranks* with a share of the environments each train like one process with all of them: nets and orders have the
common seed, whatever draws has a stream of its rank, and what is a mean over a rank's samples becomes the mean over
everybody's, in one exchange for several numbers. A rank alone exchanges nothing, and gets back the tensors it gave.

Who starts the processes and makes their group is Lightning's business (``Trainer(devices=R, strategy="ddp")``).
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from hetrl.errors import RecipeError, RunError


@dataclass(frozen=True)
class Rank:
    """Which of a run's processes this is."""

    number: int = 0
    """From 0 on; the first one evaluates, logs, and writes the folder."""
    count: int = 1
    local: int = 0
    """Which of those on its machine: the number of its GPU."""

    @classmethod
    def here(cls, devices: int, nodes: int = 1) -> "Rank":
        """Return this process's rank, also before there is a group: as whoever started it says it.

        Args:
            devices: processes on each machine.
            nodes: machines.
        """
        count = devices * nodes
        if count == 1:
            return cls()
        number = _number(devices, count)
        return cls(number, count, number % devices)

    @property
    def first(self) -> bool:
        """Whether it is the one that evaluates, logs, and writes the folder."""
        return self.number == 0

    @property
    def saved(self) -> dict[str, int]:
        """What a checkpoint says of it."""
        return {"number": self.number, "count": self.count}

    @property
    def words(self) -> tuple[str, ...]:
        """What sets its streams apart, for :func:`hetrl.rng.derive`; nothing where it is alone."""
        return () if self.count == 1 else (f"rank{self.number}",)

    def part(self, amount: int, what: str) -> int:
        """Return its part of an amount of the recipe.

        Raises:
            RecipeError: it cannot be shared evenly.

        >>> Rank(1, 4).part(64, "task.n_envs")
        16
        """
        if amount % self.count:
            nearest = max(1, round(amount / self.count)) * self.count
            raise RecipeError(
                f"{what} = {amount} must be a multiple of {self.count}, the processes that share it (run.devices); "
                f"nearest: {nearest}."
            )
        return amount // self.count


ALONE = Rank()


def _number(devices: int, count: int) -> int:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank()
    told = os.environ
    if "RANK" in told:  # torchrun
        return int(told["RANK"])
    if "LOCAL_RANK" not in told and int(told.get("SLURM_NTASKS", 1)) == count:  # srun
        return int(told.get("SLURM_PROCID", 0))
    node = int(told.get("NODE_RANK", told.get("GROUP_RANK", 0)))
    return node * devices + int(told.get("LOCAL_RANK", 0))


class LostError(RunError):
    """Another process of the run is gone."""


_together = False
"""Whether numbers are exchanged now: while several processes fit, but not in what one of them does alone."""


def several() -> bool:
    """Whether this process exchanges numbers with others."""
    return _together


def count() -> int:
    """How many processes exchange numbers."""
    return dist.get_world_size() if _together else 1


def join() -> None:
    """From now on exchange numbers with the other processes of the group, where there are any."""
    global _together
    _together = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def leave() -> None:
    """From now on exchange nothing."""
    global _together
    _together = False


@contextmanager
def by_itself() -> Iterator[None]:
    """Exchange nothing inside: what is done there, one process does alone."""
    global _together
    before, _together = _together, False
    try:
        yield
    finally:
        _together = before


# ----- numbers of samples


def total(x: Tensor) -> Tensor:
    """Return the sum over the ranks.

    Raises:
        RunError: a gradient would have to pass to the other ranks, or one of them is gone.
    """
    return _summed(x) if several() else x


def mean(x: Tensor) -> Tensor:
    """Return the mean over the ranks: of means over as many samples each, that over all samples."""
    return _summed(x) / dist.get_world_size() if several() else x


def totals(parts: Sequence[Tensor]) -> list[Tensor]:
    """Return each tensor's sum over the ranks, in one exchange."""
    if not several():
        return list(parts)
    return _apart(_summed(_joined(parts)), parts)


def means(parts: Sequence[Tensor]) -> list[Tensor]:
    """Return each tensor's mean over the ranks, in one exchange."""
    if not several():
        return list(parts)
    return _apart(_summed(_joined(parts)) / dist.get_world_size(), parts)


def each(x: Tensor) -> Tensor:
    """Return what every rank gave, by rank, ``[R, *]``."""
    if not several():
        return x.unsqueeze(0)
    whole = x.new_zeros((dist.get_world_size(), *x.shape))
    whole[dist.get_rank()] = x
    return _summed(whole)


def gathering() -> Callable[[Tensor], Tensor] | None:
    """Return :func:`each` where there are several processes, and nothing where there is one."""
    return each if _together else None


def either(flag: bool, device: torch.device) -> bool:
    """Return whether any rank says so. It waits for the device, where there are several."""
    return bool(_summed(torch.tensor([float(flag)], device=device))) if several() else flag


def from_first(value: Any) -> Any:
    """Return what the first rank gave: plain numbers and texts."""
    if not several():
        return value
    box = [value]
    asked(dist.broadcast_object_list, box)
    return box[0]


def everybodys(value: Any) -> list[Any]:
    """Return what every rank gave, by rank: plain numbers and texts."""
    if not several():
        return [value]
    box = [None] * dist.get_world_size()
    asked(dist.all_gather_object, box, value)
    return box


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def _apart(whole: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    pieces = whole.split([part.numel() for part in like])
    pairs = [(piece.view(part.shape), part) for piece, part in zip(pieces, like, strict=True)]
    # A mean of whole numbers is none.
    return [piece.to(part.dtype) if part.is_floating_point() else piece for piece, part in pairs]


def _summed(x: Tensor) -> Tensor:
    if x.requires_grad and torch.is_grad_enabled():
        raise RunError(
            "run.devices: a mean over all samples is asked for that a gradient would have to pass through, to the "
            "samples of other processes; write the step that makes it in before or prepare, or train on one process."
        )
    if torch.compiler.is_compiling():
        from torch.distributed import _functional_collectives as traced

        everybody: Any = dist.group.WORLD
        return traced.wait_tensor(traced.all_reduce(x, "sum", everybody))
    if x.is_cuda and torch.cuda.is_current_stream_capturing():
        raise RuntimeError("processes of a run exchange numbers in it")
    x = x.clone()
    asked(dist.all_reduce, x)
    return x


def asked(exchange: Callable[..., Any], *given: Any) -> Any:
    """Return what an exchange returns.

    Raises:
        LostError: another process is gone.
    """
    try:
        return exchange(*given)
    except RuntimeError as error:
        raise LostError(
            f"one of the {dist.get_world_size()} processes of this run is gone: it has said why, unless it was killed. "
            "The last checkpoint is whole; go on with hetrl train --resume RUN."
        ) from error
