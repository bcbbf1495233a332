"""Which YOLO a shape belongs to: rows follow from the size of the input, features from the number of classes."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

STRIDES = (8, 16, 32)
"""Pixels between the cells of the three grids that every one of these networks has."""

UNKNOWN = -1
"""A dimension that is not known before the model has run."""


@dataclass(frozen=True)
class Family:
    """What sets a layout apart.

    `objectness`: column of it, None where there is none. `before_classes`: columns before the class scores.
    `rows_per_cell`: of the grids. `decoded`: whether boxes are in pixels. `features_first`: as its files usually are.
    """

    name: str
    objectness: int | None
    before_classes: int
    rows_per_cell: int
    decoded: bool
    features_first: bool


V5 = Family("v5", 4, before_classes=5, rows_per_cell=3, decoded=True, features_first=False)
V8 = Family("v8", None, before_classes=4, rows_per_cell=1, decoded=True, features_first=True)
YOLOX = Family("yolox", 4, before_classes=5, rows_per_cell=1, decoded=False, features_first=False)
FAMILIES = {family.name: family for family in (V5, V8, YOLOX)}


@dataclass(frozen=True)
class Layout:
    """A family, and whether the features stand before the rows, (1, F, N), or after them, (1, N, F)."""

    family: Family
    features_first: bool


def grid_shape(width: int, height: int, stride: int) -> tuple[int, int]:
    """Rows and columns of the grid with `stride`, for an input of `width` x `height` pixels."""
    return -(-height // stride), -(-width // stride)


def guess(shape: tuple[int, ...], size: tuple[int, int] | None = None, class_count: int | None = None) -> Layout | None:
    """The one layout that an output of this shape can have; None where there is none, or more than one.

    `size`: width and height of the input, pixels; without it the input is taken to be square. `class_count`: how many
    classes the model tells apart; without it only what exporters usually write is considered.
    """
    if len(shape) != 3 or shape[0] not in {1, UNKNOWN}:
        return None
    possible = [
        Layout(family, features_first)
        # Nobody writes v5 or yolox with features first, but v8 is found both ways.
        for family, features_first in ((V5, False), (V8, True), (V8, False), (YOLOX, False))
        if _fits(shape, Layout(family, features_first), size, class_count)
    ]
    return possible[0] if len(possible) == 1 else None


def oriented(name: str, shape: tuple[int, ...], size: tuple[int, int], class_count: int) -> Layout:
    """The layout called `name`, transposed or not, whichever the shape speaks for.

    Told by the number of rows, else by the number of classes, else by there being more rows than features.
    """
    family = FAMILIES[name]
    either = [Layout(family, features_first) for features_first in (family.features_first, not family.features_first)]
    by_rows = [layout for layout in either if _rows_fit(shape, layout, size)]
    if len(by_rows) == 1:
        return by_rows[0]
    by_classes = [layout for layout in either if _features(shape, layout) == family.before_classes + class_count]
    if len(by_classes) == 1:
        return by_classes[0]
    return Layout(family, features_first=shape[1] < shape[2])


def _fits(shape: tuple[int, ...], layout: Layout, size: tuple[int, int] | None, class_count: int | None) -> bool:
    classes = _features(shape, layout) - layout.family.before_classes
    if classes < 1 or not _rows_fit(shape, layout, size):
        return False
    # 84 is a number of features as well as the number of cells of a tiny input; rows are the larger number.
    return classes == class_count if class_count is not None else _rows(shape, layout) not in range(classes)


def _features(shape: tuple[int, ...], layout: Layout) -> int:
    return shape[1] if layout.features_first else shape[2]


def _rows(shape: tuple[int, ...], layout: Layout) -> int:
    return shape[2] if layout.features_first else shape[1]


def _rows_fit(shape: tuple[int, ...], layout: Layout, size: tuple[int, int] | None) -> bool:
    """Whether the number of rows is that of an input of this size, or of any square one with a side divisible by 32."""
    rows = _rows(shape, layout)
    if rows == UNKNOWN:
        return True
    per_cell = layout.family.rows_per_cell
    if size is not None:
        grids = [grid_shape(*size, stride) for stride in STRIDES]
        return rows == per_cell * sum(height * width for height, width in grids)
    # A field of 32 x 32 pixels has 16 + 4 + 1 cells.
    fields, rest = divmod(rows, 21 * per_cell)
    return rest == 0 and fields > 0 and isqrt(fields) ** 2 == fields
