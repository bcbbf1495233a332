"""Which head a weight file is for, from what it declares of its outputs: for files that come without a description."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from models.heads import ssd_postprocessed, yolo_layout

UNKNOWN = -1

_WORDS = {
    "count": re.compile(r"count|num", re.IGNORECASE),
    "scores": re.compile(r"score|conf|prob", re.IGNORECASE),
    "classes": re.compile(r"class|label|categor", re.IGNORECASE),
    "boxes": re.compile(r"box|location", re.IGNORECASE),
}
_NUMBERED = {
    "StatefulPartitionedCall": ("count", "scores", "classes", "boxes"),
    "TFLite_Detection_PostProcess": ("boxes", "classes", "scores", "count"),
}
"""What TensorFlow 2 and 1 call the outputs: `NAME`, `NAME:1`, ...; the order in the file can be another one."""


class OutputSpec(Protocol):
    """An output as the weight file declares it. Unknown (dynamic) dimensions are -1."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...


class Recognised(NamedTuple):
    """The name of a head, what it calls each output -> index, and its `head_options`."""

    head: str
    outputs: dict[str, int]
    options: dict[str, Any]


def recognise(
    outputs: Sequence[OutputSpec], size: tuple[int, int] | None = None, class_count: int | None = None
) -> Recognised | None:
    """The head for these outputs; None where they fit none, or could mean more than one thing.

    `size` (width and height of the input, pixels) and `class_count` (number of categories) decide cases that the shapes
    alone leave open, and rule out those that contradict them.
    """
    return (
        _ssd_postprocessed(outputs)
        or _detr(outputs, class_count)
        or _yolo(outputs, size, class_count)
        or _classification(outputs, class_count)
    )


def _ssd_postprocessed(outputs: Sequence[OutputSpec]) -> Recognised | None:
    """Four outputs: by telling names, else by shapes in one of the usual orders."""
    if len(outputs) != len(ssd_postprocessed.ROLES):
        return None
    roles = _roles_by_name([output.name for output in outputs])
    if roles is None or not ssd_postprocessed.fits({role: outputs[index].shape for role, index in roles.items()}):
        roles = ssd_postprocessed.roles_by_shape([output.shape for output in outputs])
    return Recognised("ssd_postprocessed", roles, {}) if roles else None


def _roles_by_name(names: Sequence[str]) -> dict[str, int] | None:
    """Role -> index where each name tells one role, and none twice."""
    roles = {role: index for index, name in enumerate(names) if (role := _role(name))}
    return roles if len(roles) == len(names) else None


def _role(name: str) -> str | None:
    """What an output of this name is; None where the name does not tell."""
    base, _, number = name.partition(":")
    if base in _NUMBERED and number in {"", "0", "1", "2", "3"}:
        return _NUMBERED[base][int(number or 0)]
    # `num_boxes` and `class_scores` say with the word that stands first in this table what they are.
    return next((role for role, words in _WORDS.items() if words.search(name)), None)


def _detr(outputs: Sequence[OutputSpec], class_count: int | None) -> Recognised | None:
    """Two outputs called boxes and logits. By shape alone they could be those of an SSD, whose anchors nobody knows."""
    if len(outputs) != 2:
        return None
    boxes = [index for index, output in enumerate(outputs) if "box" in output.name.lower()]
    logits = [index for index, output in enumerate(outputs) if "logit" in output.name.lower()]
    if len(boxes) != 1 or len(logits) != 1 or boxes == logits:
        return None
    box_shape, logit_shape = outputs[boxes[0]].shape, outputs[logits[0]].shape
    paired = len(box_shape) == len(logit_shape) == 3 and _same(box_shape[1], logit_shape[1])
    if not paired or box_shape[2] != 4 or not _same(box_shape[0], 1) or not _same(logit_shape[0], 1):
        return None
    options = _detr_options(logit_shape[2], class_count)
    return None if options is None else Recognised("detr", {"boxes": boxes[0], "logits": logits[0]}, options)


def _detr_options(columns: int, class_count: int | None) -> dict[str, Any] | None:
    """One column more than there are categories is "no object"; any other number than these two fits nothing."""
    if class_count is None or _same(columns, class_count):
        return {}
    return {"activation": "softmax"} if columns == class_count + 1 else None


def _yolo(outputs: Sequence[OutputSpec], size: tuple[int, int] | None, class_count: int | None) -> Recognised | None:
    if len(outputs) != 1:
        return None
    layout = yolo_layout.guess(outputs[0].shape, size, class_count)
    return Recognised("yolo", {"predictions": 0}, {"layout": layout.family.name}) if layout else None


def _classification(outputs: Sequence[OutputSpec], class_count: int | None) -> Recognised | None:
    """One output (1, C). Its name may say that it holds logits."""
    if len(outputs) != 1 or len(outputs[0].shape) != 2 or not _same(outputs[0].shape[0], 1):
        return None
    columns = outputs[0].shape[1]
    if columns < 2 or class_count not in {None, columns}:
        return None
    options = {"activation": "softmax"} if "logit" in outputs[0].name.lower() else {}
    return Recognised("classification", {"scores": 0}, options)


def _same(length: int, expected: int) -> bool:
    return UNKNOWN in {length, expected} or length == expected
