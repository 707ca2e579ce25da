"""What players see of a match: the 115 numbers that the package calls ``simple115v2``."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

PLAYERS = 11
"""Players of a side that there is room for."""
SIDE = 2 * PLAYERS
COMMON = 4 * SIDE + 3 + 3 + 3 + 7
"""Numbers that all see alike: 104."""
WHO = 4 * SIDE + 9
"""Where it is said who one is, between what all see alike."""
SIZE = COMMON + PLAYERS
"""Numbers of an observation: 115."""
NOBODY = -1.0
"""The place of who is not in the match."""


def common(info: Any) -> np.ndarray:
    """Return what all see alike, ``[104]``.

    Places of the left side and the ways that it goes, the same of the right side, two numbers for each of eleven and
    -1 where there are fewer; the ball's place and the way it goes, three numbers each; who has it, one-hot: nobody,
    left, right; and the kind of play, one-hot: normal, kick-off, goal kick, free kick, corner, throw-in, penalty. Ways
    are those of one step. The pitch goes from -1 to 1, where the goal is that the left side attacks, and from -0.42 to
    0.42.

    Args:
        info: the engine's account of the match.
    """
    seen = np.full(COMMON, NOBODY, np.float32)
    for side, team in enumerate((info.left_team, info.right_team)):
        for part, numbers in enumerate(
            (_pairs(each.position for each in team), _pairs(each.direction for each in team))
        ):
            first = (2 * side + part) * SIDE
            seen[first : first + len(numbers)] = numbers
    rest = seen[4 * SIDE :]
    rest[:3] = [info.ball_position[axis] for axis in range(3)]
    rest[3:6] = [info.ball_direction[axis] for axis in range(3)]
    rest[6:] = 0.0
    rest[6 + info.ball_owned_team + 1] = 1.0
    rest[9 + int(info.game_mode)] = 1.0
    return seen


def observations(seen: np.ndarray, controlled: Sequence[int]) -> np.ndarray:
    """Return what each agent sees, ``[n, 115]``: what all do, and in its midst, one-hot, which player it is.

    >>> observations(np.zeros(104, np.float32), [2])[0].nonzero()[0].tolist()
    [99]

    Args:
        seen: see :func:`common`.
        controlled: each agent's player, counted within its side; -1 for none.
    """
    each = np.empty((len(controlled), SIZE), np.float32)
    each[:, :WHO], each[:, WHO + PLAYERS :] = seen[:WHO], seen[WHO:]
    each[:, WHO : WHO + PLAYERS] = identities(controlled)
    return each


def identities(controlled: Sequence[int]) -> np.ndarray:
    """Return who each agent is, one-hot, ``[n, 11]``; zeros for who has no player.

    >>> identities([1, -1])[:, :3].tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    return (np.asarray(controlled)[:, None] == np.arange(PLAYERS)).astype(np.float32)


def _pairs(vectors: Iterable[Any]) -> list[float]:
    return [vector[axis] for vector in vectors for axis in (0, 1)]
