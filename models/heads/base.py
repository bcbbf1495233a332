"""What a head is: it turns the raw outputs of a model into candidates, before anything is filtered or named.

To add one, write a module with a class that has this method and name it in `models.heads.BUILT_IN`, or in the entry-point
group `detector_appliance.heads` of another package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Candidates:
    """What a model sees in one picture, unnamed.

    `boxes`: (N, 4) float32 x1, y1, x2, y2 in pixels of the *model's input*, or None where the model classifies the whole
    picture; `classes`: (N,) int64 class numbers of the model; `scores`: (N,) float32, 0..1.
    """

    boxes: NDArray[np.float32] | None
    classes: NDArray[np.int64]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class HeadContext:
    """What a head may need beside the outputs.

    `width`, `height`: input of the model, pixels. `outputs`: what the bundle calls each output -> index. `options`: the
    bundle's `head_options`. `min_score`: candidates below it are of no use to anybody. `class_count`: number of
    categories.
    """

    width: int
    height: int
    outputs: Mapping[str, int]
    options: Mapping[str, Any]
    min_score: float
    class_count: int


class Head(Protocol):
    """Raw outputs -> candidates. Stateless: one instance serves every picture of one model."""

    name: str
    needs_nms: bool
    """Whether overlapping candidates of one class have to be suppressed afterwards."""

    def decode(self, outputs: Sequence[NDArray[np.float32]], context: HeadContext) -> Candidates:
        """Decode one picture's outputs (float32, with batch dimension 1). Raises `OutputsImplausible`."""
