"""How large a run's checkpoints will be, known before there is one."""

import math
from typing import Any

from torch import Tensor

from hetrl.data.replay import transition_bytes
from hetrl.train.collection import Collection
from hetrl.train.learner import Learner

_MOMENTS = 2
"""Of an optimiser, for each parameter."""


def checkpoint_bytes(module: Learner, data: Collection) -> int:
    """Return about how many bytes a checkpoint has once the run is over: weights, moments, what is stored."""
    weights = sum(_bytes(value) for value in [*module.parameters(), *module.buffers()])
    trained = [each for phase in module.phases for optimizer in phase.optimizers.values()
               for group in optimizer.param_groups for each in group["params"]]  # fmt: skip
    return weights + _MOMENTS * sum(map(_bytes, trained)) + _replay_bytes(data)


def large(module: Learner, data: Collection, least: int = 1 << 30) -> str | None:
    """Return a line about the size of checkpoints of more than ``least`` bytes; None where they are smaller."""
    size = checkpoint_bytes(module, data)
    if size <= least:
        return None
    return (
        f"A checkpoint will have about {size / 2**30:.1f} GiB, and up to three lie on the disk at once; fewer are "
        "written with run.checkpoint_every, smaller ones with data.capacity or data.save=false."
    )


def _bytes(value: Tensor) -> int:
    return value.numel() * value.element_size()


def _replay_bytes(data: Collection) -> int:
    """Return how many bytes a full replay buffer takes: what was seen, done and earned, and what came of it."""
    source: Any = data.source
    ring = getattr(source, "ring", None)
    if ring is None or not getattr(source, "save", True):
        return 0
    n_steps = min(ring.n_slots, math.ceil(data.frames / ring.n_envs))
    masks = {f"agent.{word}" for word in source.state_dict()["masks"]}
    return n_steps * ring.n_envs * transition_bytes(source._team, masks)
