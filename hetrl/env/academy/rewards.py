"""What players are paid: goals, and the way of the ball towards one."""

import math
from collections.abc import Sequence

CHECKPOINTS = 10
_WORTH = 0.1
"""Of a checkpoint [reward]."""
_FIRST, _WAY = 0.99, 0.8
"""How far from the middle of the goal the first checkpoint is, and from there to the last."""


class Approach:
    """Ten checkpoints for each agent, who is paid for one the first time that its player has the ball within it.

    0.1 for each of the ten, at the distances 0.99 - 0.8 k / 9 from the middle of the goal, k = 0 ... 9

    A goal pays everyone the checkpoints that it has not had, so that each earns 2 with it. Who has the ball at a
    distance of 0.85 is paid for two, 0.99 and 0.901: 0.2.

    Args:
        n_agents: how many are paid.
    """

    def __init__(self, n_agents: int) -> None:
        self.taken = [0] * n_agents
        """How many each has had."""

    def paid(self, scored: bool, holds: Sequence[bool], ball: tuple[float, float]) -> list[float]:
        """Return what each agent is paid for a step, without the goal itself.

        Args:
            scored: whether the left side has scored with this step.
            holds: whether each agent's player has the ball.
            ball: where it is.
        """
        within = CHECKPOINTS if scored else reached(math.dist(ball, (1.0, 0.0)))
        paid = []
        for place, held in enumerate(holds):
            had = self.taken[place]
            if scored or held:
                self.taken[place] = max(had, within)
            paid.append(_WORTH * (self.taken[place] - had))
        return paid


def reached(distance: float) -> int:
    """Return how many checkpoints a ball is within, so far from the middle of the goal.

    >>> reached(1.2), reached(0.99), reached(0.85), reached(0.1)
    (0, 1, 2, 10)
    """
    return sum(distance <= _FIRST - _WAY / (CHECKPOINTS - 1) * number for number in range(CHECKPOINTS))
