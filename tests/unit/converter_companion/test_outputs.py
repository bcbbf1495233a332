"""Which output is which, told by numbers alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from converter_companion.outputs import by_rank, difference, match
from models.errors import ModelFailed

NAMES = {"distances": 0, "scores": 1}


def said(seed: int, *, same_shape: bool = False) -> list[NDArray[np.float32]]:
    dice = np.random.default_rng(seed)
    columns = 4 if same_shape else 3
    return [
        dice.uniform(0, 8, (1, 80, 4)).astype(np.float32),
        dice.uniform(0, 1, (1, 80, columns)).astype(np.float32),
    ]


@pytest.mark.parametrize("same_shape", [False, True])
def test_outputs_in_another_order_are_found(same_shape: bool) -> None:
    source = [said(seed, same_shape=same_shape) for seed in range(3)]
    noise = np.random.default_rng(9).normal(0, 0.02, (1, 80, 4)).astype(np.float32)
    result = [[scores, distances + noise] for distances, scores in source]
    assert match(NAMES, source, result) == {"distances": 1, "scores": 0}
    assert match(NAMES, source, source) == NAMES


def test_another_network_is_told_from_another_order() -> None:
    with pytest.raises(ModelFailed, match="something else than its source"):
        match(NAMES, [said(1)], [said(2)])


def test_a_result_that_is_no_number_fits_nothing() -> None:
    broken = [said(1)[0], np.full((1, 80, 3), np.nan, np.float32)]
    with pytest.raises(ModelFailed, match="like scores of the source"):
        match(NAMES, [said(1)], [broken])


def test_a_lost_output_is_named() -> None:
    with pytest.raises(ModelFailed, match=r"1 outputs; the source has 2: distances, scores"):
        match(NAMES, [said(1)], [said(1)[:1]])


def test_without_pictures_nothing_can_be_told() -> None:
    with pytest.raises(ModelFailed, match="Without pictures"):
        match(NAMES, [], [])


def test_things_in_another_order_are_no_difference_and_other_things_are() -> None:
    logits = np.array([[[3.0, -2.0], [-4.0, -4.1], [-4.2, -4.3]]], np.float32)
    anew = logits[:, [0, 2, 1]]
    assert difference(logits, anew) > 0
    assert difference(by_rank(logits), by_rank(anew)) == 0
    assert difference(by_rank(logits), by_rank(logits[..., ::-1])) > 0.1


def test_things_in_flat_lists_are_ranked_too() -> None:
    """As scores of a network that suppresses doubles by itself: (1, things)."""
    scores = np.array([[0.9, 0.5, 0.4]], np.float32)
    assert difference(by_rank(scores), by_rank(scores[:, ::-1])) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_never_near(value: float) -> None:
    [boxes, _] = said(1)
    broken = boxes.copy()
    broken[0, 3, 1] = value
    assert difference(boxes, broken) == difference(broken, boxes) == difference(broken, broken) == np.inf


def test_values_that_hardly_differ_are_not_blown_up() -> None:
    """As of a network that has learnt nothing, in integers whose steps are a hundredth."""
    flat = np.linspace(2.037, 2.047, 320, dtype=np.float32).reshape(1, 80, 4)
    assert difference(flat, np.round(flat / 0.01) * np.float32(0.01)) < 0.02
    assert difference(flat, flat * 2) > 1.0
