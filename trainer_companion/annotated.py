"""What people said of pictures: boxes for things, or one class for a picture as a whole. Pure.

Whatever cannot be learnt from is left out, with a sentence among the remarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.wire.model_information import Category
from trainer_companion.coco import Annotation
from trainer_companion.wording import counted

SMALLEST = 1.0
"""Pixels; a box with a shorter side shows nothing."""

Boxes = NDArray[np.float32]
"""(N, 4) x1, y1, x2, y2 in pixels of the picture."""

Classes = NDArray[np.int64]
"""(N,) indices into the categories that are trained."""

Marked = tuple[Boxes, Classes]
"""What is said of one picture. A picture that is classified as a whole has no boxes and one class."""


def things(
    sizes: Sequence[tuple[int, int]],
    index_of: Mapping[int | str, int],
    annotations: Sequence[Annotation],
    class_of: Mapping[int, int],
    categories: Sequence[Category],
    remarks: list[str],
) -> list[Marked]:
    """The boxes of each picture, inside it. `sizes`: width and height of the pictures, pixels; `index_of`: COCO's id of an
    image -> its place among them; `class_of`: COCO's id of a category -> its index in `categories`.
    """
    boxes: list[list[tuple[float, float, float, float]]] = [[] for _ in sizes]
    classes: list[list[int]] = [[] for _ in sizes]
    clipped = dropped = crowds = 0
    for annotation in annotations:
        index, class_index = index_of.get(annotation.image_id), class_of.get(annotation.category_id)
        if index is None or class_index is None:
            continue
        if annotation.iscrowd:
            crowds += 1
            continue
        category = categories[class_index]
        corners = _corners(annotation.bbox, category.point_size if category.type == "point" else None)
        inside = None if corners is None else _clipped(corners, *sizes[index])
        if inside is None:
            dropped += 1
            continue
        clipped += inside != corners and category.type != "point"
        boxes[index].append(inside)
        classes[index].append(class_index)
    if clipped:
        remarks.append(f"Cut off at the edge of the picture: {counted(clipped, 'box', 'boxes')}.")
    if dropped:
        remarks.append(f"Left out, because empty or outside of the picture: {counted(dropped, 'box', 'boxes')}.")
    if crowds:
        remarks.append(f"Left out, because they mean a crowd (iscrowd): {counted(crowds, 'box', 'boxes')}.")
    return [
        (np.asarray(of_picture, np.float32).reshape(-1, 4), np.asarray(kinds, np.int64))
        for of_picture, kinds in zip(boxes, classes, strict=True)
    ]


def whole(
    count: int,
    index_of: Mapping[int | str, int],
    annotations: Sequence[Annotation],
    class_of: Mapping[int, int],
    remarks: list[str],
) -> list[Marked | None]:
    """The class of each of `count` pictures; None for those of which nobody said one, or people said several."""
    said: list[set[int]] = [set() for _ in range(count)]
    for annotation in annotations:
        index, class_index = index_of.get(annotation.image_id), class_of.get(annotation.category_id)
        if index is not None and class_index is not None:
            said[index].add(class_index)
    if without := sum(not kinds for kinds in said):
        remarks.append(f"Left out, because nobody said which class they are: {counted(without, 'picture')}.")
    if torn := sum(len(kinds) > 1 for kinds in said):
        remarks.append(f"Left out, because they are said to be of several classes: {counted(torn, 'picture')}.")
    none = np.empty((0, 4), np.float32)
    return [(none, np.array(list(kinds), np.int64)) if len(kinds) == 1 else None for kinds in said]


def several(index_of: Mapping[int | str, int], annotations: Sequence[Annotation]) -> int:
    """How many pictures have more than one annotation."""
    found = [0] * len(index_of)
    for annotation in annotations:
        if (index := index_of.get(annotation.image_id)) is not None:
            found[index] += 1
    return sum(number > 1 for number in found)


def _corners(bbox: Sequence[float], point_size: int | None) -> tuple[float, float, float, float] | None:
    """x1, y1, x2, y2; for a point, of the box that stands for it. None for what is no box."""
    if len(bbox) != 4 or not np.isfinite(bbox).all():
        return None
    x, y, width, height = bbox
    if point_size is not None:
        half = point_size / 2
        x, y = x + width / 2, y + height / 2
        return x - half, y - half, x + half, y + half
    return x, y, x + width, y + height


def _clipped(
    corners: tuple[float, float, float, float], width: int, height: int
) -> tuple[float, float, float, float] | None:
    x1, y1, x2, y2 = corners
    x1, x2 = max(x1, 0.0), min(x2, float(width))
    y1, y2 = max(y1, 0.0), min(y2, float(height))
    return (x1, y1, x2, y2) if x2 - x1 >= SMALLEST and y2 - y1 >= SMALLEST else None
