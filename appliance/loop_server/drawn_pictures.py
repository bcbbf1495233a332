"""Pictures that are drawn, not taken: things of one colour on a ground, and where they are. Pure.

The same number gives the same picture on every machine, and what is drawn can be learned: every thing has the colour and
the shape of its category.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 800, 600
"""Pixels."""

QUALITY = 80
"""Of the JPEG."""

COLORS = {
    "purple": "#9b27b0",
    "green": "#4caf50",
    "orange": "#ff9800",
    "blue": "#2196f3",
    "red": "#f44336",
    "yellow": "#ffeb3b",
    "brown": "#795548",
    "pink": "#ff80ab",
    "grey": "#9e9e9e",
    "black": "#212121",
}
"""In the order in which categories get them."""

Kind = Literal["box", "point", "segmentation"]
Style = Literal["beautiful", "plain"]


@dataclass(frozen=True)
class Thing:
    """One thing: a box by its top-left corner and size, a point as a disc around its centre, or a polygon. Pixels."""

    kind: Kind
    color: str
    x: int
    y: int
    width: int = 0
    height: int = 0

    @property
    def corners(self) -> list[tuple[int, int]]:
        """Of the polygon: a hexagon that fills the box."""
        quarter = self.width // 4
        right, bottom, middle = self.x + self.width, self.y + self.height, self.y + self.height // 2
        return [
            (self.x + quarter, self.y),
            (right - quarter, self.y),
            (right, middle),
            (right - quarter, bottom),
            (self.x + quarter, bottom),
            (self.x, middle),
        ]


POINT_RADIUS = 8


def things_in(number: int, wanted: Sequence[tuple[Kind, str]]) -> list[Thing]:
    """Where the wanted things (kind and colour) are in the picture of this number."""
    random = np.random.default_rng(number)
    found = []
    for kind, color in wanted:
        if kind == "point":
            x = random.integers(POINT_RADIUS, WIDTH - POINT_RADIUS)
            y = random.integers(POINT_RADIUS, HEIGHT - POINT_RADIUS)
            found.append(Thing(kind, color, int(x), int(y)))
            continue
        width, height = (int(random.integers(40, 160)) for _ in range(2))
        x, y = random.integers(0, WIDTH - width), random.integers(0, HEIGHT - height)
        found.append(Thing(kind, color, int(x), int(y), width, height))
    return found


def drawn(number: int, things: Sequence[Thing], style: Style) -> bytes:
    """The picture of this number, with these things in it, as JPEG."""
    picture = _ground(number, style)
    draw = ImageDraw.Draw(picture)
    for thing in things:
        if thing.kind == "box":
            draw.rectangle((thing.x, thing.y, thing.x + thing.width - 1, thing.y + thing.height - 1), fill=thing.color)
        elif thing.kind == "point":
            draw.circle((thing.x, thing.y), POINT_RADIUS, fill=thing.color)
        else:
            draw.polygon(thing.corners, fill=thing.color)
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=QUALITY)
    return written.getvalue()


def _ground(number: int, style: Style) -> Image.Image:
    """One colour, or two that run into each other."""
    first, second = np.random.default_rng(10_000 + number).integers(150, 256, (2, 3))
    if style == "plain":
        return Image.new("RGB", (WIDTH, HEIGHT), tuple(int(part) for part in first))
    slope = np.linspace(0.0, 1.0, WIDTH)[None, :, None] * 0.5 + np.linspace(0.0, 1.0, HEIGHT)[:, None, None] * 0.5
    return Image.fromarray((first * (1.0 - slope) + second * slope).astype(np.uint8))
