"""Pass and shoot with keeper: the ball is on the side, next to a defender; the free one is in front of the goal."""

import math

from hetrl.env.scenario.football_drill import FootballDrill


class Scenario(FootballDrill):
    """Two attackers at the edge of the area, one with the ball on the side and the defender upon it.

    Source: Kurach et al. 2020, Google Research Football, arXiv 1907.11180: academy_pass_and_shoot_with_keeper, whose
        positions these are, scaled to VMAS's pitch.
    Differs: no goalkeeper of our own, no ball in the air, and the one with the ball faces the one without it (there,
        players turn at once). See :class:`~hetrl.env.scenario.football_drill.FootballDrill`.
    """

    attackers = ((1.05, 0.0), (1.05, -0.536))
    defender = (1.125, -0.536)
    carrier, facing = 1, math.pi / 2
