"""From a box and strokes to a mask: on a part of the picture that is small enough for somebody who waits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from annotator_companion.polygons import largest_part
from annotator_companion.tools.base import Box, Mask, Picture, Point, Region
from annotator_companion.tools.crops import MAX_SIDE, Crop, crop, shrunk
from annotator_companion.tools.cuts import BACKGROUND, FOREGROUND, MAYBE, MAYBE_NOT, Cut, begun, cut, refined, sharpened
from annotator_companion.tools.strokes import Stroke, foreground

MARGIN = 0.1
"""Of the longer side of the box: so much of what is around it tells what does not belong to the thing, and who presses the
button there means the thing and no other."""

LEAST_MARGIN = 8
"""Pixels."""

SMALLEST_BOX = 4
"""Pixels of a side; less is a click that went astray."""

COARSE_PIXELS = 8_000
"""On so many the colours are learnt and the thing is found."""

FINE_PIXELS = 25_000
"""On so many its border is cut anew. What is finer follows the edges of the crop."""

ITERATIONS = 2
BRUSH = 5
"""Pixels of the crop that a stroke is wide."""

REACH = 24
"""Pixels of the crop: so far around a foreground stroke outside the box there may be more of the thing."""

SEED = 0.3
"""Half axes, as a share of the box, of the ellipse that is taken for the thing where GrabCut finds (almost) nothing."""


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


class Cutting:
    """Finds the thing in a box, and again with every stroke. May be called by one thread at a time."""

    def __init__(self, picture: Picture, drawn: Rectangle) -> None:
        self._picture = picture
        self._drawn = drawn
        self._looked: tuple[Rectangle, _Look] | None = None

    def found(self, strokes: Sequence[Stroke]) -> Region:
        """The thing, in 0.05 s or so. The same box and strokes always give the same.

        Never empty: where nothing stands out, it is what the strokes say, else the whole box.
        """
        area = self._drawn.around(foreground(strokes), self._picture)
        if self._looked is None or self._looked[0] != area:
            self._looked = area, _look(self._picture, area, self._drawn)
        look = self._looked[1]
        part = look.part
        mask = sharpened(part.pixels, _corrected(look, self._drawn, strokes) if strokes else look.mask)
        for stroke in strokes:
            _draw(mask, part, stroke, int(stroke.is_foreground))
        if not mask.any():
            mask = _inside(part, self._drawn)
        return Region(part.left, part.top, part.width, part.height, mask)

    def holds(self, point: Point, strokes: Sequence[Stroke]) -> bool:
        """Whether a point lies in the part of the picture that is looked at."""
        area = self._drawn.around(foreground(strokes), self._picture)
        return area.left <= point[0] < area.right and area.top <= point[1] < area.bottom


@dataclass(frozen=True)
class _Look:
    """A part of the picture, the same with fewer pixels and with still fewer; what the box alone has found on those few, and
    its mask on the `fine` ones."""

    part: Crop
    fine: Crop
    coarse: Crop
    rough: Cut
    mask: Mask


def _look(picture: Picture, area: Rectangle, drawn: Rectangle) -> _Look:
    part = crop(picture, area.left, area.top, area.right, area.bottom)
    fine = _of_about(part, FINE_PIXELS)
    coarse = _of_about(fine, COARSE_PIXELS)
    trimap = begun(coarse.pixels, _trimap(coarse, drawn))
    rough = cut(coarse.pixels, trimap, ITERATIONS)
    x, y, width, height = cv2.boundingRect(_inside(coarse, drawn))
    if not _is_plausible(rough.mask, width, height):
        axes = (max(int(width * SEED), 1), max(int(height * SEED), 1))
        cv2.ellipse(trimap, (x + width // 2, y + height // 2), axes, 0, 0, 360, FOREGROUND, -1)
        rough = cut(coarse.pixels, trimap, 1)
    return _Look(part, fine, coarse, rough, refined(fine.pixels, rough, _trimap(fine, drawn)))


def _of_about(part: Crop, pixels: int) -> Crop:
    """The same, shrunk to about so many pixels."""
    height, width = part.pixels.shape[:2]
    side = max(round(max(height, width) * math.sqrt(pixels / (height * width))), 1)
    return Crop(part.left, part.top, part.width, part.height, shrunk(part.pixels, side))


def _corrected(look: _Look, drawn: Rectangle, strokes: Sequence[Stroke]) -> Mask:
    """What strokes make of what the box has found: 0 or 1 for each of the fine pixels."""
    trimap = _trimap(look.coarse, drawn, strokes)
    # Cut from the box anew, a background stroke over something red would make all that is red background.
    was_not = (look.rough.mask == 0) & (_inside(look.coarse, drawn) != 0)
    trimap[was_not & (trimap == MAYBE)] = MAYBE_NOT
    rough = cut(look.coarse.pixels, trimap, 1)
    _, _, width, height = cv2.boundingRect(_drawn_over(look.rough.mask, look.coarse, strokes))
    if not _is_plausible(rough.mask, width, height):
        return _drawn_over(look.mask, look.fine, strokes)
    return refined(look.fine.pixels, rough, _trimap(look.fine, drawn, strokes))


def _trimap(part: Crop, drawn: Rectangle, strokes: Sequence[Stroke] = ()) -> Mask:
    """What is sure of a part: what lies outside the box, and what strokes say."""
    trimap: Mask = np.where(_inside(part, drawn), np.uint8(MAYBE), np.uint8(BACKGROUND))
    for stroke in strokes:
        if stroke.is_foreground:
            reach = np.zeros_like(trimap)
            _draw(reach, part, stroke, 1, REACH)
            trimap[(reach != 0) & (trimap == BACKGROUND)] = MAYBE
    for stroke in strokes:
        _draw(trimap, part, stroke, FOREGROUND if stroke.is_foreground else BACKGROUND)
    return trimap


def _drawn_over(mask: Mask, part: Crop, strokes: Sequence[Stroke]) -> Mask:
    """A mask as if strokes were paint."""
    painted: Mask = mask.copy()
    for stroke in strokes:
        _draw(painted, part, stroke, int(stroke.is_foreground))
    return painted


def _is_plausible(mask: Mask, width: int, height: int) -> bool:
    """Whether the thing about fills the box that was drawn around it, which has `width` x `height` pixels of the mask."""
    part = largest_part(mask)
    _, _, found_width, found_height = cv2.boundingRect(part)
    enough = 0.12 * width * height
    return found_width >= 0.6 * width and found_height >= 0.6 * height and int(part.sum()) >= enough


def _inside(part: Crop, drawn: Rectangle) -> Mask:
    """1 in the box, at least one pixel."""
    mask = np.zeros(part.pixels.shape[:2], np.uint8)
    (x1, y1), (x2, y2) = part.inward((drawn.left, drawn.top)), part.inward((drawn.right - 1, drawn.bottom - 1))
    mask[y1 : y2 + 1, x1 : x2 + 1] = 1
    return mask


def _draw(mask: Mask, part: Crop, stroke: Stroke, value: int, reach: int = 0) -> None:
    """A stroke, `BRUSH` and twice `reach` pixels of the full crop wide, into a mask of a crop that may be coarser."""
    coarseness = part.pixels.shape[1] / part.width if part.width else 1.0
    full = min(1.0, MAX_SIDE / max(part.width, part.height))
    width = max(round((BRUSH + 2 * reach) * coarseness / full), 1)
    # OpenCV draws nothing of a line that has one point, and a click is a stroke.
    line = np.array([part.inward(point) for point in (*stroke.points, stroke.points[-1])], np.int32)
    cv2.polylines(mask, [line], False, value, width)
