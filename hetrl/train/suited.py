"""Does a Trainer suit what was built: as many processes, the same device, its optimisers let alone, frames to train?"""

import copy
from typing import Any, NoReturn, Self

import torch
from lightning.pytorch.strategies import DDPStrategy

from hetrl.errors import RunError
from hetrl.ranks import Rank


def refuse_finished(frames: int, wanted: int) -> None:
    """Refuse a run that has its frames.

    Raises:
        RunError: it has.
    """
    if frames >= wanted:
        raise RunError(
            f"this run is finished ({frames} frames); to go on, build it with run.frames=... above that, and "
            "fit it from its checkpoint."
        )


def refuse_processes(trainer: Any, rank: Rank) -> None:
    """Refuse a Trainer with other processes than the recipe was built for, or one that starts them otherwise.

    Raises:
        RunError: it is one.
    """
    n_ranks = trainer.world_size
    if n_ranks != rank.count:
        raise RunError(
            f"Trainer(devices=...): it has {n_ranks} processes, and the recipe was built for {rank.count}; load it "
            f"with run.devices={n_ranks} (and run.nodes, with several machines), so that they share its environments."
        )
    if rank.count == 1:
        return
    strategy = trainer.strategy
    runs_again = isinstance(strategy, DDPStrategy) and strategy._start_method == "popen"
    if not runs_again or trainer.global_rank != rank.number:
        raise RunError(
            f"Trainer(strategy=...): with this {type(strategy).__name__} a process does not build the recipe itself; "
            "use strategy='ddp', which runs the script once for each of them (not ddp_spawn, ddp_fork or ddp_notebook: "
            "environments cannot be handed from one process to another)."
        )


def refuse_device(device: torch.device, collected: torch.device) -> None:
    """Refuse a Trainer on another device than the environments.

    Raises:
        RunError: with what to write.
    """
    if collected.type != device.type:
        raise RunError(
            f"the Trainer runs on {device.type} but the environments on {collected.type}; load the recipe "
            f"with run.device={device.type}, or use L.Trainer(accelerator='{collected.type}')."
        )
    if (collected.index or 0) != (device.index or 0):
        raise RunError(
            f"the Trainer runs on {device} but the environments on {collected}; load the recipe with "
            f"run.device={device}, or use L.Trainer(devices=[{collected.index or 0}])."
        )


def refuse_steering(trainer: Any) -> None:
    """Refuse a Trainer that would clip or add up gradients itself: Lightning's own refusal asks for another module.

    Raises:
        RunError: with the recipe's word for it.
    """
    if trainer.gradient_clip_val:
        raise RunError(
            f"Trainer(gradient_clip_val={trainer.gradient_clip_val}): each phase of a recipe clips its own gradients; "
            f"leave it away and write update.PHASE.optim.max_grad_norm={trainer.gradient_clip_val}."
        )
    if trainer.accumulate_grad_batches != 1:
        raise RunError(
            f"Trainer(accumulate_grad_batches={trainer.accumulate_grad_batches}): a batch is a whole collection here; "
            "leave it away, and for larger samples write data.frames=..., or data.batch=... with a replay buffer."
        )


class StaysHere:
    """Something that may be copied, and not handed to another process, as some strategies do before they ask anything.

    Raises:
        RunError: it is.
    """

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise RunError(
            "environments cannot be handed from one process to another, as Trainer(strategy='ddp_spawn') does; use "
            "run.devices=... and strategy='ddp', which runs the script once for each process."
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = memo[id(self)] = type(self).__new__(type(self))
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied
