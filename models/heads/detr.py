"""DETR-style detectors (D-FINE, RT-DETR, DETR): a fixed number of queries, each of which is one thing or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models import geometry
from models.heads import outputs as raw
from models.heads.base import Candidates, HeadContext


class DetrOptions(raw.Options):
    """`activation`: `sigmoid` where each class is judged by itself (focal loss: D-FINE, RT-DETR), `softmax` where the
    last class means "no object" (DETR)."""

    activation: Literal["sigmoid", "softmax"] = "sigmoid"


class Detr:
    """`boxes` (1, Q, 4) cx, cy, w, h in 0..1 and `logits` (1, Q, C) -> candidates, one per query."""

    name = "detr"
    needs_nms = False

    def decode(self, outputs: Sequence[NDArray[np.float32]], context: HeadContext) -> Candidates:
        """Decode one picture's outputs. Raises `OutputsImplausible`, and `BundleError` for wrong `head_options`."""
        activation = raw.read_options(DetrOptions, context).activation
        boxes, logits = raw.boxes_and(outputs, context, "logits")
        classes = slice(-1) if activation == "softmax" else slice(None)
        raw.require_classes(logits[..., classes].shape[2], "logits", context)
        scores = raw.best_scores(logits[0], activation, "logits", classes)
        keep = np.flatnonzero(scores >= context.min_score)
        size = np.array([context.width, context.height] * 2, dtype=np.float32)
        with np.errstate(over="ignore"):
            corners = geometry.cxcywh_to_xyxy(boxes[0, keep] * size)
        return raw.candidates(corners, logits[0, keep, classes].argmax(axis=1), scores[keep], "boxes")
