"""Classification of the whole picture: one output (1, C), or (1, 1, 1, C), or (1, C, 1, 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.errors import OutputsImplausible
from models.heads import outputs as raw
from models.heads.base import Candidates, HeadContext


class ClassificationOptions(raw.Options):
    """`activation`: what turns the output into scores. `top_k`: at most so many classes, the surest ones; else all."""

    activation: raw.Activation = "none"
    top_k: int | None = Field(default=None, ge=1)


class Classification:
    """Scores of the whole picture -> candidates without boxes, surest first. The output may be called `scores`."""

    name = "classification"
    needs_nms = False

    def decode(self, outputs: Sequence[NDArray[np.float32]], context: HeadContext) -> Candidates:
        """Decode one picture's outputs. Raises `OutputsImplausible`, and `BundleError` for wrong `head_options`."""
        options = raw.read_options(ClassificationOptions, context)
        values = raw.single(outputs, context, "scores")
        if max(values.shape, default=0) != values.size:
            raise OutputsImplausible(f"Output 'scores' has shape {values.shape}; expected (1, C).")
        raw.require_finite(values, "scores")
        raw.require_classes(values.size, "scores", context)
        scores = _activated(values.reshape(-1), options.activation)
        classes = np.argsort(-scores, kind="stable")[: options.top_k]
        classes = classes[scores[classes] >= context.min_score]
        return Candidates(None, classes.astype(np.int64, copy=False), scores[classes].astype(np.float32, copy=False))


def _activated(values: NDArray[np.float32], activation: raw.Activation) -> NDArray[np.float32]:
    if activation == "sigmoid":
        return raw.sigmoid(values)
    if activation == "softmax":
        with np.errstate(over="ignore"):  # what is so far below the largest has no share anyway
            shares = np.exp(values - values.max())
        normalised: NDArray[np.float32] = shares / shares.sum()
        return normalised
    return raw.probabilities(values, "scores")
