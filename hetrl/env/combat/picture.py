"""A battle as a picture: who stands where, how well, and who shoots at whom."""

import math

import numpy as np
import torch
from PIL import Image, ImageDraw

from hetrl.env.combat.battlefield import SIZE, Battlefield, Ground
from hetrl.env.combat.detailed import MOST_ENERGY
from hetrl.env.combat.ticks import TICK, TICKS
from hetrl.env.combat.units import DETAILED_TYPES
from hetrl.env.painter import EDGE, FINE, FLOOR, INK, PALETTE, SIDE, Colour, Point, font, mixed

_SIDES: tuple[Colour, Colour] = (PALETTE[0], PALETTE[5])
"""Allies' colour, and enemies'."""
_HEALTH, _SHIELD, _ENERGY, _CARE = PALETTE[2], PALETTE[4], PALETTE[6], PALETTE[2]
_OUTLINES = {
    "marine": (24, 0.0), "marauder": (4, 45.0), "stalker": (4, 0.0), "zealot": (3, 90.0), "zergling": (3, -90.0),
    "hydralisk": (6, 0.0), "medivac": (5, 90.0),
}  # fmt: skip
"""Kind -> corners of its outline, and where the first is [degree]; a circle has many."""
_NEAR = 12.0
"""Half of the view's side while everybody is in it, around the middle of the map [cell]; else all of it is seen."""
_BAR = 0.16
"""Of a bar's height, and of the gap to the next [cell]."""
_LARGER = 1.25
"""Bodies are drawn larger than they are, so that their outlines are told apart."""


def paint(ground: Ground, field: Battlefield, row: int = 0) -> np.ndarray:
    """Draw one battle: allies blue and enemies red, each kind with an outline of its own.

    Above a unit are bars: its health, and its shield and energy where it has any. A line goes to whom it shot at last,
    a strong one where that was within the last step, a green one to whom it heals. A cross is where somebody fell.

    Args:
        ground: the map.
        field: the battles.
        row: which of them.

    Returns:
        ``[H, W, 3]`` uint8.
    """
    image = Image.new("RGB", (FINE * SIDE, FINE * SIDE), FLOOR)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, FINE * SIDE - 1, FINE * SIDE - 1), outline=EDGE, width=2 * FINE)
    units = _Units(ground, field, row)
    for unit in range(ground.n_units):
        if not units.alive[unit]:
            _cross(draw, units, unit, mixed(_SIDES[units.sides[unit]], FLOOR, 0.6))
    for unit in range(ground.n_units):
        _line(draw, units, unit)
    for unit in sorted(range(ground.n_units), key=lambda unit: units.flies[unit]):
        if units.alive[unit]:
            _body(draw, units, unit)
    picture = image.reduce(FINE)
    _legend(ImageDraw.Draw(picture), units)
    return np.asarray(picture)


class _Units:
    """The numbers of one battle on the host, a list for each."""

    def __init__(self, ground: Ground, field: Battlefield, row: int) -> None:
        here = Battlefield(*(tensor[row : row + 1] for tensor in field.tensors()))
        traits = ground.traits(here.types)
        self.alive: list[bool] = here.alive[0].tolist()
        far = (here.position[0] - SIZE / 2).abs().amax(-1)
        half = _NEAR if bool((far < _NEAR - 1)[here.alive[0]].all()) else SIZE / 2
        self.scale = FINE * SIDE / (2 * half)
        """Pixels of a cell."""
        corner = SIZE / 2 - half, SIZE / 2 + half
        self.places: list[Point] = [
            ((x - corner[0]) * self.scale, (corner[1] - y) * self.scale) for x, y in here.position[0].tolist()
        ]
        self.kinds = [DETAILED_TYPES[kind].name for kind in here.types[0].tolist()]
        self.radii: list[float] = traits.radius[0].tolist()
        self.sides: list[int] = ground.sides.tolist()
        self.target: list[int] = ground.targets.gather(1, here.aim.t()).squeeze(1).tolist()
        self.heals: list[bool] = ground.healers.tolist()
        # Who shot within the last step has reloaded for less than that, and some ticks of grace.
        fired = here.cooldown > traits.reload - (TICKS + 1) * TICK
        bars = [(here.health / traits.health, _HEALTH)]
        nothing = torch.zeros_like(here.health)
        self.flies: list[bool] = nothing[0].bool().tolist()
        if here.reserve is not None and traits.detail is not None:
            shield, _, energy, patient = here.reserve.unbind(-1)
            self.flies = traits.detail.air[0].tolist()
            fired = torch.where(ground.healers, patient > 0, fired)
            bars += [
                (torch.where(traits.detail.shield > 0, shield / traits.detail.shield.clamp(min=1), -1.0), _SHIELD),
                (torch.where(ground.healers, energy / MOST_ENERGY, -1.0), _ENERGY),
            ]
        self.fired: list[bool] = fired[0].tolist()
        self.bars = [
            [(share, colour) for share, colour in own if share >= 0]
            for own in zip(*([(share, colour) for share in shares[0].tolist()] for shares, colour in bars), strict=True)
        ]


def _line(draw: ImageDraw.ImageDraw, units: _Units, unit: int) -> None:
    """Draw a line to whom a unit shot at, or whom it heals."""
    target = units.target[unit]
    if target == unit or not units.alive[unit] or not (units.fired[unit] or units.alive[target]):
        return
    if units.heals[unit] and not units.fired[unit]:
        return
    colour = _CARE if units.heals[unit] else _SIDES[units.sides[unit]]
    ends = [units.places[unit], units.places[target]]
    if units.fired[unit]:
        draw.line(ends, fill=colour, width=2 * FINE)
    else:
        draw.line(ends, fill=mixed(colour, FLOOR, 0.7), width=FINE)


def _outline(kind: str, place: Point, radius: float) -> list[Point]:
    corners, first = _OUTLINES[kind]
    angles = [math.radians(first + 360 * corner / corners) for corner in range(corners)]
    return [(place[0] + radius * math.cos(angle), place[1] - radius * math.sin(angle)) for angle in angles]


def _body(draw: ImageDraw.ImageDraw, units: _Units, unit: int) -> None:
    """Draw a unit and its bars."""
    (x, y), colour = units.places[unit], _SIDES[units.sides[unit]]
    radius = _LARGER * units.radii[unit] * units.scale
    draw.polygon(_outline(units.kinds[unit], (x, y), radius), fill=colour, outline=mixed(colour, INK, 0.5), width=FINE)
    half, step = max(radius, 0.5 * units.scale), _BAR * units.scale
    for place, (share, tone) in enumerate(units.bars[unit]):
        top = y - radius - (1.6 * place + 2) * step
        draw.rectangle((x - half, top, x + half, top + step), fill=mixed(INK, FLOOR, 0.7))
        if share > 0:
            draw.rectangle((x - half, top, x - half + 2 * half * min(share, 1.0), top + step), fill=tone)


def _cross(draw: ImageDraw.ImageDraw, units: _Units, unit: int, colour: Colour) -> None:
    x, y, arm = *units.places[unit], 0.3 * units.scale
    draw.line([(x - arm, y - arm), (x + arm, y + arm)], fill=colour, width=FINE)
    draw.line([(x - arm, y + arm), (x + arm, y - arm)], fill=colour, width=FINE)


def _legend(draw: ImageDraw.ImageDraw, units: _Units) -> None:
    """Write which outline is which kind, in a row at the top."""
    x = 12.0
    for kind in dict.fromkeys(units.kinds):
        draw.polygon(_outline(kind, (x, 14.0), 6.0), fill=mixed(INK, FLOOR, 0.4))
        draw.text((x + 11, 14), kind, INK, font(12), anchor="lm")
        x += 24 + draw.textlength(kind, font(12))
