"""Weight files without a description: which head they are for, and when nobody can tell."""

from __future__ import annotations

from typing import Any

import pytest

from models.heads.recognise import recognise
from models.runtimes.base import TensorSpec

Expected = tuple[str, dict[str, int], dict[str, Any]]

SSD: Expected = ("ssd_postprocessed", {"boxes": 0, "classes": 1, "scores": 2, "count": 3}, {})
SSD_OF_TF2: Expected = ("ssd_postprocessed", {"boxes": 1, "classes": 3, "scores": 0, "count": 2}, {})
DETR: Expected = ("detr", {"boxes": 1, "logits": 0}, {})
V5: Expected = ("yolo", {"predictions": 0}, {"layout": "v5"})
V8: Expected = ("yolo", {"predictions": 0}, {"layout": "v8"})
YOLOX: Expected = ("yolo", {"predictions": 0}, {"layout": "yolox"})
CLASSES: Expected = ("classification", {"scores": 0}, {})


def specs(*outputs: tuple[str, tuple[int, ...]]) -> list[TensorSpec]:
    return [TensorSpec(name, shape, "float32") for name, shape in outputs]


def one(*shape: int, name: str = "output0") -> list[TensorSpec]:
    return specs((name, shape))


def four(*names: str, boxes: int = 0, count: int = 3) -> list[TensorSpec]:
    shapes = [(1, 20)] * 4
    return specs(
        *(
            (name, (1, 20, 4) if index == boxes else (1,) if index == count else shapes[index])
            for index, name in enumerate(names)
        )
    )


UNNAMED = ("a", "b", "c", "d")
SEED_NAMES = ("TFLite_Detection_PostProcess", *(f"TFLite_Detection_PostProcess:{number}" for number in (1, 2, 3)))
TF2_NAMES = tuple(f"StatefulPartitionedCall:{number}" for number in (1, 3, 0, 2))
SAVED_MODEL_NAMES = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        pytest.param(four(*SEED_NAMES), SSD, id="ssd: the seed model"),
        pytest.param(four(*UNNAMED), SSD, id="ssd: unnamed, order of TensorFlow 1"),
        pytest.param(four(*TF2_NAMES, boxes=1, count=2), SSD_OF_TF2, id="ssd: from TensorFlow 2"),
        pytest.param(four(*UNNAMED, boxes=1, count=2), SSD_OF_TF2, id="ssd: unnamed, order of TensorFlow 2"),
        pytest.param(four(*SAVED_MODEL_NAMES), SSD, id="ssd: telling names"),
        pytest.param(
            four("num_boxes", "class_scores", "labels", "boxes", boxes=3, count=0),
            ("ssd_postprocessed", {"boxes": 3, "classes": 2, "scores": 1, "count": 0}, {}),
            id="ssd: telling names in an order of their own",
        ),
        pytest.param(
            four(SEED_NAMES[3], SEED_NAMES[2], SEED_NAMES[1], SEED_NAMES[0], boxes=3, count=0),
            ("ssd_postprocessed", {"boxes": 3, "classes": 2, "scores": 1, "count": 0}, {}),
            id="ssd: numbered names, the other way round",
        ),
        pytest.param(four(*SEED_NAMES[::-1]), SSD, id="ssd: names that contradict the shapes do not count"),
        pytest.param(
            specs(("a", (-1, -1, 4)), ("b", (-1, -1)), ("c", (-1, -1)), ("d", (-1,))), SSD, id="ssd: dynamic shapes"
        ),
        pytest.param(four(*UNNAMED, boxes=2), None, id="ssd: unnamed, an order that nobody uses"),
        pytest.param(four(*UNNAMED)[:3], None, id="ssd: no count"),
        pytest.param(
            specs(("a", (1, 20, 4)), ("b", (1, 10)), ("c", (1, 20)), ("d", (1,))), None, id="ssd: rows that differ"
        ),
        pytest.param(specs(("logits", (1, 300, 80)), ("pred_boxes", (1, 300, 4))), DETR, id="detr"),
        pytest.param(
            specs(("logits", (-1, 300, 4)), ("pred_boxes", (-1, -1, 4))), DETR, id="detr: four classes, dynamic"
        ),
        pytest.param(specs(("a", (1, 300, 80)), ("b", (1, 300, 4))), None, id="pair without names: may be an ssd"),
        pytest.param(
            specs(("raw_outputs/class_predictions", (1, 1917, 91)), ("raw_outputs/box_encodings", (1, 1917, 4))),
            None,
            id="raw ssd: its anchors are not in the outputs",
        ),
        pytest.param(specs(("logits", (1, 300, 80)), ("pred_boxes", (1, 100, 4))), None, id="detr: rows that differ"),
        pytest.param(specs(("logits", (1, 300, 80)), ("pred_boxes", (1, 300, 5))), None, id="detr: boxes of 5"),
        pytest.param(specs(("logits", (300, 80)), ("pred_boxes", (300, 4))), None, id="detr: no batch dimension"),
        pytest.param(specs(("box_logits", (1, 300, 4)), ("x", (1, 300, 80))), None, id="detr: one name for both"),
        pytest.param(one(1, 25200, 85), V5, id="v5 at 640"),
        pytest.param(one(1, 10647, 6), V5, id="v5 at 416, one class"),
        pytest.param(one(1, 84, 8400), V8, id="v8 at 640"),
        pytest.param(one(1, 5, 3549), V8, id="v8 at 416, one class"),
        pytest.param(one(1, 84, -1), V8, id="v8, dynamic"),
        pytest.param(one(1, 8400, 85), None, id="yolox or v8 transposed"),
        pytest.param(one(1, -1, 85), None, id="v5 or yolox, dynamic"),
        pytest.param(one(1, 300, 6), None, id="yolo that suppresses by itself"),
        pytest.param(one(1, 84, 8401), None, id="no grid has so many cells"),
        pytest.param(one(1, 4, 8400), None, id="boxes without classes"),
        pytest.param(one(4, 84, 8400), None, id="four pictures at once"),
        pytest.param(one(1, 3, 640, 640), None, id="a picture"),
        pytest.param(one(1, 1000), CLASSES, id="classification"),
        pytest.param(one(-1, 10), CLASSES, id="classification, dynamic batch"),
        pytest.param(
            one(1, 10, name="logits"),
            ("classification", {"scores": 0}, {"activation": "softmax"}),
            id="classification, logits",
        ),
        pytest.param(one(1, 1), None, id="one number"),
        pytest.param(one(1, -1), None, id="any number of numbers"),
        pytest.param(one(10), None, id="no batch dimension"),
        pytest.param([], None, id="nothing"),
        pytest.param(one(1, 25200, 85) + one(1, 3, 80, 80, 85), None, id="v5 with its raw maps"),
    ],
)
def test_by_the_outputs_alone(outputs: list[TensorSpec], expected: Expected | None) -> None:
    assert recognise(outputs) == expected


@pytest.mark.parametrize(
    ("outputs", "size", "class_count", "expected"),
    [
        pytest.param(one(1, 8400, 85), (640, 640), 80, YOLOX, id="yolox, told by its classes"),
        pytest.param(one(1, 8400, 84), (640, 640), 80, V8, id="v8 transposed, told by its classes"),
        pytest.param(one(1, 6300, 25), (640, 480), 20, YOLOX, id="yolox, input not square"),
        pytest.param(one(1, 18900, 25), (640, 480), None, V5, id="v5, input not square"),
        pytest.param(one(1, 18900, 25), None, None, None, id="v5, input not square and not told"),
        pytest.param(one(1, 84, 8400), (640, 640), 79, None, id="v8 with a class too many"),
        pytest.param(one(1, 84, 8400), (320, 320), 80, None, id="v8 for another input"),
        pytest.param(one(1, -1, 85), None, 80, None, id="v5 or yolox, dynamic"),
        pytest.param(one(1, -1, 84), None, 80, V8, id="v8 transposed, dynamic"),
        pytest.param(specs(("logits", (1, 300, 80)), ("pred_boxes", (1, 300, 4))), None, 80, DETR, id="detr"),
        pytest.param(
            specs(("logits", (1, 100, 81)), ("pred_boxes", (1, 100, 4))),
            None,
            80,
            ("detr", {"boxes": 1, "logits": 0}, {"activation": "softmax"}),
            id="detr with a class for no object",
        ),
        pytest.param(
            specs(("logits", (1, 9, 92)), ("pred_boxes", (1, 9, 4))), None, 80, None, id="detr, other classes"
        ),
        pytest.param(one(1, 1001), None, 1001, CLASSES, id="classification"),
        pytest.param(one(1, 1001), None, 1000, None, id="classification with a class too many: which one is extra?"),
        pytest.param(four(*SEED_NAMES), (300, 300), 80, SSD, id="ssd, whose classes are not in the shapes"),
    ],
)
def test_with_what_else_is_known(
    outputs: list[TensorSpec],
    size: tuple[int, int] | None,
    class_count: int | None,
    expected: Expected | None,
) -> None:
    assert recognise(outputs, size, class_count) == expected
