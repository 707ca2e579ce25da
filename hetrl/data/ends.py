"""Where agents' own stories end, beside those of their episodes."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hetrl.keys import ENDS
from hetrl.team import Grouped


def own_ends(masks: Mapping[str, Grouped], moved: Any) -> dict[str, dict[str, Tensor]]:
    """Return layout group -> word -> where agents' stories ended with a step, ``[N, n]``; no group that has no ends.

    An agent is terminated where it died or left for good, and where the episode is. It is truncated where it takes part
    no longer and neither happened, and where the episode was cut. So it is done where one of the two is set.

    Args:
        masks: what went with the observations that were acted on.
        moved: what came of it, a ``Transition`` (see ``env/transition``).
    """
    found = {}
    for group, ended in moved.agent_terminated.items():
        before, after = (each.get("active", {}).get(group) for each in (masks, moved.next_masks))
        terminated = ended | moved.terminated.unsqueeze(-1)
        truncated = moved.truncated.unsqueeze(-1).expand_as(ended)
        if before is not None and after is not None:
            truncated = truncated | before & ~after
        found[group] = {"terminated": terminated, "truncated": truncated & ~terminated}
    return found


def lives(ends: Mapping[str, Mapping[str, Tensor]], masks: Mapping[str, Grouped], moved: Any) -> dict[str, Tensor]:
    """Return layout group -> where agents begin a life with the step to come, ``[N, n]``.

    Whoever has ended begins another, and so does who was not there and is now.

    Args:
        ends: what :func:`own_ends` returned; other groups have the lives of their episodes.
        masks: what went with the observations that were acted on.
        moved: what came of it.
    """
    found = {}
    for group, own in ends.items():
        before, now = (each.get("active", {}).get(group) for each in (masks, moved.masks))
        found[group] = own["terminated"] | own["truncated"]
        if before is not None and now is not None:
            found[group] = found[group] | ~before & now
    return found


def first_end(ends: Mapping[str, Tensor], counted: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return how agents' stories ended within a few steps, and which of these steps are theirs until then.

    Args:
        ends: word -> where they ended with a step, ``[steps, B, n]``.
        counted: which steps there are, ``[steps, B]``.

    Returns:
        Word -> whether the first end within the steps is such a one, ``[B, n]``; and the steps up to it, with it,
        ``[steps, B, n]``.
    """
    over = ends["terminated"] | ends["truncated"]
    own = counted.unsqueeze(-1) & (over.cumsum(0) - over.long() == 0)
    return {word: (each & own).any(0) for word, each in ends.items()}, own


def cut_off(ends: Mapping[str, Mapping[str, Tensor]], like: Tensor) -> Tensor:
    """Return where any agent was cut off, ``like`` (bool): a value follows for it there, and not later."""
    found = like
    for each in ends.values():
        found = found | each["truncated"].any(-1)
    return found


def by_group(stored: Mapping[tuple[str, ...], Tensor], groups: Any, rows: Tensor) -> dict[str, dict[str, Tensor]]:
    """Return layout group -> word -> agents' own ends in some rows, of the groups of which some are stored."""
    with_ends = (group for group in groups if (group, ENDS[0]) in stored)
    return {group: {word: stored[group, word][rows] for word in ENDS} for group in with_ends}
