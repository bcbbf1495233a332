"""DETR-style outputs: one query is one thing or nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import BundleError, OutputsImplausible
from models.heads.base import Head, HeadContext
from models.heads.detr import Detr

HEAD: Head = Detr()
BOXES = np.array([[[0.5, 0.5, 0.2, 0.4], [0.0, 1.0, 0.5, 0.5], [0.3, 0.3, 0.1, 0.1]]], np.float32)
LOGITS = np.array([[[-9, 2, 1], [3, -9, -9], [-9, -9, -2]]], np.float32)


def context(min_score: float = 0.3, class_count: int = 3, **options: Any) -> HeadContext:
    return HeadContext(640, 320, {"boxes": 0, "logits": 1}, options, min_score, class_count)


def test_each_query_gives_its_best_class_in_pixels_of_the_input() -> None:
    found = HEAD.decode([BOXES, LOGITS], context())
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes, [[256, 96, 384, 224], [-160, 240, 160, 400]], rtol=1e-5)
    assert found.classes.tolist() == [1, 0]
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp([-2.0, -3.0])), rtol=1e-5)
    assert not HEAD.needs_nms


def test_with_softmax_the_last_class_means_no_object() -> None:
    logits = np.array([[[0, np.log(6), 0], [0, 0, np.log(98)], [np.log(2), 0, 0]]], np.float32)
    found = HEAD.decode([BOXES, logits], context(activation="softmax", class_count=2))
    assert found.classes.tolist() == [1, 0]
    np.testing.assert_allclose(found.scores, [0.75, 0.5], rtol=1e-5)


def test_outputs_without_names_are_told_by_their_last_dimension() -> None:
    found = HEAD.decode([LOGITS, BOXES], HeadContext(640, 320, {}, {}, 0.3, 3))
    assert found.classes.tolist() == [1, 0]


def test_with_four_classes_both_could_be_boxes_and_have_to_be_named() -> None:
    four_classes = np.full((1, 3, 4), -9, np.float32)
    with pytest.raises(OutputsImplausible, match="the bundle has to name both"):
        HEAD.decode([BOXES, four_classes], HeadContext(640, 320, {}, {}, 0.3, 4))
    assert len(HEAD.decode([BOXES, four_classes], context(class_count=4)).scores) == 0


def test_nothing_seen_is_an_empty_answer_of_the_right_types() -> None:
    found = HEAD.decode([BOXES, LOGITS], context(min_score=0.99))
    assert found.boxes is not None
    assert (found.boxes.shape, found.classes.shape, found.scores.shape) == ((0, 4), (0,), (0,))
    assert [array.dtype.name for array in (found.boxes, found.classes, found.scores)] == ["float32", "int64", "float32"]


def test_the_surest_and_the_most_unlikely_logits_are_no_trouble() -> None:
    logits = np.array([[[3e38, -3e38, 0], [-3e38, -3e38, -3e38], [88, 0, 0]]], np.float32)
    assert HEAD.decode([BOXES, logits], context()).scores.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("boxes", "logits", "says"),
    [
        (BOXES[0], LOGITS, r"'boxes' has shape \(3, 4\); expected \(1, N, 4\)"),
        (BOXES[..., :3], LOGITS, r"'boxes' has shape \(1, 3, 3\); expected \(1, N, 4\)"),
        (BOXES, LOGITS[:, :2], r"'logits' has shape \(1, 2, 3\); expected \(1, 3, C\)"),
        (BOXES, LOGITS[..., :2], "'logits' tells 2 classes apart; expected at least 3"),
        (BOXES * np.float32(np.nan), LOGITS, "'boxes' .* 12 values that are NaN or infinite"),
        (BOXES, LOGITS + np.float32(np.inf), "'logits' .* NaN or infinite"),
        (BOXES * np.float32(1e38), LOGITS, "'boxes .decoded.' .* infinite"),
    ],
    ids=[
        "no batch dimension",
        "boxes of 3",
        "rows differ",
        "few classes",
        "boxes NaN",
        "logits infinite",
        "boxes huge",
    ],
)
def test_what_cannot_be_right_is_told(boxes: NDArray[np.float32], logits: NDArray[np.float32], says: str) -> None:
    with pytest.raises(OutputsImplausible, match=says):
        HEAD.decode([boxes, logits], context())


def test_an_activation_that_is_none_is_a_fault_of_the_bundle() -> None:
    with pytest.raises(BundleError, match=r"head_options\.activation of the bundle is wrong"):
        HEAD.decode([BOXES, LOGITS], context(activation="none"))
