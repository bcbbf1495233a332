"""Boxes in pixels: conversions, overlap, non-maximum suppression, and the way from a model's input back to the picture.

Box formats: `xyxy` is left, top, right, bottom; `xywh` is left, top, width, height; `cxcywh` is centre, width, height.
Everything is a pure function of numpy arrays and may be called from any thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]

MAX_CANDIDATES = 3000
"""How many candidates `nms` looks at, best first: bounds its time whatever a model puts out."""

_BLOCK = 128  # candidates that are compared at once: large enough for numpy, small enough for the processor's cache

# Models put out infinities and numbers beyond float32 now and then. They become infinity or NaN here, which everything
# below knows how to treat; a warning on the way there would help nobody.
_quiet = partial(np.errstate, over="ignore", invalid="ignore")


def cxcywh_to_xyxy(boxes: NDArray[Any]) -> Boxes:
    """Centre, width, height -> corners. Shape (..., 4), any unit; returns float32. NaN stays NaN."""
    with _quiet():
        boxes = np.asarray(boxes, dtype=np.float32)
        half = boxes[..., 2:] / 2
        return np.concatenate((boxes[..., :2] - half, boxes[..., :2] + half), axis=-1)


def xywh_to_xyxy(boxes: NDArray[Any]) -> Boxes:
    """Top-left corner, width, height -> corners. Shape (..., 4), any unit; returns float32. NaN stays NaN."""
    with _quiet():
        boxes = np.asarray(boxes, dtype=np.float32)
        return np.concatenate((boxes[..., :2], boxes[..., :2] + boxes[..., 2:]), axis=-1)


def xyxy_to_xywh(boxes: NDArray[Any]) -> Boxes:
    """Corners -> top-left corner, width, height. Shape (..., 4), any unit; returns float32.

    An inverted box (right of its own right edge) gets a negative size; NaN stays NaN.
    """
    with _quiet():
        boxes = np.asarray(boxes, dtype=np.float32)
        return np.concatenate((boxes[..., :2], boxes[..., 2:] - boxes[..., :2]), axis=-1)


def clip_boxes(boxes: NDArray[Any], width: float, height: float) -> Boxes:
    """Cut xyxy boxes (N, 4) off at the edges of a picture of `width` x `height` pixels; returns float32.

    A box that lies outside becomes an empty one on the nearest edge. Infinite coordinates end at the edge; a box with a
    NaN in it becomes 0, 0, 0, 0: empty, so that whoever drops empty boxes drops it too. Inverted boxes stay inverted.
    Raises ValueError for another shape.
    """
    boxes = _checked(boxes)
    clipped = np.clip(boxes, 0, np.array([width, height, width, height], dtype=np.float32))
    clipped[np.isnan(boxes).any(axis=1)] = 0
    return clipped


def iou_matrix(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
    """Intersection over union of xyxy boxes (N, 4) with (M, 4): float32 (N, M), 0..1.

    Empty and inverted boxes, and boxes with NaN or infinity in them, overlap with nothing, not even with themselves.
    Raises ValueError for other shapes.
    """
    return _iou(_finite(_checked(a)), _finite(_checked(b))).astype(np.float32)


def nms(
    boxes: NDArray[Any],
    scores: NDArray[Any],
    classes: NDArray[Any],
    iou_threshold: float,
    max_detections: int = 300,
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression within each class: indices of the boxes that stay, best score first.

    `boxes` xyxy (N, 4), `scores` (N,), `classes` (N,). A box goes when it overlaps a better one of its class that stays
    by more than `iou_threshold`. Equal scores: the lower index is the better one, so the answer never depends on the
    machine. Only the best `MAX_CANDIDATES` are looked at. Boxes or scores that are NaN or infinite never stay; empty
    boxes overlap with nothing and stay. Raises ValueError where the shapes do not fit each other.
    """
    boxes, scores, classes = _checked(boxes), np.asarray(scores), np.asarray(classes)
    if scores.shape != (len(boxes),) or classes.shape != (len(boxes),):
        raise ValueError(
            f"expected {len(boxes)} scores and classes for as many boxes, got shapes {scores.shape} and {classes.shape}"
        )
    usable = np.flatnonzero(np.isfinite(boxes).all(axis=1) & np.isfinite(scores))
    order = usable[np.argsort(-scores[usable], kind="stable")[:MAX_CANDIDATES]]
    corners, classes = boxes[order].astype(np.float64), classes[order]

    def clash(better: NDArray[np.int64], worse: NDArray[np.int64]) -> NDArray[np.bool_]:
        overlap = _iou(corners[better], corners[worse]) > iou_threshold
        same_class: NDArray[np.bool_] = classes[better][:, None] == classes[worse]
        return overlap & same_class

    kept = np.empty(0, dtype=np.int64)
    for start in range(0, len(order), _BLOCK):
        if len(kept) >= max_detections:
            break
        block = np.arange(start, min(start + _BLOCK, len(order)))
        block = block[~clash(kept, block).any(axis=0)]
        kept = np.concatenate((kept, block[_survivors(np.triu(clash(block, block), 1))]))
    return order[kept[: max(max_detections, 0)]].astype(np.int64, copy=False)


def _survivors(clash: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Who stays when `clash[i, j]` says that i, if it stays, removes the worse j.

    Repeated until nothing changes: each round settles at least one more box in order of score, and two or three rounds
    settle all of them in practice, which is why this beats going through the boxes one by one.
    """
    alive: NDArray[np.bool_] = np.ones(len(clash), dtype=np.bool_)
    while True:
        settled: NDArray[np.bool_] = np.logical_not(clash[alive].any(axis=0))
        if np.array_equal(settled, alive):
            return alive
        alive = settled


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of finite boxes. float64, because the area of a large float32 box overflows float32."""
    sides = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0])
    overlap = np.maximum(sides, 0, out=sides)
    sides = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1])
    overlap *= np.maximum(sides, 0, out=sides)
    union = _area(a)[:, None] + _area(b) - overlap
    iou: NDArray[np.float64] = np.divide(overlap, union, out=np.zeros_like(overlap), where=overlap > 0)
    return iou


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    area: NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return area


def _finite(boxes: Boxes) -> NDArray[np.float64]:
    """The boxes as float64, those with NaN or infinity in them emptied."""
    finite = boxes.astype(np.float64)
    finite[~np.isfinite(boxes).all(axis=1)] = 0
    return finite


def _checked(boxes: NDArray[Any]) -> Boxes:
    """The boxes as float32 (N, 4); an empty list of whatever shape is no boxes."""
    with _quiet():
        boxes = np.asarray(boxes, dtype=np.float32)
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"expected boxes of shape (N, 4), got {boxes.shape}")
    return boxes


@dataclass(frozen=True)
class Placement:
    """How a picture of `source_width` x `source_height` pixels (as displayed) lies in a model's input.

    A source pixel x lies at `x * scale_x + pad_x` of the input; y likewise. The pads are whole input pixels, left and
    top. The two scales of a letterbox differ by the rounding to whole pixels, so that boxes come back exactly.
    """

    source_width: int
    source_height: int
    input_width: int
    input_height: int
    scale_x: float
    scale_y: float
    pad_x: int = 0
    pad_y: int = 0

    @staticmethod
    def stretch(source_width: int, source_height: int, input_width: int, input_height: int) -> Placement:
        """The picture fills the input, whatever that does to its proportions. Raises ValueError unless all are > 0."""
        _require_positive(source_width, source_height, input_width, input_height)
        return Placement(
            source_width,
            source_height,
            input_width,
            input_height,
            scale_x=input_width / source_width,
            scale_y=input_height / source_height,
        )

    @staticmethod
    def letterbox(source_width: int, source_height: int, input_width: int, input_height: int) -> Placement:
        """The picture keeps its proportions, as large as fits and centred. Raises ValueError unless all are > 0."""
        _require_positive(source_width, source_height, input_width, input_height)
        scale = min(input_width / source_width, input_height / source_height)
        width = min(max(round(source_width * scale), 1), input_width)
        height = min(max(round(source_height * scale), 1), input_height)
        return Placement(
            source_width,
            source_height,
            input_width,
            input_height,
            scale_x=width / source_width,
            scale_y=height / source_height,
            pad_x=(input_width - width) // 2,
            pad_y=(input_height - height) // 2,
        )

    @property
    def placed_width(self) -> int:
        """Width of the picture inside the input, pixels."""
        return round(self.source_width * self.scale_x)

    @property
    def placed_height(self) -> int:
        """Height of the picture inside the input, pixels."""
        return round(self.source_height * self.scale_y)

    def to_source(self, boxes: NDArray[Any]) -> Boxes:
        """xyxy boxes (N, 4) in input pixels -> float32 (N, 4) in source pixels, clipped as `clip_boxes` does."""
        pad = np.array([self.pad_x, self.pad_y] * 2, dtype=np.float32)
        scale = np.array([self.scale_x, self.scale_y] * 2, dtype=np.float32)
        with _quiet():
            source = (_checked(boxes) - pad) / scale
        return clip_boxes(source, self.source_width, self.source_height)


def _require_positive(*sizes: int) -> None:
    if min(sizes) <= 0:
        raise ValueError(f"expected sizes above zero, got {sizes}")
