"""A box around a thing becomes its mask by GrabCut (Rother, Kolmogorov, Blake 2004); strokes correct it.

Drag a box around the thing with the left button. Then drag over what was left out; hold shift, or use the right button,
to drag over what does not belong to it. Backspace takes back the last stroke, Enter ends the drawing; so does beginning
a box somewhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from annotator_companion.polygons import largest_part
from annotator_companion.tools.base import Action, Box, Mask, Picture, Point, Region, Sketch
from annotator_companion.tools.crops import Crop, crop, shrunk
from annotator_companion.tools.strokes import Stroke

MARGIN = 0.1
"""Of the longer side of the box: so much of what is around it teaches GrabCut what does not belong to the thing."""

LEAST_MARGIN = 8
SMALLEST_BOX = 4
"""Pixels of a side; less is a click that went astray."""

MAX_STROKES = 200

COARSE_SIDE = 160
"""Pixels of the longer side on which GrabCut runs: its time grows faster than the number of pixels, 0.05 s here and
5 s at 640 pixels. What is finer follows the edges of the crop (`_sharpened`)."""

ITERATIONS = 3
BRUSH = 5
"""Pixels of the crop that a stroke is wide."""

REACH = 24
"""Pixels of the crop: so far around a foreground stroke outside the box there may be more of the thing."""

SEEDS = (0.2, 0.4)
"""Half axes of the ellipses, as shares of the box, that are taken for the thing where GrabCut finds (almost) nothing."""

_FOREGROUND, _BACKGROUND = int(cv2.GC_FGD), int(cv2.GC_BGD)
_MAYBE = int(cv2.GC_PR_FGD)


class GrabCut:
    """See `annotator_companion.tools.base.Tool`."""

    name = "grabcut"

    def begin(self, picture: Picture) -> GrabCutDrawing:
        """See `Tool`."""
        return GrabCutDrawing(picture)


@dataclass(frozen=True)
class Rectangle:
    """Edges in pixels of the picture; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int

    @staticmethod
    def between(one: Point, other: Point) -> Rectangle:
        """With these pixels in its corners."""
        (x1, y1), (x2, y2) = one, other
        return Rectangle(min(x1, x2), min(y1, y2), max(x1, x2) + 1, max(y1, y2) + 1)

    @property
    def box(self) -> Box:
        """As it is shown."""
        return Box(self.left, self.top, self.right - self.left, self.bottom - self.top, "hint")

    @property
    def is_click(self) -> bool:
        """Whether it is too small to be meant."""
        return min(self.right - self.left, self.bottom - self.top) < SMALLEST_BOX

    def around(self, points: Sequence[Point], picture: Picture) -> Rectangle:
        """Large enough for the points, too, and for a margin; inside the picture."""
        xs, ys = [x for x, _ in points], [y for _, y in points]
        left, right = min([self.left, *xs]), max([self.right, *(x + 1 for x in xs)])
        top, bottom = min([self.top, *ys]), max([self.bottom, *(y + 1 for y in ys)])
        margin = max(round(MARGIN * max(right - left, bottom - top)), LEAST_MARGIN)
        return Rectangle(
            max(left - margin, 0),
            max(top - margin, 0),
            min(right + margin, picture.width),
            min(bottom + margin, picture.height),
        )


class GrabCutDrawing:
    """See `annotator_companion.tools.base.Drawing`."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._rectangle: Rectangle | None = None
        self._strokes: list[Stroke] = []
        self._held: Stroke | None = None
        self._region: Region | None = None

    def handle(self, action: Action) -> Sketch | None:
        """See `Drawing`."""
        if self._rectangle is None:
            return self._box(action)
        if action.kind == "down":
            is_foreground = not (action.shift or action.is_right)
            if is_foreground and not self._holds(self._rectangle, action.at):
                return None
            self._held = Stroke(is_foreground)
        if self._held is not None and action.kind != "key":
            self._held.follow(action)
        if self._held is not None and action.kind == "up":
            self._strokes = [*self._strokes[-MAX_STROKES + 1 :], self._held]
            self._held = None
            return self._found(self._rectangle)
        if action.kind == "key" and action.key == "Enter":
            return Sketch(region=self._region, is_finished=True)
        if action.kind == "key" and action.key == "Backspace" and self._strokes and self._held is None:
            self._strokes.pop()
            return self._found(self._rectangle)
        return self._sketch()

    def _box(self, action: Action) -> Sketch:
        if action.pressed is None or action.is_right or action.kind == "key":
            return Sketch()
        drawn = Rectangle.between(action.pressed, action.at)
        if action.kind != "up":
            return Sketch((drawn.box,))
        if drawn.is_click:
            return Sketch()
        self._rectangle = drawn
        return self._found(drawn)

    def _found(self, drawn: Rectangle) -> Sketch:
        self._region = found(self._picture, drawn, self._strokes)
        return Sketch(self._sketch().shapes, self._region, is_stored=True)

    def _sketch(self) -> Sketch:
        strokes = self._strokes if self._held is None else [*self._strokes, self._held]
        return Sketch(tuple(stroke.line for stroke in strokes), self._region)

    def _holds(self, drawn: Rectangle, point: Point) -> bool:
        area = drawn.around(self._foreground(), self._picture)
        return area.left <= point[0] < area.right and area.top <= point[1] < area.bottom

    def _foreground(self) -> list[Point]:
        return _points(self._strokes)


def found(picture: Picture, drawn: Rectangle, strokes: Sequence[Stroke]) -> Region:
    """The thing in the box. Never empty: where nothing stands out, it is what the strokes say, else the whole box."""
    area = drawn.around(_points(strokes), picture)
    part = crop(picture, area.left, area.top, area.right, area.bottom)
    coarse = Crop(part.left, part.top, part.width, part.height, shrunk(part.pixels, COARSE_SIDE))
    rough = _grabbed(coarse, drawn, strokes)
    mask = _sharpened(part.pixels, rough)
    for stroke in strokes:
        _draw(mask, part, stroke, int(stroke.is_foreground))
    mask = largest_part(mask)
    if not mask.any():
        mask = _inside(part, drawn)
    return Region(part.left, part.top, part.width, part.height, mask)


def _grabbed(part: Crop, drawn: Rectangle, strokes: Sequence[Stroke]) -> Mask:
    """GrabCut on a crop: 0 or 1."""
    inside = _inside(part, drawn)
    trimap = np.where(inside, np.uint8(_MAYBE), np.uint8(_BACKGROUND))
    reach = np.zeros_like(trimap)
    for stroke in strokes:
        if stroke.is_foreground:
            _draw(reach, part, stroke, 1, REACH)
    trimap[(reach != 0) & (trimap == _BACKGROUND)] = _MAYBE
    for stroke in strokes:
        _draw(trimap, part, stroke, _FOREGROUND if stroke.is_foreground else _BACKGROUND)
    mask = _cut(part.pixels, trimap)
    if strokes:
        return mask
    x, y, width, height = cv2.boundingRect(inside)
    for share in SEEDS:
        if _is_plausible(mask, width, height):
            break
        seeded = trimap.copy()
        axes = (max(int(width * share), 1), max(int(height * share), 1))
        cv2.ellipse(seeded, (x + width // 2, y + height // 2), axes, 0, 0, 360, _FOREGROUND, -1)
        mask = _cut(part.pixels, seeded)
    return mask


def _cut(pixels: NDArray[np.uint8], trimap: Mask) -> Mask:
    """One run of GrabCut; `trimap` says what is sure and what is not."""
    if not ((trimap == _BACKGROUND) | (trimap == int(cv2.GC_PR_BGD))).any():
        return np.ones_like(trimap)  # there is nothing around it: the box is the whole picture
    if not ((trimap == _FOREGROUND) | (trimap == _MAYBE)).any():
        return np.zeros_like(trimap)
    cv2.setRNGSeed(1)  # of this thread: its clusters begin at random, and the same box shall give the same mask
    labels = trimap.copy()
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(pixels, labels, (0, 0, 0, 0), *models, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    return np.asarray((labels == _FOREGROUND) | (labels == _MAYBE), dtype=np.uint8)


def _is_plausible(mask: Mask, width: int, height: int) -> bool:
    """Whether the thing about fills the box that was drawn around it, which has `width` x `height` pixels of the mask."""
    part = largest_part(mask)
    _, _, found_width, found_height = cv2.boundingRect(part)
    enough = 0.12 * width * height
    return found_width >= 0.6 * width and found_height >= 0.6 * height and int(part.sum()) >= enough


def _sharpened(pixels: NDArray[np.uint8], rough: Mask) -> Mask:
    """A coarse mask at the size of `pixels`, its border drawn to the edges that are there by a guided filter.

    The filter is that of He, Sun and Tang (2010) with the grey picture as its guide.
    """
    height, width = pixels.shape[:2]
    resized = cv2.resize(rough.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    mask = np.asarray(resized, dtype=np.float32)
    factor = width / rough.shape[1]
    if factor > 1.25:
        guide = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) / 255, dtype=np.float32)
        mask = _guided(guide, mask, radius=max(2, round(2 * factor)), smoothness=1e-4)
    return (mask >= 0.5).astype(np.uint8)


def _guided(
    guide: NDArray[np.float32], values: NDArray[np.float32], radius: int, smoothness: float
) -> NDArray[np.float32]:
    window = (2 * radius + 1, 2 * radius + 1)

    def mean(of: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.boxFilter(of, -1, window, borderType=cv2.BORDER_REFLECT), dtype=np.float32)

    guide_mean, values_mean = mean(guide), mean(values)
    slope = (mean(guide * values) - guide_mean * values_mean) / (mean(guide * guide) - guide_mean**2 + smoothness)
    filtered: NDArray[np.float32] = mean(slope) * guide + mean(values_mean - slope * guide_mean)
    return filtered


def _inside(part: Crop, drawn: Rectangle) -> Mask:
    """1 in the box, at least one pixel."""
    mask = np.zeros(part.pixels.shape[:2], np.uint8)
    (x1, y1), (x2, y2) = part.inward((drawn.left, drawn.top)), part.inward((drawn.right - 1, drawn.bottom - 1))
    mask[y1 : y2 + 1, x1 : x2 + 1] = 1
    return mask


def _draw(mask: Mask, part: Crop, stroke: Stroke, value: int, reach: int = 0) -> None:
    """A stroke, `BRUSH` and twice `reach` pixels of the full crop wide, into a mask of a crop that may be coarser."""
    coarseness = part.pixels.shape[1] / part.width if part.width else 1.0
    full = min(1.0, 640 / max(part.width, part.height))
    width = max(round((BRUSH + 2 * reach) * coarseness / full), 1)
    line = np.array([part.inward(point) for point in stroke.points], np.int32)
    cv2.polylines(mask, [line], False, value, width)


def _points(strokes: Sequence[Stroke]) -> list[Point]:
    return [point for stroke in strokes if stroke.is_foreground for point in stroke.points]
