"""From a mask to the one polygon that the Loop stores: whole pixels, inside the picture, crossing itself nowhere."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from annotator_companion.tools.base import Mask, Point, Region

DEFAULT_EPSILON = 1.0
"""Pixels by which the polygon may depart from the mask, where the page does not say."""

MAX_EPSILON = 1000.0

_Points = NDArray[np.int32]
_CHECKED_AT_ONCE = 256


def outline(region: Region, epsilon: float | None, picture_width: int, picture_height: int) -> tuple[Point, ...]:
    """The outline of the largest part of a region, in pixels of the picture: corners of pixels, 0..width and 0..height.

    Simplified (Douglas-Peucker) by at most `epsilon` pixels; by less where the polygon would cross itself or shrink to
    a line. Empty only if the mask is. Raises ValueError for a region that does not lie in the picture.
    """
    left, top, width, height = region.left, region.top, region.width, region.height
    if left < 0 or top < 0 or left + width > picture_width or top + height > picture_height:
        raise ValueError(
            f"the region {left}, {top}, {width}, {height} leaves {picture_width} x {picture_height} pixels"
        )
    if region.mask.ndim != 2 or not region.mask.size:
        raise ValueError(f"expected a mask of shape (height, width), got {region.mask.shape}")
    part = largest_part(_not_finer((region.mask != 0).astype(np.uint8), width, height))
    if not part.any():
        return ()
    corners = _corners(part).astype(np.float64)
    # Factors are 1 or more here, so that rounding lets no two corners fall into one.
    factors = np.array([width / part.shape[1], height / part.shape[0]])
    points = np.rint(corners * factors).astype(np.int32) + np.array([left, top], np.int32)
    return tuple((int(x), int(y)) for x, y in _simplified(points, _usable(epsilon)))


def is_simple(points: NDArray[np.integer[Any]]) -> bool:
    """Whether a closed polygon (N, 2) of whole numbers is one: three corners or more, no side touching another."""
    a = np.asarray(points, dtype=np.int64)
    n = len(a)
    if n < 3:
        return False
    b = np.roll(a, -1, axis=0)
    low, high = np.minimum(a, b), np.maximum(a, b)
    # Only sides whose bounding boxes touch can touch, and from left to right those stand close together.
    order = np.argsort(low[:, 0], kind="stable")
    lefts = low[order, 0]
    for start in range(0, n, _CHECKED_AT_ONCE):
        some = order[start : start + _CHECKED_AT_ONCE]
        others = order[start : np.searchsorted(lefts, high[some, 0].max(), side="right")]
        near = np.arange(len(others))[None, :] > np.arange(len(some))[:, None]
        near &= low[others, 0] <= high[some, 0, None]
        near &= low[others, 1] <= high[some, 1, None]
        near &= low[some, 1, None] <= high[others, 1]
        one, other = np.nonzero(near)
        pairs = np.sort(np.stack([some[one], others[other]]), axis=0)
        if _touch(a, b, pairs[0], pairs[1]).any():
            return False
    return True


def _touch(
    a: NDArray[np.int64], b: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which of the pairs of sides, `first` < `second`, their bounding boxes touching, touch where they must not."""
    a1, b1, a2, b2 = a[first], b[first], a[second], b[second]
    # Signs of the areas say on which side of one side the ends of the other lie; 0 is on its line.
    start, end = np.sign(_area(a1, b1, a2)), np.sign(_area(a1, b1, b2))
    meet = (start * end <= 0) & (np.sign(_area(a2, b2, a1)) * np.sign(_area(a2, b2, b1)) <= 0)
    # Neighbours share a corner. They must not fold back over each other.
    follows = second == first + 1
    precedes = (first == 0) & (second == len(a) - 1)
    folds = ((b1 - a1) * (b2 - a2)).sum(axis=1) <= 0
    on_a_line = np.where(precedes, start == 0, end == 0)
    touch: NDArray[np.bool_] = np.where(follows | precedes, on_a_line & folds, meet)
    return touch


def largest_part(mask: Mask) -> Mask:
    """The largest part of a mask of 0 and 1 that hangs together over the sides of pixels, holes filled.

    No two of its pixels touch at a corner only: where they do, they hang together around a hole, which is filled.
    """
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    if count < 2:
        return np.zeros_like(mask)
    largest = 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
    return _filled((labels == largest).astype(np.uint8))


def _filled(part: Mask) -> Mask:
    """A mask without holes: everything that the world around it does not reach over the sides of pixels."""
    around = cv2.copyMakeBorder(1 - part, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, labels = cv2.connectedComponents(around, connectivity=4)
    filled: Mask = (labels[1:-1, 1:-1] != labels[0, 0]).astype(np.uint8)
    return filled


def _corners(part: Mask) -> _Points:
    """The outline along the corners of pixels (N, 2), without those on a straight line.

    Each pixel becomes four, whose outline through their middles is exactly one of the corners when it is halved.
    """
    doubled = part.repeat(2, axis=0).repeat(2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = (contours[0].reshape(-1, 2) + 1) // 2
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    step = np.roll(points, -1, axis=0) - points
    turns = (step != np.roll(step, 1, axis=0)).any(axis=1)
    return np.asarray(points[turns], dtype=np.int32)


def _simplified(points: _Points, epsilon: float) -> _Points:
    while epsilon >= 0.25:
        approximated = cv2.approxPolyDP(points.reshape(-1, 1, 2), epsilon, closed=True)
        fewer = np.asarray(approximated.reshape(-1, 2), dtype=np.int32)
        if is_simple(fewer):
            return fewer
        epsilon /= 2
    return points


def _usable(epsilon: float | None) -> float:
    if epsilon is None or not math.isfinite(epsilon) or epsilon < 0:
        return DEFAULT_EPSILON
    return min(epsilon, MAX_EPSILON)


def _not_finer(mask: Mask, width: int, height: int) -> Mask:
    """A mask of no more than `width` x `height`."""
    rows, columns = mask.shape
    if columns <= width and rows <= height:
        return mask
    size = (min(columns, width), min(rows, height))
    return np.asarray(cv2.resize(mask * 255, size, interpolation=cv2.INTER_AREA) >= 128, dtype=np.uint8)


def _area(a: NDArray[np.int64], b: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.int64]:
    """Twice the signed area of triangles; broadcasts over (..., 2)."""
    first, second = b - a, c - a
    area: NDArray[np.int64] = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    return area
