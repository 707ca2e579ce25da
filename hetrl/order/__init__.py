"""WHO NEXT: in which rounds the agents are updated. Here is what an entry of ``order/`` has to have.

An order is a :class:`~hetrl.component.Component` that reads ``members`` (0 to n - 1) and writes ``round`` (the round in
which each of them is updated, from 0 on, without holes). It is drawn once a sweep, before any agent's turn. It may read
other keys as well, of the team or of all agents (``{"advantage": "agents.advantage"}`` is a tuple in team order), but
none of ``agent.``: nobody's turn has come.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from hetrl import ranks
from hetrl.errors import RecipeError


@runtime_checkable
class Seeded(Protocol):
    """An order that draws at random: from a generator of its own, which the run seeds and ``state_dict`` keeps."""

    generator: torch.Generator


def check_rounds(numbers: list[object], n_members: int) -> None:
    """Refuse rounds that are not one for each member, counted from 0 on without holes.

    Args:
        numbers: what an order has written.
        n_members: how many there are to put in order.

    Raises:
        RecipeError: with the numbers.
    """
    whole = all(type(number) is int for number in numbers)
    if len(numbers) != n_members or not whole or set(numbers) != set(range(len(set(numbers)))):
        members = "1 member" if n_members == 1 else f"{n_members} members"
        raise RecipeError(
            f"the rounds of {members} are {numbers}; give one whole number for each, counted from 0 on without holes."
        )


def sizes(members: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Return the mean size of each member's values over the batch, ``n``.

    Args:
        members: who is put in order.
        values: one of each agent, ``*B``, in team order.

    Raises:
        RecipeError: the members are not the agents.
    """
    if len(members) != len(values):
        raise RecipeError(f"{len(members)} members have the values of {len(values)} agents; write of: agent.")
    return ranks.mean(torch.stack([each.abs().mean() for each in values]))
