"""SSD whose file ends in `TFLite_Detection_PostProcess`: boxes are decoded and suppressed inside the model.

Files disagree about the order of its four outputs. TensorFlow 1 wrote boxes, classes, scores, count; since 2.6 it is
scores, boxes, count, classes (tensorflow/models issue 10970).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.errors import OutputsImplausible
from models.heads import outputs as raw
from models.heads.base import Candidates, HeadContext

ROLES = ("boxes", "classes", "scores", "count")


class SsdPostprocessedOptions(raw.Options):
    """There are none."""


class SsdPostprocessed:
    """Four outputs -> candidates, suppressed already.

    `boxes` (1, N, 4) ymin, xmin, ymax, xmax in 0..1 (they may overshoot), `classes` and `scores` (1, N), `count` (1).
    """

    name = "ssd_postprocessed"
    needs_nms = False

    def decode(self, outputs: Sequence[NDArray[np.float32]], context: HeadContext) -> Candidates:
        """Decode one picture's outputs. Raises `OutputsImplausible`, and `BundleError` for `head_options`.

        Only the first `count` rows mean anything; what stands behind them is not looked at.
        """
        raw.read_options(SsdPostprocessedOptions, context)
        boxes, classes, scores, count = _four(outputs, context)
        rows = _rows(count, boxes.shape[1])
        boxes, classes, scores = boxes[0, :rows], classes[0, :rows], scores[0, :rows]
        for name, values in (("boxes", boxes), ("classes", classes), ("scores", scores)):
            raw.require_finite(values, name)
        scores = raw.probabilities(scores, "scores")
        if rows and (classes.min() < 0 or (classes != np.rint(classes)).any()):
            raise OutputsImplausible(
                f"Output 'classes' has {classes.min():.3g} to {classes.max():.3g}; expected class numbers 0, 1, 2, ... "
                f"Perhaps the bundle has 'classes' and 'scores' the wrong way round."
            )
        keep = np.flatnonzero(scores >= context.min_score)
        size = np.array([context.width, context.height] * 2, dtype=np.float32)
        with np.errstate(over="ignore"):
            corners = boxes[keep][:, [1, 0, 3, 2]] * size
        return raw.candidates(corners, classes[keep].astype(np.int64), scores[keep], "boxes")


def roles_by_shape(shapes: Sequence[tuple[int, ...]]) -> dict[str, int] | None:
    """Role of each of the four outputs -> its index, from shapes and the two usual orders; None where they do not tell.

    Dimensions that are not known beforehand are -1.
    """
    if len(shapes) != len(ROLES):
        return None
    for order in (ROLES, ("scores", "boxes", "count", "classes")):
        roles = {role: index for index, role in enumerate(order)}
        if fits({role: shapes[index] for role, index in roles.items()}):
            return roles
    return None


def fits(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the outputs, by role, have shapes that they can have. Dimensions that are not known beforehand are -1."""
    boxes, classes, scores, count = (shapes[role] for role in ROLES)
    if len(boxes) != 3 or boxes[0] not in {1, -1} or boxes[2] != 4:
        return False
    per_row = all(
        len(shape) == 2 and shape[0] in {1, -1} and (shape[1] == boxes[1] or -1 in {shape[1], boxes[1]})
        for shape in (classes, scores)
    )
    return per_row and count in {(), (1,), (-1,)}


def _four(outputs: Sequence[NDArray[np.float32]], context: HeadContext) -> tuple[NDArray[np.float32], ...]:
    """Boxes, classes, scores, count: by name, or by shape and usual order unless the bundle names all four."""
    if all(role in context.outputs for role in ROLES):
        found = {role: raw.pick(outputs, context, role) for role in ROLES}
    else:
        roles = roles_by_shape([output.shape for output in outputs])
        if roles is None or any(roles[role] != index for role, index in context.outputs.items() if role in roles):
            raise OutputsImplausible(
                f"The model has {len(outputs)} outputs with shapes {raw.shapes(outputs)}; from these it cannot be told "
                f"which are {', '.join(ROLES)}, so the bundle has to name all four under 'outputs'."
            )
        found = {role: outputs[index] for role, index in roles.items()}
    raw.require_shape(found["boxes"], "boxes", (1, "N", 4))
    rows = found["boxes"].shape[1]
    raw.require_shape(found["classes"], "classes", (1, rows))
    raw.require_shape(found["scores"], "scores", (1, rows))
    if found["count"].size != 1:
        raise OutputsImplausible(f"Output 'count' has shape {found['count'].shape}; expected one number, (1).")
    return tuple(found[role] for role in ROLES)


def _rows(count: NDArray[np.float32], most: int) -> int:
    """How many rows are filled."""
    value = float(count.reshape(-1)[0])
    if not 0 <= value <= most or value != round(value):
        raise OutputsImplausible(f"Output 'count' is {value:g}; expected a whole number from 0 to {most}.")
    return int(value)
