"""Run, pass and shoot with keeper: the ball is free on the side; the defender stands by the one before the goal."""

import math

from hetrl.env.scenario.football_drill import FootballDrill


class Scenario(FootballDrill):
    """Two attackers at the edge of the area, one with the ball and free on the side, the defender by the other.

    A pass at once meets the defender: somebody has to run first.

    Source: Kurach et al. 2020, Google Research Football, arXiv 1907.11180: academy_run_pass_and_shoot_with_keeper,
        whose positions these are, scaled to VMAS's pitch.
    Differs: no goalkeeper of our own, no ball in the air, and the one with the ball faces the one without it (there,
        players turn at once). See :class:`~hetrl.env.scenario.football_drill.FootballDrill`.
    """

    attackers = ((1.05, 0.0), (1.05, -0.536))
    defender = (1.125, -0.179)
    carrier, facing = 1, math.pi / 2
