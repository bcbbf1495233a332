"""Cells that say how far the sides of a box are from their centre."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import BundleError, OutputsImplausible
from models.heads.anchor_free import AnchorFree
from models.heads.base import Head, HeadContext

HEAD: Head = AnchorFree()
CELLS = 4 * 2 + 2 * 1
"""Of an input of 32 x 16 pixels, with strides 8 and 16."""


def context(min_score: float = 0.3, class_count: int = 2, **options: Any) -> HeadContext:
    return HeadContext(32, 16, {"distances": 0, "scores": 1}, options, min_score, class_count)


def outputs(*seen: tuple[int, int, float, tuple[float, ...]]) -> list[NDArray[np.float32]]:
    """Cell, class, score, distances of each thing; all other cells see nothing."""
    distances, scores = np.ones((1, CELLS, 4), np.float32), np.zeros((1, CELLS, 2), np.float32)
    for cell, number, score, reach in seen:
        distances[0, cell], scores[0, cell, number] = reach, score
    return [distances, scores]


def test_a_cell_of_each_grid_gives_a_box_around_its_centre() -> None:
    found = HEAD.decode(outputs((5, 1, 0.9, (1, 0.5, 1, 0.5)), (9, 0, 0.8, (1, 0.25, 0.5, 0.5))), context())
    assert found.boxes is not None
    # Cell 5 is the second of the second row, centre 12, 12; cell 9 the second of the coarse grid, centre 24, 8.
    np.testing.assert_allclose(found.boxes, [[4, 8, 20, 16], [8, 4, 32, 16]])
    assert found.classes.tolist() == [1, 0]
    np.testing.assert_allclose(found.scores, [0.9, 0.8], rtol=1e-6)
    assert HEAD.needs_nms


def test_a_side_beyond_the_centre_lies_on_it() -> None:
    found = HEAD.decode(outputs((0, 0, 0.9, (-3, 0.25, 0.5, -1))), context())
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes, [[4, 2, 8, 4]])


def test_unsure_cells_are_left_out_and_there_may_be_none() -> None:
    found = HEAD.decode(outputs((0, 0, 0.2, (1, 1, 1, 1))), context())
    assert found.boxes is not None
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)


def test_scores_may_come_as_logits() -> None:
    made = outputs((0, 1, 0.0, (1, 1, 1, 1)))
    made[1][:] = -9
    made[1][0, 0, 1] = 2
    found = HEAD.decode(made, context(activation="sigmoid"))
    np.testing.assert_allclose(found.scores, [1 / (1 + np.exp(-2.0))], rtol=1e-5)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        pytest.param(
            [np.ones((1, 9, 4)), np.ones((1, 9, 2))], r"\(1, 9, 4\); expected \(1, 10, 4\)", id="a cell short"
        ),
        pytest.param([np.ones((1, CELLS, 4)), np.ones((1, CELLS, 1))], "at least 2", id="a class short"),
        pytest.param([np.full((1, CELLS, 4), np.nan), np.ones((1, CELLS, 2))], "NaN", id="not finite"),
        pytest.param([np.ones((1, CELLS, 4)), np.full((1, CELLS, 2), 7.0)], "0 to 1", id="no probabilities"),
        pytest.param([np.ones((1, CELLS, 4))], "the model has 1", id="an output short"),
    ],
)
def test_implausible_outputs_are_refused(made: list[NDArray[np.float32]], sentence: str) -> None:
    with pytest.raises(OutputsImplausible, match=sentence):
        HEAD.decode([each.astype(np.float32) for each in made], context())


def test_an_output_that_the_bundle_does_not_name_is_missed_in_words() -> None:
    nameless = HeadContext(32, 16, {"distances": 0}, {}, 0.3, 2)
    with pytest.raises(OutputsImplausible, match="does not say which output is 'scores'"):
        HEAD.decode(outputs(), nameless)


@pytest.mark.parametrize("strides", [[], [0], ["wide"], [8] * 9])
def test_wrong_strides_are_refused(strides: list[Any]) -> None:
    with pytest.raises(BundleError, match=r"head_options\.strides"):
        HEAD.decode(outputs(), context(strides=strides))


def test_a_stride_wider_than_the_picture_is_refused() -> None:
    with pytest.raises(OutputsImplausible, match="leaves no cell"):
        HEAD.decode(outputs(), context(strides=[8, 64]))
