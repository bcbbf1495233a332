"""Parts of a picture, small enough to be worked on while somebody waits."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from annotator_companion.tools.base import Picture, Pixels, Point

MAX_SIDE = 640
"""Pixels of a crop's longer side; what is larger is shrunk."""


@dataclass(frozen=True)
class Crop:
    """The rectangle of a picture at `left`, `top` of `width` x `height` pixels, as RGB `pixels` that may be shrunk."""

    left: int
    top: int
    width: int
    height: int
    pixels: Pixels

    def holds(self, point: Point) -> bool:
        """Whether a point of the picture lies in it."""
        x, y = point
        return self.left <= x < self.left + self.width and self.top <= y < self.top + self.height

    def inward(self, point: Point) -> Point:
        """The pixel of the crop that shows a point of the picture; the nearest where none does."""
        height, width = self.pixels.shape[:2]
        x = (point[0] - self.left + 0.5) * width / self.width
        y = (point[1] - self.top + 0.5) * height / self.height
        return min(max(int(x), 0), width - 1), min(max(int(y), 0), height - 1)

    def outward(self, point: Point) -> Point:
        """The point of the picture in the middle of a pixel of the crop."""
        height, width = self.pixels.shape[:2]
        x = self.left + (point[0] + 0.5) * self.width / width
        y = self.top + (point[1] + 0.5) * self.height / height
        return int(x), int(y)


def crop(picture: Picture, left: int, top: int, right: int, bottom: int, max_side: int = MAX_SIDE) -> Crop:
    """The part of the picture between these edges, which may overshoot it, with no side of more than `max_side` pixels.

    Raises ValueError where nothing of the picture lies between them.
    """
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, picture.width), min(bottom, picture.height)
    if left >= right or top >= bottom:
        raise ValueError(f"nothing of the picture lies between {left}, {top} and {right}, {bottom}")
    pixels = picture.pixels[top:bottom, left:right]
    return Crop(left, top, right - left, bottom - top, shrunk(pixels, max_side))


def shrunk(pixels: Pixels, max_side: int) -> Pixels:
    """The picture, or a smaller one with no side of more than `max_side` pixels; C-contiguous."""
    height, width = pixels.shape[:2]
    scale = max_side / max(height, width)
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.ascontiguousarray(pixels)
