"""YOLO outputs of every family, as exporters write them and transposed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import BundleError, OutputsImplausible
from models.heads.base import Candidates, Head, HeadContext
from models.heads.yolo import Yolo

HEAD: Head = Yolo()
CELLS = 84
"""Of an input of 64 x 64 pixels: 8 x 8 + 4 x 4 + 2 x 2."""


def context(min_score: float = 0.3, class_count: int = 3, **options: Any) -> HeadContext:
    return HeadContext(64, 64, {"predictions": 0}, options, min_score, class_count)


def v5(scale: float = 1.0) -> NDArray[np.float32]:
    """(1, 252, 8): a box around (32, 16) of class 2; two that objectness makes unlikely; nothing else."""
    rows = np.zeros((1, 3 * CELLS, 8), np.float32)
    rows[0, :, :2] = np.linspace(2, 62, 3 * CELLS)[:, np.newaxis] / scale
    rows[0, 100] = [32 / scale, 16 / scale, 20 / scale, 10 / scale, 0.9, 0.1, 0.2, 0.8]
    rows[0, 99] = [30 / scale, 10 / scale, 20 / scale, 10 / scale, 0.5, 0.5, 0.5, 0.5]
    rows[0, 101] = [30 / scale, 10 / scale, 20 / scale, 10 / scale, 0.2, 0.9, 0.9, 0.9]
    return rows


def v8(scale: float = 1.0) -> NDArray[np.float32]:
    """(1, 7, 84): the same box."""
    rows = np.zeros((1, CELLS, 7), np.float32)
    rows[0, :, :2] = np.linspace(2, 62, CELLS)[:, np.newaxis] / scale
    rows[0, 50] = [32 / scale, 16 / scale, 20 / scale, 10 / scale, 0.1, 0.2, 0.72]
    return np.ascontiguousarray(rows.transpose(0, 2, 1))


def yolox() -> NDArray[np.float32]:
    """(1, 84, 8): the same box, seen by the cell in column 1 and row 0 of the middle grid (stride 16)."""
    rows = np.zeros((1, CELLS, 8), np.float32)
    rows[0, 64 + 1] = [1.0, 1.0, np.log(20 / 16), np.log(10 / 16), 0.9, 0.1, 0.2, 0.8]
    return rows


def transposed(output: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(output.transpose(0, 2, 1))


def assert_is_the_box(found: Candidates) -> None:
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes, [[22, 11, 42, 21]], rtol=1e-4)
    assert found.classes.tolist() == [2]
    np.testing.assert_allclose(found.scores, [0.72], rtol=1e-5)
    assert [array.dtype.name for array in (found.boxes, found.classes, found.scores)] == ["float32", "int64", "float32"]


@pytest.mark.parametrize("told", [True, False], ids=["layout told", "layout from the shape"])
@pytest.mark.parametrize(
    ("layout", "output"),
    [
        pytest.param("v5", v5(), id="v5"),
        pytest.param("v8", v8(), id="v8"),
        pytest.param("v8", transposed(v8()), id="v8 transposed"),
        pytest.param("yolox", yolox(), id="yolox"),
    ],
)
def test_every_layout_gives_the_same_box(layout: str, output: NDArray[np.float32], told: bool) -> None:
    assert_is_the_box(HEAD.decode([output], context(layout=layout) if told else context()))
    assert HEAD.needs_nms


@pytest.mark.parametrize(("layout", "output"), [("v5", transposed(v5())), ("yolox", transposed(yolox()))])
def test_what_nobody_writes_transposed_is_read_so_when_the_layout_is_told(
    layout: str, output: NDArray[np.float32]
) -> None:
    assert_is_the_box(HEAD.decode([output], context(layout=layout)))


@pytest.mark.parametrize("options", [{}, {"normalized": True}], ids=["seen from their size", "told"])
@pytest.mark.parametrize("output", [v5(scale=64), v8(scale=64)], ids=["v5", "v8"])
def test_coordinates_that_are_shares_of_the_picture_become_pixels(
    output: NDArray[np.float32], options: dict[str, Any]
) -> None:
    assert_is_the_box(HEAD.decode([output], context(**options)))


def test_pixels_that_happen_to_be_small_stay_pixels_when_that_is_told() -> None:
    found = HEAD.decode([v8(scale=64)], context(normalized=False))
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes * 64, [[22, 11, 42, 21]], rtol=1e-4)


def test_scores_that_come_as_logits_are_activated() -> None:
    output = yolox()
    output[0, :, 4:] = -20
    output[0, 65, 4:] = [np.log(9), -2, 0, np.log(4)]
    assert_is_the_box(HEAD.decode([output], context(activation="sigmoid")))


def test_a_model_with_more_classes_than_the_bundle_has_categories_is_read() -> None:
    assert_is_the_box(HEAD.decode([v8()], context(class_count=1)))


def test_a_tiny_input_can_have_fewer_rows_than_features() -> None:
    output = np.zeros((1, 104, CELLS), np.float32)
    output[0, :7] = v8()[0]
    assert_is_the_box(HEAD.decode([output], context(layout="v8")))


def test_a_layout_with_other_grids_is_read_by_there_being_more_rows_than_features() -> None:
    output = np.zeros((1, 8, 5000), np.float32)
    output[0, :, 7] = [32, 16, 20, 10, 0.1, 0.2, 0.72, 0]
    assert_is_the_box(HEAD.decode([output], context(layout="v8", class_count=2)))


def test_one_thing_is_one_candidate_however_many_classes_are_likely() -> None:
    output = v8()
    output[0, 4:, 50] = [0.7, 0.71, 0.72]
    assert_is_the_box(HEAD.decode([output], context()))


@pytest.mark.parametrize("output", [v5(), v8(), yolox()], ids=["v5", "v8", "yolox"])
def test_nothing_seen_is_an_empty_answer_of_the_right_types(output: NDArray[np.float32]) -> None:
    found = HEAD.decode([output], context(min_score=0.95))
    assert found.boxes is not None
    assert (found.boxes.shape, found.classes.shape, found.scores.shape) == ((0, 4), (0,), (0,))
    assert [array.dtype.name for array in (found.boxes, found.classes, found.scores)] == ["float32", "int64", "float32"]


def with_value(output: NDArray[np.float32], place: tuple[int, int], value: float) -> NDArray[np.float32]:
    output[0][place] = value
    return output


@pytest.mark.parametrize(
    ("output", "options", "says"),
    [
        pytest.param(np.zeros((84, 8)), {}, r"shape \(84, 8\); expected \(1, N, F\)", id="no batch dimension"),
        pytest.param(np.zeros((2, 84, 8)), {}, r"shape \(2, 84, 8\); expected \(1, N, F\)", id="two pictures"),
        pytest.param(np.zeros((1, 99, 8)), {}, "none of v5, v8 and yolox for sure", id="a shape that is none of them"),
        pytest.param(np.zeros((1, 84, 8)), {"class_count": 2}, "none of v5, v8 and yolox for sure", id="v8 or yolox"),
        pytest.param(
            np.zeros((1, 99, 8)), {"layout": "yolox"}, "has 99 rows; expected 84, the cells", id="other grids"
        ),
        pytest.param(
            np.zeros((1, 6, 84)), {"layout": "v8"}, "tells 2 classes apart; expected at least 3", id="few classes"
        ),
        pytest.param(
            np.zeros((1, 4, 84)), {"layout": "v8", "class_count": 0}, "tells 0 classes apart", id="no classes"
        ),
        pytest.param(with_value(v5(), (7, 6), np.nan), {}, "1 values that are NaN or infinite", id="a score is NaN"),
        pytest.param(with_value(v8(), (0, 9), np.inf), {}, "1 values that are NaN or infinite", id="a box is infinite"),
        pytest.param(with_value(v8(), (4, 9), 7.0), {}, "scores from 0 to 7; expected 0 to 1", id="logits, v8"),
        pytest.param(with_value(v5(), (9, 4), -7.0), {}, "scores from -7 to 0.9; expected 0 to 1", id="logits, v5"),
        pytest.param(
            with_value(yolox(), (65, 2), 500.0), {}, "'predictions .decoded.' .* infinite", id="exp overflows"
        ),
    ],
)
def test_what_cannot_be_right_is_told(output: NDArray[Any], options: dict[str, Any], says: str) -> None:
    with pytest.raises(OutputsImplausible, match=says):
        HEAD.decode([output.astype(np.float32)], context(**options))


def test_of_several_outputs_one_has_to_be_named() -> None:
    unnamed = HeadContext(64, 64, {}, {}, 0.3, 3)
    assert_is_the_box(HEAD.decode([v8()], unnamed))
    with pytest.raises(OutputsImplausible, match=r"has 2 outputs .* which one is 'predictions'"):
        HEAD.decode([v8(), v8()], unnamed)
    assert_is_the_box(
        HEAD.decode([np.zeros((1, 2), np.float32), v8()], HeadContext(64, 64, {"predictions": 1}, {}, 0.3, 3))
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layout": "v4"}, "head_options.layout of the bundle is wrong: Input should be 'v5', 'v8' or 'yolox'"),
        ({"activation": "softmax"}, "head_options.activation of the bundle is wrong"),
        ({"normalised": True}, "head_options.normalised of the bundle is wrong: .* This head knows layout, activation"),
        ({"layout": "yolox", "normalized": True}, "a yolox layout cannot say 'normalized'"),
    ],
)
def test_options_that_cannot_be_right_are_a_fault_of_the_bundle(options: dict[str, Any], says: str) -> None:
    with pytest.raises(BundleError, match=says):
        HEAD.decode([yolox()], context(**options))
