"""Classification of the whole picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import BundleError, OutputsImplausible
from models.heads.base import Head, HeadContext
from models.heads.classification import Classification

HEAD: Head = Classification()
SCORES = np.array([[0.05, 0.6, 0.0, 0.35]], np.float32)


def context(min_score: float = 0.1, class_count: int = 4, **options: Any) -> HeadContext:
    return HeadContext(224, 224, {}, options, min_score, class_count)


def test_classes_come_surest_first_and_have_no_boxes() -> None:
    found = HEAD.decode([SCORES], context())
    assert found.boxes is None
    assert found.classes.tolist() == [1, 3]
    np.testing.assert_allclose(found.scores, [0.6, 0.35])
    assert (found.classes.dtype.name, found.scores.dtype.name) == ("int64", "float32")
    assert not HEAD.needs_nms


@pytest.mark.parametrize("shape", [(1, 4), (1, 1, 1, 4), (1, 4, 1, 1), (4,)])
def test_dimensions_of_one_do_not_matter(shape: tuple[int, ...]) -> None:
    assert HEAD.decode([SCORES.reshape(shape)], context()).classes.tolist() == [1, 3]


def test_only_the_top_is_given_where_the_bundle_wants_that() -> None:
    assert HEAD.decode([SCORES], context(top_k=1)).classes.tolist() == [1]
    assert HEAD.decode([SCORES], context(min_score=0.0)).classes.tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("softmax", [0.8, 0.1, 0.1]), ("sigmoid", [8 / 9, 0.5, 0.5])],
)
def test_logits_are_activated(activation: str, expected: list[float]) -> None:
    logits = np.array([[0, np.log(8), 0]], np.float32)
    found = HEAD.decode([logits], context(class_count=3, activation=activation))
    assert found.classes.tolist() == [1, 0, 2]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_huge_logits_are_no_trouble(activation: str) -> None:
    found = HEAD.decode([np.array([[3e38, -3e38]], np.float32)], context(class_count=2, activation=activation))
    assert (found.classes.tolist(), found.scores.tolist()) == ([0], [1.0])


def test_nothing_seen_is_an_empty_answer_of_the_right_types() -> None:
    found = HEAD.decode([SCORES], context(min_score=0.7))
    assert (found.classes.shape, found.scores.shape) == ((0,), (0,))
    assert (found.classes.dtype.name, found.scores.dtype.name) == ("int64", "float32")


def test_a_probability_that_quantization_put_above_one_is_one() -> None:
    assert HEAD.decode([np.array([[1.004, -0.004]], np.float32)], context(class_count=2)).scores.tolist() == [1.0]


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (np.zeros((1, 2, 4)), r"'scores' has shape \(1, 2, 4\); expected \(1, C\)"),
        (np.zeros((2, 4)), r"'scores' has shape \(2, 4\); expected \(1, C\)"),
        (np.zeros((1, 0)), r"'scores' has shape \(1, 0\); expected \(1, C\)"),
        (np.zeros((1, 3)), "'scores' tells 3 classes apart; expected at least 4"),
        (np.array([[0.1, np.nan, 0.1, 0.1]]), "'scores' .* 1 values that are NaN or infinite"),
        (np.array([[0.1, np.inf, 0.1, 0.1]]), "'scores' .* 1 values that are NaN or infinite"),
        (np.array([[-3, 4.5, 0, 0]]), "scores from -3 to 4.5; expected 0 to 1. If they are logits"),
    ],
    ids=["rank 3", "two pictures", "no classes", "few classes", "NaN", "infinite", "logits"],
)
def test_what_cannot_be_right_is_told(output: NDArray[Any], says: str) -> None:
    with pytest.raises(OutputsImplausible, match=says):
        HEAD.decode([output.astype(np.float32)], context())


def test_a_model_without_outputs_is_told() -> None:
    with pytest.raises(OutputsImplausible, match="has 0 outputs with shapes none"):
        HEAD.decode([], context())


@pytest.mark.parametrize("options", [{"top_k": 0}, {"activation": "relu"}, {"topk": 1}])
def test_options_that_cannot_be_right_are_a_fault_of_the_bundle(options: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=f"head_options.{next(iter(options))} of the bundle is wrong"):
        HEAD.decode([SCORES], context(**options))
