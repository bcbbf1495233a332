"""Boxes go where the pixels go, and what cannot be seen any more is not asked for."""

from __future__ import annotations

import numpy as np
import pytest

from trainer_companion.augmentation import (
    GREY,
    Augmentation,
    augment,
    choose_map,
    mosaic,
    move_boxes,
    move_pixels,
    relight,
)

STILL = Augmentation(flip_horizontal=False, flip_vertical=False, zoom=0.0, colour=0.0)
CLASSES = np.array([0], np.int64)


def with_square(
    x: int, y: int, width: int, height: int, size: int = 96
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A white thing on black."""
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[y : y + height, x : x + width] = 255
    return pixels


def box_of_light(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[int]:
    """Corners of what is brighter than anything beside the picture."""
    rows, columns = np.flatnonzero((pixels.min(2) > 127).any(1)), np.flatnonzero((pixels.min(2) > 127).any(0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


@pytest.mark.parametrize("seed", range(40))
def test_boxes_follow_the_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    settings = Augmentation(flip_horizontal=True, flip_vertical=True, zoom=0.4, colour=0.0)
    pixels, box = with_square(30, 40, 24, 16), np.array([[30, 40, 54, 56]], np.float32)
    out = np.empty_like(pixels)
    boxes, classes = augment(pixels, box, CLASSES, settings, rng, out)
    if len(boxes):
        np.testing.assert_allclose(boxes[0], box_of_light(out), atol=1.01)
        assert classes.tolist() == [0]


def test_nothing_moves_where_nothing_is_asked_for() -> None:
    pixels, box = with_square(10, 20, 30, 40), np.array([[10, 20, 40, 60]], np.float32)
    out = np.empty_like(pixels)
    boxes, _ = augment(pixels, box, CLASSES, STILL, np.random.default_rng(0), out)
    assert np.array_equal(out, pixels)
    assert np.array_equal(boxes, box)


def test_a_mirrored_picture_has_mirrored_boxes_to_the_pixel() -> None:
    mirrored = np.array([[-1.0, 0.0, 96.0], [0.0, 1.0, 0.0]])
    pixels = with_square(10, 20, 30, 40)
    out = np.empty_like(pixels)
    move_pixels(pixels, mirrored, out)
    assert np.array_equal(out, pixels[:, ::-1])
    boxes, _ = move_boxes(np.array([[10, 20, 40, 60]], np.float32), mirrored, 96, 96)
    assert boxes.tolist() == [[56, 20, 86, 60]]


@pytest.mark.parametrize(
    ("box", "seen"),
    [
        pytest.param([10, 10, 20, 20], True, id="inside"),
        pytest.param([-5, 10, 5, 20], True, id="half inside"),
        pytest.param([-8, 10, 2, 20], False, id="a fifth inside"),
        pytest.param([100, 10, 120, 20], False, id="outside"),
        pytest.param([10, 10, 11, 40], False, id="thinner than two pixels"),
    ],
)
def test_of_what_is_cut_off_enough_has_to_be_left(box: list[float], seen: bool) -> None:
    identity = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    boxes, kept = move_boxes(np.array([box], np.float32), identity, 96, 96)
    assert kept.tolist() == [seen]
    assert (boxes >= 0).all()
    assert (boxes <= 96).all()


def test_pictures_without_boxes_stay_without() -> None:
    out = np.empty((96, 96, 3), np.uint8)
    none = np.empty((0, 4), np.float32)
    boxes, classes = augment(out.copy(), none, np.empty(0, np.int64), Augmentation(), np.random.default_rng(1), out)
    assert boxes.shape == (0, 4)
    assert classes.shape == (0,)


def test_a_smaller_picture_is_all_to_be_seen_and_a_larger_one_fills_the_input() -> None:
    corners = np.array([[0, 0, 96, 96]], np.float32)
    smaller = larger = 0
    for seed in range(60):
        how = choose_map(96, 96, Augmentation(zoom=0.5), np.random.default_rng(seed))
        moved, _ = move_boxes(corners, how, 96, 96)
        width, height = moved[0, 2] - moved[0, 0], moved[0, 3] - moved[0, 1]
        expected = np.minimum(96 * np.abs(np.diag(how[:, :2])), 96)
        np.testing.assert_allclose([width, height], expected, rtol=1e-5)
        smaller += width < 95
        larger += width == 96
    assert smaller > 10
    assert larger > 10


def test_light_changes_and_stays_as_it_is_without_strength() -> None:
    pixels = np.full((8, 8, 3), 100, np.uint8)
    relight(pixels, 0.0, np.random.default_rng(3))
    assert (pixels == 100).all()
    relight(pixels, 0.5, np.random.default_rng(3))
    assert not (pixels == 100).all()
    assert pixels.std(axis=(0, 1)).max() == 0  # every pixel alike


def test_a_mosaic_shows_four_pictures_with_their_boxes() -> None:
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        part = (with_square(8, 8, 80, 80), np.array([[8, 8, 88, 88]], np.float32), CLASSES)
        out = np.zeros((96, 96, 3), np.uint8)
        boxes, classes = mosaic([part] * 4, STILL, rng, out)
        assert len(boxes) == len(classes) <= 4
        found += len(boxes)
        for x1, y1, x2, y2 in boxes.round().astype(int):
            inside = out[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2]
            assert inside.min() == 255, seed
    assert found > 40


def test_what_is_beside_a_picture_is_grey() -> None:
    half = np.array([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])
    out = np.zeros((96, 96, 3), np.uint8)
    move_pixels(with_square(0, 0, 96, 96), half, out)
    assert (out[60:, 60:] == GREY).all()
    assert (out[:40, :40] == 255).all()
