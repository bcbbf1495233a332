"""One-stage detectors without anchors: each cell of a grid says how far the sides of a box are from its centre.

As in FCOS (Tian et al. 2019) and its followers, with distances in strides. The edge networks that the trainer makes are
of this kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from models.errors import OutputsImplausible
from models.heads import outputs as raw
from models.heads.base import Candidates, HeadContext

Strides = tuple[int, ...]


class AnchorFreeOptions(raw.Options):
    """`strides`: pixels of the input between two cells of each grid, in the order of the rows. `activation`: `sigmoid`
    where scores come as logits.
    """

    strides: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=8)] = (8, 16)
    activation: raw.Activation = "none"


class AnchorFree:
    """`distances` (1, N, 4) left, top, right, bottom in strides, and `scores` (1, N, C) -> candidates.

    N counts the cells of all grids, row by row. A side beyond the centre counts as lying on it.
    """

    name = "anchor_free"
    needs_nms = True

    def decode(self, outputs: Sequence[NDArray[np.float32]], context: HeadContext) -> Candidates:
        """Decode one picture's outputs. Raises `OutputsImplausible`, and `BundleError` for wrong `head_options`."""
        options = raw.read_options(AnchorFreeOptions, context)
        distances = raw.pick(outputs, context, "distances")
        scores = raw.pick(outputs, context, "scores")
        centres, strides = _cells(context.width, context.height, options.strides)
        raw.require_shape(distances, "distances", (1, len(centres), 4))
        raw.require_shape(scores, "scores", (1, len(centres), "C"))
        raw.require_classes(scores.shape[2], "scores", context)
        raw.require_finite(distances, "distances")
        raw.require_finite(scores, "scores")
        best = raw.best_scores(scores[0], options.activation, "scores")
        rows = np.flatnonzero(best >= context.min_score)
        with np.errstate(over="ignore"):
            reach = np.maximum(distances[0, rows], 0.0) * strides[rows]
            corners = np.concatenate([centres[rows] - reach[:, :2], centres[rows] + reach[:, 2:]], axis=1)
        return raw.candidates(corners, scores[0, rows].argmax(axis=1), best[rows], "distances")


@lru_cache(maxsize=8)
def _cells(width: int, height: int, strides: Strides) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centre of each cell (N, 2) in pixels of the input, and its stride (N, 1), float32."""
    centres, lengths = [], []
    for stride in strides:
        rows, columns = height // stride, width // stride
        if rows == 0 or columns == 0:
            raise OutputsImplausible(
                f"head_options.strides has {stride}, which leaves no cell in an input of {width} x {height} pixels."
            )
        y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        centres.append((np.stack([x.reshape(-1), y.reshape(-1)], axis=1) + 0.5) * stride)
        lengths.append(np.full((rows * columns, 1), stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(lengths).astype(np.float32)
