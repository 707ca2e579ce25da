"""How large a run's checkpoints will be, known before there is one."""

import math
from typing import Any

import torch
from torch import Tensor

from hetrl.team import Box
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
    state = source.state_dict()
    n_steps = min(ring.n_slots, math.ceil(data.frames / data.rank.count / ring.n_envs))
    seen = [*state["observation"].values(), *(each for parts in state["masks"].values() for each in parts.values())]
    flags = 2 * ring.n_envs
    done = 0
    for agents in source._team.layout.values():
        action = agents[0].action
        size = 4 * action.size if isinstance(action, Box) else torch.int64.itemsize * len(action.choices)
        done += ring.n_envs * len(agents) * (size + torch.float32.itemsize)
    return n_steps * (2 * sum(map(_bytes, seen)) + done + flags)
