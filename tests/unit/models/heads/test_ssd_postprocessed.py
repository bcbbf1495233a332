"""SSD with its post-processing inside: what the seed model and everything from the TFLite model zoos gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import BundleError, OutputsImplausible
from models.heads.base import Head, HeadContext
from models.heads.ssd_postprocessed import SsdPostprocessed

NAMED = {"boxes": 0, "classes": 1, "scores": 2, "count": 3}
HEAD: Head = SsdPostprocessed()


def context(
    outputs: Mapping[str, int] = NAMED, min_score: float = 0.3, options: Mapping[str, Any] | None = None
) -> HeadContext:
    return HeadContext(300, 200, outputs, options or {}, min_score, class_count=80)


def seen() -> list[NDArray[np.float32]]:
    """A cat that reaches beyond the picture, a dog, something uncertain, and one row of leftovers."""
    boxes = [[0.1, -0.02, 0.5, 0.4], [0.5, 0.5, 1.04, 0.75], [0, 0, 1, 1], [9, 9, 9, 9]]
    return [
        np.array([boxes], np.float32),
        np.array([[16, 17, 2, 500]], np.float32),
        np.array([[0.9, 0.6, 0.2, 0.99]], np.float32),
        np.array([3], np.float32),
    ]


def test_boxes_become_pixels_of_the_input_and_keep_what_overshoots() -> None:
    found = HEAD.decode(seen(), context())
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes, [[-6, 20, 120, 100], [150, 100, 225, 208]], rtol=1e-5)
    assert found.classes.tolist() == [16, 17]
    np.testing.assert_allclose(found.scores, [0.9, 0.6])
    assert not HEAD.needs_nms


def test_rows_behind_the_count_are_not_looked_at() -> None:
    outputs = seen()
    outputs[0][0, 3] = np.nan
    outputs[2][0, 3] = np.inf
    assert HEAD.decode(outputs, context(min_score=0.0)).classes.tolist() == [16, 17, 2]


def test_nothing_seen_is_an_empty_answer_of_the_right_types() -> None:
    outputs = seen()
    outputs[3][0] = 0
    found = HEAD.decode(outputs, context())
    assert found.boxes is not None
    assert (found.boxes.shape, found.classes.shape, found.scores.shape) == ((0, 4), (0,), (0,))
    assert [array.dtype.name for array in (found.boxes, found.classes, found.scores)] == ["float32", "int64", "float32"]


@pytest.mark.parametrize(
    "order",
    [
        pytest.param(["boxes", "classes", "scores", "count"], id="as TensorFlow 1 writes them"),
        pytest.param(["scores", "boxes", "count", "classes"], id="as TensorFlow 2 writes them"),
    ],
)
@pytest.mark.parametrize("named", [[], ["boxes"], ["boxes", "count"]], ids=["unnamed", "one name", "two names"])
def test_outputs_without_names_are_told_by_shape_and_order(order: list[str], named: list[str]) -> None:
    by_role = dict(zip(NAMED, seen(), strict=True))
    found = HEAD.decode([by_role[role] for role in order], context({role: order.index(role) for role in named}))
    assert found.classes.tolist() == [16, 17]


def test_names_win_over_the_usual_order() -> None:
    boxes, classes, scores, count = seen()
    unusual = context({"count": 0, "scores": 1, "classes": 2, "boxes": 3})
    assert HEAD.decode([count, scores, classes, boxes], unusual).classes.tolist() == [16, 17]


def test_an_inverted_box_becomes_one_of_no_extent() -> None:
    outputs = seen()
    outputs[0][0, 0] = [0.5, 0.5, 0.4, 0.4]
    found = HEAD.decode(outputs, context())
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes[0], [150, 100, 150, 100])


def broken(index: int, value: Any) -> list[NDArray[np.float32]]:
    """What was seen, with one output replaced."""
    outputs = seen()
    outputs[index] = np.array(value, np.float32)
    return outputs


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        pytest.param(
            broken(0, np.zeros((1, 4, 5))), r"'boxes' has shape \(1, 4, 5\); expected \(1, N, 4\)", id="boxes of 5"
        ),
        pytest.param(
            broken(1, np.zeros((1, 3))), r"'classes' has shape \(1, 3\); expected \(1, 4\)", id="too few classes"
        ),
        pytest.param(
            broken(2, np.zeros((4,))), r"'scores' has shape \(4,\); expected \(1, 4\)", id="no batch dimension"
        ),
        pytest.param(broken(3, [1, 2]), r"'count' has shape \(2,\); expected one number", id="two counts"),
        pytest.param(broken(3, [5]), "'count' is 5; expected a whole number from 0 to 4", id="count above the rows"),
        pytest.param(broken(3, [-1]), "'count' is -1", id="count below 0"),
        pytest.param(broken(3, [1.5]), "'count' is 1.5", id="half a row"),
        pytest.param(broken(3, [np.nan]), "'count' is nan", id="count is NaN"),
        pytest.param(broken(0, np.full((1, 4, 4), np.nan)), "'boxes' .* NaN or infinite", id="boxes are NaN"),
        pytest.param(broken(0, np.full((1, 4, 4), 3e38)), "'boxes .decoded.' .* infinite", id="boxes beyond float32"),
        pytest.param(broken(1, np.full((1, 4), np.inf)), "'classes' .* NaN or infinite", id="classes are infinite"),
        pytest.param(broken(2, np.full((1, 4), np.nan)), "'scores' .* NaN or infinite", id="scores are NaN"),
        pytest.param(
            broken(2, [[16, 17, 2, 0]]), "'scores' has scores from 2 to 17; expected 0 to 1", id="classes for scores"
        ),
        pytest.param(
            broken(1, [[0.9, 0.6, 0.2, 0]]), "'classes' has 0.2 to 0.9; .*wrong way round", id="scores for classes"
        ),
        pytest.param(broken(1, [[-1, 0, 0, 0]]), "expected class numbers 0, 1, 2", id="a class below 0"),
        pytest.param(seen()[:3], "has 3 outputs", id="count is missing"),
    ],
)
def test_what_cannot_be_right_is_told(outputs: list[NDArray[np.float32]], says: str) -> None:
    with pytest.raises(OutputsImplausible, match=says):
        HEAD.decode(outputs, context({role: index for role, index in NAMED.items() if index < len(outputs)}))


def test_an_index_that_the_model_does_not_have_is_told() -> None:
    with pytest.raises(OutputsImplausible, match="'count' is output 7; the model has 4"):
        HEAD.decode(seen(), context(NAMED | {"count": 7}))


def test_outputs_in_no_usual_order_have_to_be_named() -> None:
    boxes, classes, scores, count = seen()
    with pytest.raises(OutputsImplausible, match="the bundle has to name all four"):
        HEAD.decode([count, scores, classes, boxes], context({}))


def test_a_name_that_contradicts_the_usual_order_is_not_guessed_around() -> None:
    with pytest.raises(OutputsImplausible, match="the bundle has to name all four"):
        HEAD.decode(seen(), context({"boxes": 0, "scores": 1}))


def test_an_option_that_the_head_does_not_know_is_a_fault_of_the_bundle() -> None:
    with pytest.raises(BundleError, match=r"head_options\.anchors of the bundle is wrong"):
        HEAD.decode(seen(), context(options={"anchors": []}))
