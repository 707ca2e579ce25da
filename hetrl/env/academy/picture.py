"""A match from above."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from hetrl.env.painter import FINE, INK, PALETTE, SIDE, Colour, Point, font, mixed

_SIDES: tuple[Colour, Colour] = (PALETTE[0], PALETTE[5])
"""Colours of the left side and the right."""
_GRASS: Colour = (226, 238, 222)
_LINE: Colour = (250, 252, 250)
_BALL = PALETTE[6]
_END, _TOUCH, _POST = 1.0, 0.42, 0.044
"""Where the pitch ends, and a goal's posts are."""
_MARGIN = 0.06
_AREA = (0.3, 0.24)
"""Depth of the penalty area, and half of its width."""
_BODY, _SMALL = 0.022, 0.013
"""Radii of a player and of the ball, larger than life."""


def paint(info: Any, controlled: Sequence[int]) -> np.ndarray:
    """Draw the pitch, both sides, the ball, and below who is an agent's player that agent's number, from 0.

    Args:
        info: the engine's account of the match.
        controlled: each agent's player.

    Returns:
        ``[H, W, 3]`` uint8.
    """
    height = round((_TOUCH + _MARGIN) / (_END + _MARGIN) * SIDE / 16) * 16
    image = Image.new("RGB", (FINE * SIDE, FINE * height), _GRASS)
    draw = ImageDraw.Draw(image)
    scale = FINE * SIDE / (2 * (_END + _MARGIN))

    def pixels(x: float, y: float) -> Point:
        return FINE * SIDE / 2 + x * scale, FINE * height / 2 + y * scale

    def dot(x: float, y: float, radius: float, fill: Colour) -> None:
        (left, top), (right, bottom) = pixels(x - radius, y - radius), pixels(x + radius, y + radius)
        draw.ellipse((left, top, right, bottom), fill=fill, outline=mixed(fill, INK, 0.5), width=FINE)

    corners = [((-_END, -_TOUCH), (_END, _TOUCH)), ((0.0, -_TOUCH), (0.0, _TOUCH))]
    corners += [((side * _END, -half), (side * (_END - depth), half)) for side in (-1, 1)
                for depth, half in (_AREA, (-_MARGIN / 2, _POST))]  # fmt: skip
    for one, other in corners:
        (a, b), (c, d) = pixels(*one), pixels(*other)
        draw.rectangle((min(a, c), min(b, d), max(a, c), max(b, d)), outline=_LINE, width=2 * FINE)
    for team, colour in zip((info.left_team, info.right_team), _SIDES, strict=True):
        for player in team:
            dot(player.position[0], player.position[1], _BODY, colour)
    dot(info.ball_position[0], info.ball_position[1], _SMALL, _BALL)
    picture = image.reduce(FINE)
    words = ImageDraw.Draw(picture)
    for agent, player in enumerate(controlled):
        if player >= 0:
            place = info.left_team[player].position
            x, y = (coordinate / FINE for coordinate in pixels(place[0], place[1]))
            words.text((x, y + _BODY * scale / FINE + 2), str(agent), mixed(_SIDES[0], INK, 0.6), font(11), anchor="mt")
    return np.asarray(picture)
