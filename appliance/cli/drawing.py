"""Detections drawn into their picture: boxes, points, outlines, and labels that can be read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.wire.detections import Detection, Detections, SegmentationDetection
from ui.kit.colours import colour_of, ink_on

Rectangle = tuple[float, float, float, float]
"""x1, y1, x2, y2, pixels."""


def draw(pixels: NDArray[np.uint8], found: Detections, colours: Mapping[str, str]) -> Image.Image:
    """The picture (height, width, 3, uint8 RGB) with everything that was found in it, in the `colours` (`#rrggbb`) of the
    categories with these names. Who is not among them has the colour of its name.

    Boxes are top-left x, y, width, height and points centres, in pixels of this picture. Lines and text grow with it.
    """
    picture = Image.fromarray(pixels)
    canvas = _Canvas(picture, colours)
    # the small ones last, so that they lie on top
    for box in sorted(found.box_detections, key=lambda box: -box.width * box.height):
        canvas.box(box, (box.x, box.y, box.x + box.width, box.y + box.height))
    for segmentation in found.segmentation_detections:
        canvas.outline(segmentation, corners(segmentation))
    for point in found.point_detections:
        canvas.point(point, point.x, point.y)
    for classification in found.classification_detections:
        canvas.label(classification, 0, 0)
    canvas.write_labels()
    return picture


def corners(segmentation: SegmentationDetection) -> list[tuple[float, float]]:
    """The polygon's corners, pixels; from either of the two forms that the wire has."""
    if not isinstance(segmentation.shape, str):
        return [(point.x, point.y) for point in segmentation.shape.points]
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", segmentation.shape)]
    return list(zip(numbers[0::2], numbers[1::2], strict=False))


class _Canvas:
    """A picture with a pen. Labels are collected and written last: no line may cross them."""

    def __init__(self, picture: Image.Image, colours: Mapping[str, str]) -> None:
        self._size = picture.size
        self._pen = ImageDraw.Draw(picture)
        self._colours = colours
        side = min(picture.size)
        self._line = max(2, round(side / 250))
        self._font = ImageFont.load_default(size=max(11, round(side / 32)))
        self._labels: list[tuple[str, str, float, float]] = []

    def box(self, found: Detection, rectangle: Rectangle) -> None:
        self._pen.rectangle(_inside(rectangle, self._size), outline=self._colour(found), width=self._line)
        self.label(found, rectangle[0], rectangle[1])

    def point(self, found: Detection, x: float, y: float) -> None:
        radius = 3 * self._line
        self._pen.ellipse(
            (x - radius, y - radius, x + radius, y + radius), outline=self._colour(found), width=self._line
        )
        self.label(found, x + radius, y - radius)

    def outline(self, found: Detection, polygon: Sequence[tuple[float, float]]) -> None:
        if not polygon:
            return
        self._pen.line([*polygon, polygon[0]], fill=self._colour(found), width=self._line, joint="curve")
        self.label(found, *min(polygon, key=lambda corner: corner[1]))

    def label(self, found: Detection, x: float, y: float) -> None:
        """Write what was found above this place, later."""
        self._labels.append((f"{found.category_name} {found.confidence:.0%}", self._colour(found), x, y))

    def write_labels(self) -> None:
        written: list[Rectangle] = []
        for text, colour, x, y in self._labels:
            place = self._free_place(text, x, y, written)
            written.append(place)
            self._pen.rectangle(place, fill=colour)
            self._pen.text((place[0] + self._line, place[1]), text, fill=ink_on(colour), font=self._font)

    def _free_place(self, text: str, x: float, y: float, taken: Sequence[Rectangle]) -> Rectangle:
        """Above the place where there is room, else below, moved down past labels that are there already."""
        left, _, right, bottom = self._pen.textbbox((0, 0), text, font=self._font)
        width, height = right - left + 3 * self._line, bottom + self._line
        x = max(0, min(x, self._size[0] - 1 - width))
        y = y - height if y >= height else max(0, y)
        place = (x, y, x + width, y + height)
        while crossed := next((other for other in taken if _cross(place, other)), None):
            y = crossed[3] + 1
            if y + height >= self._size[1]:
                break  # no room below: rather two labels on each other than one outside
            place = (x, y, x + width, y + height)
        return place

    def _colour(self, found: Detection) -> str:
        return self._colours.get(found.category_name) or colour_of(found.category_name)


def _inside(rectangle: Rectangle, size: tuple[int, int]) -> Rectangle:
    x1, y1, x2, y2 = rectangle
    width, height = size
    left, top = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
    return left, top, min(max(x2, left), width - 1), min(max(y2, top), height - 1)


def _cross(one: Rectangle, other: Rectangle) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]
