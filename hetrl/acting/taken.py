"""What a caller hands to a policy, as the tensors that it takes; and back again, of the caller's kind."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hetrl.errors import RunError
from hetrl.team import Agent, Box


@dataclass(frozen=True)
class Taken:
    """Rows for a policy, ``[B, F]`` on the CPU, and what their caller works with."""

    rows: Tensor
    single: bool
    """Whether the caller gave one row without a batch dimension."""
    device: torch.device | None
    """The caller's tensors' device; None where they are numpy's arrays."""

    def given_back(self, rows: Tensor) -> Any:
        """Return rows ``[B, *]`` as the caller's kind: numpy or torch, one row or the batch."""
        value = rows[0] if self.single else rows
        if self.device is not None:
            return value.to(self.device)
        return value.numpy() if value.ndim else value.numpy()[()]  # a number, as numpy's functions give one


def take_observation(agent: Agent, observation: Any) -> Taken:
    """Return what an agent sees as rows.

    Raises:
        RunError: it is no array of numbers, or of another size, or a number in it is not finite.
    """
    who = f"the policy of '{agent.name}'"
    tensor, device = _tensor(observation, f"{who} was given an observation")
    shape, flat = agent.observation_shape, (agent.observation_size,)
    single = tuple(tensor.shape) in (shape, flat)
    if not single and tuple(tensor.shape[1:]) not in (shape, flat):
        sizes = ", ".join(map(str, shape))
        raise RunError(
            f"{who} takes an observation of shape [{sizes}], or a batch [B, {sizes}]; it was given "
            f"{list(tensor.shape)}."
        )
    rows = tensor.reshape(1 if single else len(tensor), agent.observation_size)
    return Taken(_of_its_type(agent, rows, who), single, device)


def _of_its_type(agent: Agent, rows: Tensor, who: str) -> Tensor:
    """Return rows as the policy has them, numbers or an image's bytes.

    Raises:
        RunError: a number is not finite, or no byte where the agent sees images.
    """
    if rows.dtype == agent.observation_dtype:
        found = rows
    elif agent.observation_dtype == torch.uint8:
        raise RunError(f"{who} sees images, bytes from 0 to 255 (uint8); it was given {rows.dtype}.")
    else:
        found = rows.to(agent.observation_dtype)
    bad = (~found.isfinite()).nonzero()
    if len(bad):
        row, entry = bad[0].tolist()
        raise RunError(f"{who} was given an observation with {found[row, entry]:g} (row {row}, entry {entry}).")
    return found


def take_mask(agent: Agent, action_mask: Any, seen: Taken) -> Tensor | None:
    """Return which options an agent may choose, ``[B, options]`` bool; None where none is given.

    Raises:
        RunError: the agent has no options, or there are more or fewer of them or of their rows, or a choice has none.
    """
    if action_mask is None:
        return None
    who = f"the policy of '{agent.name}'"
    if isinstance(agent.action, Box):
        raise RunError(f"{who} steers ({agent.action}), and takes no action_mask; leave it out.")
    mask = _tensor(action_mask, f"{who} was given an action_mask")[0] != 0
    options = sum(agent.action.choices)
    wanted = ([] if seen.single else [len(seen.rows)]) + [options]
    if list(mask.shape) != wanted:
        raise RunError(
            f"{who} has {options} options ({agent.action}): its action_mask beside this observation has shape "
            f"{wanted}; it was given {list(mask.shape)}."
        )
    rows = mask.unsqueeze(0) if seen.single else mask
    for choice, part in enumerate(rows.split(list(agent.action.choices), -1)):
        shut = (~part.any(-1)).nonzero()
        if len(shut):
            of = f" of choice {choice}" if agent.action.size > 1 else ""
            raise RunError(f"{who} was given an action_mask that leaves none of the options{of} in row {int(shut[0])}.")
    return rows


def _tensor(value: Any, what: str) -> tuple[Tensor, torch.device | None]:
    """Return numbers as a tensor on the CPU, and the device of tensors; None for anything else."""
    if isinstance(value, Tensor):
        return value.detach().cpu(), value.device
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"an array of {array.dtype}")
        return torch.from_numpy(np.array(array)), None  # a copy: it may be written while it is worked on
    except (TypeError, ValueError):
        raise RunError(f"{what} that is no array of numbers, a {type(value).__name__}.") from None
