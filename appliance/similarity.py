"""When two detections show the same thing, computed for many pairs at once.

Boxes do where their intersection over union is at least 0.5, points where they are less than 10 pixels apart; both only
within one category.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.wire.detections import BoxDetection, PointDetection

NEAR_PIXELS = 10.0
"""Points closer than this are the same thing."""

PAIRS_AT_ONCE = 8192
"""Pairs compared in one go: arrays of that length stay in the cache, and a picture full of things needs no huge ones."""

FAR_PIXELS = 2.0**30
"""Positions beyond this count as this far when near ones are looked for; how near those are is then told exactly."""

Numbers = NDArray[np.float64]

Geometry = NDArray[np.float64]
"""(5, N): left, top, right, bottom, area of N boxes; or (2, N): x, y of N points. Pixels."""

Rows = Sequence[Numbers]
"""The rows of a geometry."""

Indices = NDArray[np.intp]

Located = TypeVar("Located", BoxDetection, PointDetection)


@dataclass(frozen=True)
class Kind(Generic[Located]):
    """A kind of detection that has a place in the picture, and how such are compared. `rows` are those of a geometry.

    `reach` says where the first rows of all geometries lie that may be similar: from, to. `size` is the row, if there is
    one, in which similar ones differ by a factor of 2 at most.
    """

    rows: int
    geometry: Callable[[Sequence[Located]], Geometry]
    reach: Callable[[Geometry], tuple[Numbers, Numbers]]
    similar: Callable[[Rows, Rows], NDArray[np.bool_]]
    size: int | None = None

    def pairs(
        self, detections: Geometry, categories: Numbers, others: Geometry, other_categories: Numbers
    ) -> tuple[Indices, Indices]:
        """All pairs of a detection and another that are similar and of the same category, in the order of detections.

        Categories are whole numbers, one for each column.
        """
        low, high = self.reach(detections)
        # Categories are laid so far beside each other that none reaches into another.
        low, high = _beside(low, categories), _beside(high, categories)
        found: list[tuple[Indices, Indices]] = []
        for near in within_reach(low, high, _beside(others[0], other_categories)):
            one, other = near
            if self.size is not None:
                alike = of_like_size(detections[self.size].take(one), others[self.size].take(other))
                one, other = one[alike], other[alike]
            # Row by row, for many pairs three times as fast as the whole at once.
            similar = self.similar([row.take(one) for row in detections], [row.take(other) for row in others])
            found.append((one[similar], other[similar]))
        one, other = (np.concatenate(indices) for indices in zip(*found, strict=True))
        return one, other


def box_geometry(boxes: Sequence[BoxDetection]) -> Geometry:
    """Boxes as (5, N): left, top, right, bottom, area, in pixels.

    The area of a box without extent is infinite, so that it has nothing in common with any box, itself included.
    """
    left = np.array([box.x for box in boxes], dtype=np.float64)
    top = np.array([box.y for box in boxes], dtype=np.float64)
    width = np.array([box.width for box in boxes], dtype=np.float64)
    height = np.array([box.height for box in boxes], dtype=np.float64)
    area = np.where((width > 0) & (height > 0), width * height, np.inf)
    return np.stack([left, top, left + width, top + height, area])


def similar_boxes(boxes: Rows, others: Rows) -> NDArray[np.bool_]:
    """(N,): whether the intersection over union of box n and other n is at least 0.5.

    I / (A + B - I) >= 1/2 is the same as 3 I >= A + B, which needs no division and is exact for whole pixels.
    """
    left, top, right, bottom, area = boxes
    other_left, other_top, other_right, other_bottom, other_area = others
    width = np.maximum(np.minimum(right, other_right) - np.maximum(left, other_left), 0.0)
    height = np.maximum(np.minimum(bottom, other_bottom) - np.maximum(top, other_top), 0.0)
    similar: NDArray[np.bool_] = 3.0 * width * height >= area + other_area
    return similar


def reach_of_boxes(boxes: Geometry) -> tuple[Numbers, Numbers]:
    """Where, for each box, the left edges of all boxes lie that may be similar: from, to.

    Of two boxes with an intersection over union of at least 0.5 each shares at least half of its width with the other.
    So their widths differ by a factor of 2 at most, and neither begins beyond the middle of the other.
    """
    left, _, right, _, _ = boxes
    width = right - left
    return left - width, left + width / 2


def point_geometry(points: Sequence[PointDetection]) -> Geometry:
    """Points as (2, N): x, y, in pixels."""
    geometry: Geometry = np.array([(point.x, point.y) for point in points], dtype=np.float64).T
    return geometry


def similar_points(points: Rows, others: Rows) -> NDArray[np.bool_]:
    """(N,): whether point n and other n are less than 10 pixels apart."""
    x, y = points
    other_x, other_y = others
    with np.errstate(over="ignore"):  # absurdly distant points are infinitely far apart, which is right
        similar: NDArray[np.bool_] = np.sqrt((x - other_x) ** 2 + (y - other_y) ** 2) < NEAR_PIXELS
    return similar


def reach_of_points(points: Geometry) -> tuple[Numbers, Numbers]:
    """Where, for each point, the x of all points lie that may be similar: from, to."""
    return points[0] - NEAR_PIXELS, points[0] + NEAR_PIXELS


def within_reach(low: Numbers, high: Numbers, positions: Numbers) -> Iterator[tuple[Indices, Indices]]:
    """All pairs n, m with low[n] <= positions[m] <= high[n], in the order of n, some thousands at a time.

    Sorting finds them without looking at each of N x M pairs, of which few are near each other.
    """
    order = np.argsort(positions)
    ranked = positions[order]
    start = np.searchsorted(ranked, low, side="left")
    counts = np.maximum(np.searchsorted(ranked, high, side="right") - start, 0)
    upto = np.cumsum(counts)
    cuts = np.flatnonzero(np.diff(upto // PAIRS_AT_ONCE)) + 1
    for begin, end in pairwise([0, *cuts.tolist(), len(low)]):
        some = counts[begin:end]
        first: Indices = np.repeat(np.arange(begin, end), some)
        before = np.cumsum(some) - some
        yield first, order[np.repeat(start[begin:end] - before, some) + np.arange(len(first))]


def of_like_size(sizes: Numbers, others: Numbers) -> Indices:
    """Where two sizes differ by a factor of 2 at most. Those of two boxes with half of their union in common do."""
    return np.flatnonzero((sizes <= 2.0 * others) & (others <= 2.0 * sizes))


def _beside(positions: Numbers, categories: Numbers) -> Numbers:
    return np.clip(positions, -FAR_PIXELS, FAR_PIXELS) + categories * (4 * FAR_PIXELS)


BOXES = Kind(5, box_geometry, reach_of_boxes, similar_boxes, size=4)
POINTS = Kind(2, point_geometry, reach_of_points, similar_points)
