"""YOLO in its three shapes: v5 (also v7), v8 (also v9 and v11) and YOLOX."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models import geometry
from models.errors import BundleError, OutputsImplausible
from models.heads import outputs as raw
from models.heads import yolo_layout
from models.heads.base import Candidates, HeadContext
from models.heads.yolo_layout import Family, Layout

NORMALIZED_BELOW = 2.0
"""The largest centre of all rows lies at the far end of the picture: at about 1 for shares, at many pixels else."""


class YoloOptions(raw.Options):
    """`layout`: `v5`, `v8` or `yolox`; may be left out where the shape tells it. `activation`: `sigmoid` where scores
    come as logits. `normalized`: whether coordinates are shares of the picture, not pixels; left out, their size tells.
    """

    layout: Literal["v5", "v8", "yolox"] | None = None
    activation: Literal["none", "sigmoid"] = "none"
    normalized: bool | None = None


class Yolo:
    """One output -> candidates. It may be called `predictions`; it comes as it is or transposed.

    - v5: (1, N, 5 + C) cx, cy, w, h, objectness, class scores; decoded, activated
    - v8: (1, 4 + C, N) cx, cy, w, h, class scores; decoded, activated
    - yolox: (1, N, 5 + C) like v5, but x, y, w, h relative to the cells of three grids with strides 8, 16, 32
    """

    name = "yolo"
    needs_nms = True

    def decode(self, outputs: Sequence[NDArray[np.float32]], context: HeadContext) -> Candidates:
        """Decode one picture's outputs. Raises `OutputsImplausible`, and `BundleError` for wrong `head_options`."""
        options = raw.read_options(YoloOptions, context)
        output = raw.single(outputs, context, "predictions")
        raw.require_shape(output, "predictions", (1, "N", "F"))
        raw.require_finite(output, "predictions")
        layout = _layout(options, output.shape, context)
        predictions = output[0].T if layout.features_first else output[0]
        raw.require_classes(predictions.shape[1] - layout.family.before_classes, "predictions", context)
        rows, classes, scores = _surest(predictions, layout.family, options.activation, context.min_score)
        boxes = predictions[rows, :4]
        with np.errstate(over="ignore"):
            if not layout.family.decoded:
                boxes = _from_grid(boxes, rows, len(predictions), options, context)
            elif options.normalized or (options.normalized is None and _are_shares(predictions)):
                boxes = boxes * np.array([context.width, context.height] * 2, dtype=np.float32)
            corners = geometry.cxcywh_to_xyxy(boxes)
        return raw.candidates(corners, classes, scores, "predictions")


def _layout(options: YoloOptions, shape: tuple[int, ...], context: HeadContext) -> Layout:
    size = (context.width, context.height)
    if options.layout is not None:
        return yolo_layout.oriented(options.layout, shape, size, context.class_count)
    layout = yolo_layout.guess(shape, size, context.class_count) or yolo_layout.guess(shape, size)
    if layout is None:
        raise OutputsImplausible(
            f"Output 'predictions' has shape {shape}, which is none of v5, v8 and yolox for sure with an input of "
            f"{context.width} x {context.height} pixels and {context.class_count} categories; "
            f"head_options.layout has to say which."
        )
    return layout


def _surest(
    predictions: NDArray[np.float32], family: Family, activation: raw.Activation, min_score: float
) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.float32]]:
    """Rows whose best class reaches `min_score`, that class, and its score (times objectness, where there is one)."""
    class_values = predictions[:, family.before_classes :]
    if family.objectness is None:
        scores = raw.best_scores(class_values, activation, "predictions")
        rows = np.flatnonzero(scores >= min_score)
        scores = scores[rows]
    else:
        # No class can lift a row above its objectness, so most rows need not be looked at further.
        objectness = raw.best_scores(predictions[:, [family.objectness]], activation, "predictions")
        rows = np.flatnonzero(objectness >= min_score)
        scores = objectness[rows] * raw.best_scores(class_values[rows], activation, "predictions")
        keep = scores >= min_score
        rows, scores = rows[keep], scores[keep]
    return rows, class_values[rows].argmax(axis=1), scores


def _are_shares(predictions: NDArray[np.float32]) -> bool:
    return bool(predictions[:, :2].max(initial=0.0) <= NORMALIZED_BELOW)


def _from_grid(
    boxes: NDArray[np.float32], rows: NDArray[np.intp], total: int, options: YoloOptions, context: HeadContext
) -> NDArray[np.float32]:
    """(N, 4) offsets and log sizes in units of strides -> cx, cy, w, h in pixels (Ge et al. 2021, section 2.1)."""
    if options.normalized:
        raise BundleError(
            "head_options of a yolox layout cannot say 'normalized': its boxes are relative to grid cells."
        )
    corners, strides = _grid(context.width, context.height)
    if total != len(corners):
        raise OutputsImplausible(
            f"Output 'predictions' has {total} rows; expected {len(corners)}, the cells with strides "
            f"{', '.join(str(stride) for stride in yolo_layout.STRIDES)} of an input of "
            f"{context.width} x {context.height} pixels."
        )
    stride = strides[rows]
    return np.concatenate([(boxes[:, :2] + corners[rows]) * stride, np.exp(boxes[:, 2:]) * stride], axis=1)


@lru_cache(maxsize=8)
def _grid(width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Column and row of each cell of the three grids (N, 2) and its stride in pixels (N, 1), float32, finest first."""
    cells, strides = [], []
    for stride in yolo_layout.STRIDES:
        rows, columns = yolo_layout.grid_shape(width, height, stride)
        y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        cells.append(np.stack([x.reshape(-1), y.reshape(-1)], axis=1))
        strides.append(np.full((rows * columns, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)
