"""A tool tried on a picture without a Loop: the box is dragged as a person would, and what comes out is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from annotator_companion.polygons import outline
from annotator_companion.tools.base import Action, Picture, Pixels, Point, Region, Tool
from models.errors import InvalidInput

_COLOUR = (0, 180, 216)


@dataclass(frozen=True)
class Tried:
    """The outline found, as corners in pixels, and the picture with it drawn on it."""

    polygon: tuple[Point, ...]
    drawn: Pixels


def try_box(tool: Tool, picture: Picture, box: tuple[int, int, int, int], epsilon: float | None) -> Tried:
    """Drag a box (x, y, width, height in pixels); where the tool makes nothing of that, click on the middle of each of its
    sides, which the thing in it touches somewhere, and close.

    Raises `InvalidInput` where the box lies outside the picture, or the tool finds nothing that way.
    """
    x, y, width, height = box
    right, bottom = min(x + width, picture.width), min(y + height, picture.height)
    x, y = max(x, 0), max(y, 0)
    if right <= x or bottom <= y:
        raise InvalidInput(f"the box lies outside the picture of {picture.width} x {picture.height} pixels")
    start, end = (x, y), (right - 1, bottom - 1)
    middle_x, middle_y = (start[0] + end[0]) // 2, (start[1] + end[1]) // 2
    middles = [(middle_x, start[1]), (end[0], middle_y), (middle_x, end[1]), (start[0], middle_y)]
    drag = [Action("down", start, pressed=start), Action("up", end, pressed=start)]
    clicks = [Action("down", at, pressed=at) for at in middles] + [Action("key", middles[-1], key="Enter")]
    polygon = _outline(tool, picture, drag, epsilon) or _outline(tool, picture, clicks, epsilon)
    if not polygon:
        raise InvalidInput(f"the tool {tool.name} finds nothing in that box")
    return Tried(polygon, _drawn(picture.pixels, polygon))


def _outline(tool: Tool, picture: Picture, actions: Sequence[Action], epsilon: float | None) -> tuple[Point, ...]:
    """What the tool would have given to the Loop; empty if nothing."""
    drawing = tool.begin(picture)
    stored: Region | None = None
    for action in actions:
        sketch = drawing.handle(action)
        if sketch is not None and sketch.is_stored:
            stored = sketch.region
    return () if stored is None else outline(stored, epsilon, picture.width, picture.height)


def _drawn(pixels: Pixels, polygon: tuple[Point, ...]) -> Pixels:
    points = [np.array(polygon, np.int32)]
    filled = pixels.copy()
    cv2.fillPoly(filled, points, _COLOUR)
    mixed = np.asarray(cv2.addWeighted(pixels, 0.6, filled, 0.4, 0), dtype=np.uint8)
    cv2.polylines(mixed, points, True, _COLOUR, max(1, max(pixels.shape) // 500), cv2.LINE_AA)
    return mixed
