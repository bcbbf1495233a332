"""A line that follows edges (intelligent scissors: Mortensen, Barrett 1995) from click to click around a thing.

Click on its edge with the left button, and again wherever the line shall hold on to. Click on the first place again, use
the right button, or press Enter: the line is closed, and the drawing ends. Backspace takes back the last place. Who drags
instead of clicking sets a place where the button goes up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from annotator_companion.tools.base import Action, Dot, Line, Picture, Point, Region, Sketch
from annotator_companion.tools.crops import Crop, crop

CROP_SIDE = 512
"""Pixels of a side of a crop. The map of the best ways to a place takes 0.07 s here."""

WIDEST_VIEW = 4
"""The crop shows at least this part (one n-th) of the picture's longer side, shrunk where needed."""

NEAR = 10
"""Pixels of the crop: a click that near to the first place closes the line. Less far is no drag."""

MAX_PLACES = 500
MAX_MASK_SIDE = 2048

CANNY = (32.0, 100.0)
STEEPEST = 200.0
"""What counts as an edge, in steps of brightness: from where on, and from where on all edges are alike."""


class LiveWire:
    """See `annotator_companion.tools.base.Tool`."""

    name = "livewire"

    def begin(self, picture: Picture) -> LiveWireDrawing:
        """See `Tool`."""
        return LiveWireDrawing(picture)


@dataclass
class _Place:
    """Where the line holds on, and the way to it from the place before."""

    at: Point
    way: list[Point] = field(default_factory=list)


class LiveWireDrawing:
    """See `annotator_companion.tools.base.Drawing`."""

    def __init__(self, picture: Picture) -> None:
        self._wire = _Wire(picture)
        self._places: list[_Place] = []
        self._at: Point | None = None

    def handle(self, action: Action) -> Sketch | None:
        """See `Drawing`."""
        if action.kind != "key":
            self._at = action.at
        if action.kind == "down":
            closes = action.is_right or self._is_first(action.at)
            if closes and self._can_close:
                return self._closed()
            if not action.is_right:
                self._hold(action.at)
        elif action.kind == "up":
            if action.pressed is not None and math.dist(action.pressed, action.at) >= self._wire.near:
                if self._is_first(action.at) and self._can_close:
                    return self._closed()
                self._hold(action.at)
        elif action.kind == "key" and action.key == "Enter" and self._can_close:
            return self._closed()
        elif action.kind == "key" and action.key == "Backspace" and self._places:
            self._places.pop()
            if self._places:
                self._wire.start(self._places[-1].at)
        return self._sketch()

    @property
    def _can_close(self) -> bool:
        """Two places and a way back make a thing."""
        return len(self._places) >= 2

    def _is_first(self, at: Point) -> bool:
        return bool(self._places) and math.dist(self._places[0].at, at) < self._wire.near

    def _hold(self, at: Point) -> None:
        if len(self._places) >= MAX_PLACES or (self._places and self._places[-1].at == at):
            return
        self._places.append(_Place(at, self._wire.way(at) if self._places else []))
        self._wire.start(at)

    def _line(self) -> list[Point]:
        return [point for place in self._places for point in (*place.way, place.at)]

    def _sketch(self) -> Sketch:
        if not self._places:
            return Sketch()
        dots = tuple(Dot(place.at) for place in self._places)
        ahead = [self._places[-1].at]
        if self._at is not None and self._at != ahead[0]:
            ahead = [*ahead, *self._wire.way(self._at), self._at]
        return Sketch((Line(_thinned(self._line())), Line(_thinned(ahead), "hint"), *dots))

    def _closed(self) -> Sketch:
        line = self._line() + self._wire.way(self._places[0].at)
        return Sketch(region=_filled(line), is_stored=True, is_finished=True)


class _Wire:
    """The best way along edges from one place to any other near it.

    What the crop's edges are is found once per crop, the map of all ways once per place; a way is then only looked up.
    """

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._span = max(CROP_SIDE, max(picture.width, picture.height) // WIDEST_VIEW)
        self._crop: Crop | None = None
        self._scissors = cv2.segmentation.IntelligentScissorsMB()
        self._scissors.setEdgeFeatureCannyParameters(*CANNY)
        self._scissors.setGradientMagnitudeMaxLimit(STEEPEST)
        self._start: Point = (0, 0)

    @property
    def near(self) -> float:
        """What is near, in pixels of the picture."""
        return NEAR * max(self._span / CROP_SIDE, 1.0)

    def start(self, at: Point) -> None:
        """Ways shall start here from now on."""
        self._start = at
        if self._crop is None or not self._is_central(self._crop, at):
            self._crop = self._around(at)
            self._scissors.applyImage(self._crop.pixels)
        self._scissors.buildMap(self._crop.inward(at))

    def way(self, to: Point) -> list[Point]:
        """What lies between the start and that place, in pixels of the picture; the ends left out.

        Beyond the crop nothing is known of edges: the line leads straight to there from its border.
        """
        assert self._crop is not None, "start first"
        contour = self._scissors.getContour(self._crop.inward(to)).reshape(-1, 2)
        way = [self._crop.outward((int(x), int(y))) for x, y in contour]
        return [point for point in way if point not in (self._start, to)]

    def _around(self, at: Point) -> Crop:
        left = min(max(at[0] - self._span // 2, 0), max(self._picture.width - self._span, 0))
        top = min(max(at[1] - self._span // 2, 0), max(self._picture.height - self._span, 0))
        return crop(self._picture, left, top, left + self._span, top + self._span, CROP_SIDE)

    def _is_central(self, part: Crop, at: Point) -> bool:
        """Whether a quarter of a crop's span lies on each side of a place, or the end of the picture."""
        far = self._span // 4
        return (
            (part.left == 0 or at[0] - part.left >= far)
            and (part.top == 0 or at[1] - part.top >= far)
            and (part.left + part.width == self._picture.width or part.left + part.width - at[0] > far)
            and (part.top + part.height == self._picture.height or part.top + part.height - at[1] > far)
        )


def _thinned(points: list[Point]) -> tuple[Point, ...]:
    """A line of pixels without those that a straight line goes through anyway."""
    if len(points) < 3:
        return tuple(points)
    fewer = cv2.approxPolyDP(np.array(points, np.int32).reshape(-1, 1, 2), 0.7, closed=False).reshape(-1, 2)
    return tuple((int(x), int(y)) for x, y in fewer)


def _filled(line: list[Point]) -> Region:
    """What a closed line goes around, the line itself included: never empty."""
    points = np.array(line, np.int32)
    left, top = points.min(axis=0)
    right, bottom = points.max(axis=0) + 1
    width, height = int(right - left), int(bottom - top)
    factor = min(1.0, MAX_MASK_SIDE / max(width, height))
    mask = np.zeros((max(round(height * factor), 1), max(round(width * factor), 1)), np.uint8)
    inside = ((points - [left, top]) * factor).astype(np.int32)
    cv2.fillPoly(mask, [inside], 1)
    return Region(int(left), int(top), width, height, mask)
