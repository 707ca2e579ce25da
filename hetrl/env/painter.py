"""Pictures of a VMAS world, drawn in memory with Pillow: no display, no OpenGL.

``vmas`` has a renderer of its own, which draws with OpenGL through pyglet 1.5. It works where there is a display, or
where the system has OpenGL and an EGL device; a bare server or container has none of these, and there it stops with an
ImportError. This one needs no library of the system. It draws bodies, landmarks and joints, and each agent's name; what
a scenario adds for ``vmas``'s renderer alone (lidar beams, lanes) is left out.

A scenario may say what its floor looks like, with ``decor``: a list of ``(corners, colour)``, closed shapes in world
units which are filled, one over the other.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Point = tuple[float, float]

SIDE = 512
"""Pixels of a picture's longer side; the shorter one is a multiple of 16, as video codecs like it."""
PALETTE: tuple[Colour, ...] = (
    (76, 120, 168),
    (245, 153, 66),
    (91, 168, 96),
    (176, 126, 186),
    (88, 178, 178),
    (228, 110, 112),
    (222, 184, 60),
    (157, 124, 104),
)
"""Agents' colours, in team order; the ninth begins again."""

_BACKGROUND: Colour = (238, 240, 243)
FLOOR: Colour = (252, 252, 253)
EDGE: Colour = (205, 210, 217)
INK: Colour = (52, 58, 66)
FINE = 2
"""Everything is drawn this many times larger and then scaled down, which makes edges smooth."""
_ZOOM = 1.25
"""The view widens by this factor at a time, so that it does not creep while an agent walks out of it."""


def paint(simulator: Any, row: int = 0) -> np.ndarray:
    """Draw one environment of a VMAS simulator as it is now.

    Args:
        simulator: a ``vmas`` environment.
        row: which of its environments.

    Returns:
        ``[H, W, 3]`` uint8.
    """
    canvas = _Canvas(simulator, row)
    canvas.floor()
    for landmark in sorted(simulator.world.landmarks, key=lambda body: bool(body.collide)):
        canvas.landmark(landmark)
    for agent in simulator.world.agents:
        if agent not in simulator.agents:
            canvas.body(agent, _colour(agent, row))
    for agent, colour in zip(simulator.agents, agent_colours(simulator, row), strict=True):
        canvas.body(agent, colour)
    return canvas.finish()


def agent_colours(simulator: Any, row: int = 0) -> list[Colour]:
    """The colour of each agent of the team: its own where these tell all agents apart, else the palette's."""
    own = [_colour(agent, row) for agent in simulator.agents]
    if len(own) > 1 and len(set(own)) == len(own):
        return own
    return [PALETTE[index % len(PALETTE)] for index in range(len(own))]


class _Canvas:
    """A picture in the making. World units are turned into pixels here, and nowhere else."""

    def __init__(self, simulator: Any, row: int) -> None:
        self._row, self._simulator, self._scenario, self._world = row, simulator, simulator.scenario, simulator.world
        bodies = [*self._world.landmarks, *self._world.agents]
        # One transfer from the simulator's device for all of them.
        placed = torch.stack(
            [torch.cat([body.state.pos[row], body.state.rot[row], body.is_rendering[row, None]]) for body in bodies]
        )
        # Hidden bodies have no place here, and neither have those that are nowhere (nan).
        self._place = {
            id(body): (x, y, rot)
            for body, (x, y, rot, seen) in zip(bodies, placed.tolist(), strict=True)
            if seen and math.isfinite(x + y + rot)
        }
        self._origin = [float(coordinate) for coordinate in self._scenario.render_origin]
        self._set_view()
        self._image = Image.new("RGB", (FINE * self._width, FINE * self._height), _BACKGROUND)
        self._draw = ImageDraw.Draw(self._image)
        self._labels: list[tuple[Point, float, str, Colour]] = []

    def _set_view(self) -> None:
        """The scenario's own view, widened until all agents are in it."""
        across, up = (float(side) for side in self._scenario.viewer_size)
        half = self._scenario.viewer_zoom / min(across, up)
        longest = max(across, up)
        self._width, self._height = (max(16, round(SIDE * side / longest / 16) * 16) for side in (across, up))
        excess = 1.0
        for agent in self._world.agents:
            if id(agent) in self._place:
                (x, y, _), margin = self._place[id(agent)], 2 * agent.shape.circumscribed_radius()
                for distance, side in ((x - self._origin[0], across), (y - self._origin[1], up)):
                    excess = max(excess, (abs(distance) + margin) / (half * side))
        half *= _ZOOM ** math.ceil(math.log(excess, _ZOOM) - 1e-9)
        self._scale = FINE * SIDE / (2 * half * longest)

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        left, top = FINE * self._width / 2, FINE * self._height / 2
        return [
            (left + (x - self._origin[0]) * self._scale, top - (y - self._origin[1]) * self._scale) for x, y in points
        ]

    def _outline(self, body: Any, points: Sequence[Point]) -> list[Point]:
        """Points of the body's own frame as pixels."""
        x, y, angle = self._place[id(body)]
        cos, sin = math.cos(angle), math.sin(angle)
        return self._pixels([(x + cos * a - sin * b, y + sin * a + cos * b) for a, b in points])

    # ----- what there is to draw

    def floor(self) -> None:
        """Where the world ends, and what the scenario has drawn on its floor."""
        world = self._world
        if self._scenario.visualize_semidims and not (world.x_semidim is None and world.y_semidim is None):
            far = 1e3  # a world may be bounded in one direction only
            x, y = (far if limit is None else float(limit) for limit in (world.x_semidim, world.y_semidim))
            corners = self._pixels([(-x, y), (x, -y)])
            self._draw.rectangle(corners, fill=FLOOR, outline=EDGE, width=2 * FINE)
        for corners, colour in getattr(self._scenario, "decor", ()):
            self._draw.polygon(self._pixels(corners), fill=colour)

    def landmark(self, landmark: Any) -> None:
        """What can be run into is solid, and what can be crossed (a goal, a zone) is pale with an edge."""
        colour = _colour(landmark, self._row)
        solid = landmark.collide or getattr(landmark, "is_joint", False)
        self._shape(landmark, colour if solid else mixed(colour, FLOOR, 0.7), colour)

    def body(self, agent: Any, colour: Colour) -> None:
        """An agent, with a nose where it is heading if its way of moving has a direction, and its name."""
        if id(agent) not in self._place:
            return
        radius = agent.shape.circumscribed_radius()
        if type(agent.dynamics).__name__ not in ("Holonomic", "Static"):
            nose = [(0.75 * radius, -0.6 * radius), (1.5 * radius, 0.0), (0.75 * radius, 0.6 * radius)]
            self._draw.polygon(self._outline(agent, nose), fill=mixed(colour, INK, 0.35))
        self._shape(agent, colour, mixed(colour, INK, 0.35))
        if agent in self._simulator.agents:
            (place,) = self._outline(agent, [(0.0, 0.0)])
            label = agent.name.removeprefix("agent").replace("_", " ").strip() or agent.name
            self._labels.append((place, radius * self._scale, label, colour))

    def _shape(self, body: Any, fill: Colour, edge: Colour) -> None:
        if id(body) not in self._place:
            return
        shape, kind = body.shape, type(body.shape).__name__
        if kind == "Sphere":
            ((x, y),), radius = self._outline(body, [(0.0, 0.0)]), shape.radius * self._scale
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill, outline=edge, width=FINE)
        elif kind == "Line":
            half = shape.length / 2
            self._draw.line(self._outline(body, [(-half, 0.0), (half, 0.0)]), fill=edge, width=3 * FINE)
        else:
            a, b = shape.length / 2, shape.width / 2
            corners = self._outline(body, [(-a, -b), (a, -b), (a, b), (-a, b)])
            self._draw.polygon(corners, fill=None if shape.hollow else fill, outline=edge, width=FINE)

    def finish(self) -> np.ndarray:
        """Scale down to the picture's size and write the names: in the body where it has room, else below."""
        picture = self._image.reduce(FINE)
        draw = ImageDraw.Draw(picture)
        for (x, y), radius, label, colour in self._labels:
            x, y, radius = x / FINE, y / FINE, radius / FINE
            if len(label) <= 2 and radius >= 7:
                draw.text((x, y), label, (255, 255, 255), font(min(16, round(1.2 * radius))), anchor="mm")
            else:
                draw.text((x, y + radius + 2), label, mixed(colour, INK, 0.6), font(11), anchor="mt")
        return np.asarray(picture)


_FONTS: dict[int, Any] = {}


def font(size: int) -> Any:
    """Return Pillow's own font."""
    if size not in _FONTS:
        _FONTS[size] = ImageFont.load_default(size)
    return _FONTS[size]


def mixed(colour: Colour, other: Colour, share: float) -> Colour:
    """Return ``colour`` with a ``share`` of ``other``."""
    red, green, blue = (round((1 - share) * a + share * b) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def _colour(body: Any, row: int) -> Colour:
    """The colour that the scenario gives a body, softer, and never lost on the light floor."""
    given = body.color  # red, green, blue and perhaps alpha, 0 to 1; one for each row where it may change
    if isinstance(given, torch.Tensor):
        given = (given[row] if given.dim() > 1 else given).tolist()
    red, green, blue = (round(255 * min(max(part, 0.0), 1.0)) for part in given[:3])
    soft = mixed((red, green, blue), (255, 255, 255), 0.15)
    return mixed(soft, INK, 0.3) if min(soft) > 170 else soft
