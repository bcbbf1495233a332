"""From a box and strokes to a mask: GrabCut (Rother, Kolmogorov, Blake 2004) on few pixels, sharpened on many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from annotator_companion.polygons import largest_part
from annotator_companion.tools.base import Box, Mask, Picture, Pixels, Point, Region
from annotator_companion.tools.crops import MAX_SIDE, Crop, crop, shrunk
from annotator_companion.tools.strokes import Stroke, foreground

MARGIN = 0.1
"""Of the longer side of the box: so much of what is around it teaches GrabCut what does not belong to the thing."""

LEAST_MARGIN = 8
SMALLEST_BOX = 4
"""Pixels of a side; less is a click that went astray."""

COARSE_PIXELS = 16_000
"""On so many pixels GrabCut runs: its time grows faster than their number, 0.04 s here and 5 s on 640 x 640. What is
finer follows the edges of the crop (`_sharpened`)."""

ITERATIONS = 2
BRUSH = 5
"""Pixels of the crop that a stroke is wide."""

REACH = 24
"""Pixels of the crop: so far around a foreground stroke outside the box there may be more of the thing."""

SEED = 0.3
"""Half axes, as a share of the box, of the ellipse that is taken for the thing where GrabCut finds (almost) nothing."""

_FOREGROUND, _BACKGROUND = int(cv2.GC_FGD), int(cv2.GC_BGD)
_MAYBE, _MAYBE_NOT = int(cv2.GC_PR_FGD), int(cv2.GC_PR_BGD)


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
        """The thing, in 0.1 s or so. The same box and strokes always give the same.

        Never empty: where nothing stands out, it is what the strokes say, else the whole box.
        """
        area = self._drawn.around(foreground(strokes), self._picture)
        if self._looked is None or self._looked[0] != area:
            self._looked = area, _look(self._picture, area, self._drawn)
        look = self._looked[1]
        part = look.part
        mask = _sharpened(part.pixels, _corrected(look, strokes) if strokes else look.mask)
        for stroke in strokes:
            _draw(mask, part, stroke, int(stroke.is_foreground))
        mask = largest_part(mask)
        if not mask.any():
            mask = _inside(part, self._drawn)
        return Region(part.left, part.top, part.width, part.height, mask)

    def holds(self, point: Point, strokes: Sequence[Stroke]) -> bool:
        """Whether a point lies in the part of the picture that is looked at."""
        area = self._drawn.around(foreground(strokes), self._picture)
        return area.left <= point[0] < area.right and area.top <= point[1] < area.bottom


@dataclass(frozen=True)
class _Look:
    """A part of the picture, the same with fewer pixels, and on those the box, and what the box alone has found in it."""

    part: Crop
    coarse: Crop
    inside: Mask
    mask: Mask


def _look(picture: Picture, area: Rectangle, drawn: Rectangle) -> _Look:
    part = crop(picture, area.left, area.top, area.right, area.bottom)
    coarse = Crop(part.left, part.top, part.width, part.height, _coarse(part.pixels))
    inside = _inside(coarse, drawn)
    trimap = np.where(inside, np.uint8(_MAYBE), np.uint8(_BACKGROUND))
    mask = _cut(coarse.pixels, trimap, ITERATIONS)
    x, y, width, height = cv2.boundingRect(inside)
    if not _is_plausible(mask, width, height):
        axes = (max(int(width * SEED), 1), max(int(height * SEED), 1))
        cv2.ellipse(trimap, (x + width // 2, y + height // 2), axes, 0, 0, 360, _FOREGROUND, -1)
        mask = _cut(coarse.pixels, trimap, 1)
    return _Look(part, coarse, inside, mask)


def _coarse(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    scale = math.sqrt(COARSE_PIXELS / (height * width))
    return shrunk(pixels, max(round(max(height, width) * scale), 1))


def _corrected(look: _Look, strokes: Sequence[Stroke]) -> Mask:
    """What strokes make of what the box has found: 0 or 1."""
    # Cut from the box anew, a background stroke over something red would make all that is red background.
    trimap = np.where(look.inside, np.where(look.mask, np.uint8(_MAYBE), np.uint8(_MAYBE_NOT)), np.uint8(_BACKGROUND))
    drawn_over = look.mask.copy()
    for stroke in strokes:
        if stroke.is_foreground:
            reach = np.zeros_like(trimap)
            _draw(reach, look.coarse, stroke, 1, REACH)
            trimap[(reach != 0) & (trimap == _BACKGROUND)] = _MAYBE
    for stroke in strokes:
        _draw(trimap, look.coarse, stroke, _FOREGROUND if stroke.is_foreground else _BACKGROUND)
        _draw(drawn_over, look.coarse, stroke, int(stroke.is_foreground))
    mask = _cut(look.coarse.pixels, trimap, 1)
    _, _, width, height = cv2.boundingRect(drawn_over)
    return mask if _is_plausible(mask, width, height) else drawn_over


def _cut(pixels: Pixels, trimap: Mask, iterations: int) -> Mask:
    """One run of GrabCut; `trimap` says what is sure and what is not."""
    if not ((trimap == _BACKGROUND) | (trimap == _MAYBE_NOT)).any():
        return np.ones_like(trimap)  # there is nothing around it: the box is the whole picture
    if not ((trimap == _FOREGROUND) | (trimap == _MAYBE)).any():
        return np.zeros_like(trimap)
    cv2.setRNGSeed(1)  # of this thread: its clusters begin at random, and the same box shall give the same mask
    labels = trimap.copy()
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(pixels, labels, (0, 0, 0, 0), *models, iterations, cv2.GC_INIT_WITH_MASK)
    return np.asarray((labels == _FOREGROUND) | (labels == _MAYBE), dtype=np.uint8)


def _is_plausible(mask: Mask, width: int, height: int) -> bool:
    """Whether the thing about fills the box that was drawn around it, which has `width` x `height` pixels of the mask."""
    part = largest_part(mask)
    _, _, found_width, found_height = cv2.boundingRect(part)
    enough = 0.12 * width * height
    return found_width >= 0.6 * width and found_height >= 0.6 * height and int(part.sum()) >= enough


def _sharpened(pixels: Pixels, rough: Mask) -> Mask:
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
    full = min(1.0, MAX_SIDE / max(part.width, part.height))
    width = max(round((BRUSH + 2 * reach) * coarseness / full), 1)
    line = np.array([part.inward(point) for point in stroke.points], np.int32)
    cv2.polylines(mask, [line], False, value, width)
