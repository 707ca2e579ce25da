"""Three against one with keeper: the ball is in the middle, before the defender, with a free player on either side."""

import math

from hetrl.env.scenario.football_drill import FootballDrill


class Scenario(FootballDrill):
    """Three attackers at the edge of the area, the one in the middle with the ball and the defender before it.

    Source: Kurach et al. 2020, Google Research Football, arXiv 1907.11180: academy_3_vs_1_with_keeper, whose positions
        these are, scaled to VMAS's pitch.
    Differs: no goalkeeper of our own, no ball in the air, and the one with the ball faces the one on its left (there it
        faces the defender, and players turn at once). See
        :class:`~hetrl.env.scenario.football_drill.FootballDrill`.
    """

    attackers = ((0.9, 0.0), (1.05, 0.357), (1.05, -0.357))
    defender = (1.125, 0.0)
    carrier, facing = 0, math.atan2(0.357, 0.15)
