"""Masks become polygons that any other program takes: simple, inside the picture, whole pixels."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from annotator_companion.polygons import is_simple, largest_part, outline
from annotator_companion.tools.base import Point, Region
from tests.support.pasted_things import filled, intersection_over_union

Mask = NDArray[np.uint8]


def region(mask: Mask, left: int = 0, top: int = 0, factor: int = 1) -> Region:
    return Region(left, top, mask.shape[1] * factor, mask.shape[0] * factor, mask)


def picture_of(rows: str) -> Mask:
    return np.array([[character == "#" for character in row] for row in rows.split()], np.uint8)


def crossings(points: tuple[Point, ...]) -> list[Any]:
    """Pairs of sides that touch where they must not, one by one, by the parameters of the lines."""
    sides = list(zip(points, points[1:] + points[:1], strict=True))
    found = []
    for (i, one), (j, other) in combinations(enumerate(sides), 2):
        are_neighbours = j - i == 1 or (i == 0 and j == len(sides) - 1)
        shared = set(one) & set(other) if are_neighbours else set()
        if _touch(one, other) - shared:
            found.append((one, other))
    return found


def _touch(one: tuple[Point, Point], other: tuple[Point, Point]) -> set[tuple[float, float]]:
    """Where two sides touch: one place, or the ends of what they have in common."""
    (px, py), (p2x, p2y) = one
    (qx, qy), (q2x, q2y) = other
    rx, ry, sx, sy = p2x - px, p2y - py, q2x - qx, q2y - qy
    cross = rx * sy - ry * sx
    if cross:
        t, u = ((qx - px) * sy - (qy - py) * sx) / cross, ((qx - px) * ry - (qy - py) * rx) / cross
        at = (round(px + t * rx, 9), round(py + t * ry, 9))
        return {at} if 0 <= t <= 1 and 0 <= u <= 1 else set()
    if (qx - px) * ry - (qy - py) * rx:
        return set()
    return {end for end in one if _is_on(end, other)} | {end for end in other if _is_on(end, one)}


def _is_on(point: Point, side: tuple[Point, Point]) -> bool:
    return math.isclose(math.dist(side[0], point) + math.dist(point, side[1]), math.dist(*side), abs_tol=1e-9)


def area(points: tuple[Point, ...]) -> float:
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(points, points[1:] + points[:1], strict=True))) / 2


masks = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14), elements=st.integers(0, 1))


@given(masks, st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0, 1e9, None, float("nan"), -1.0]))
def test_any_mask_becomes_a_simple_polygon_inside_the_picture(mask: Mask, epsilon: float | None) -> None:
    rows, columns = mask.shape
    points = outline(region(mask), epsilon, columns, rows)
    assert bool(points) == bool(mask.any()), "empty if and only if there is nothing"
    if points:
        assert not crossings(points)
        assert is_simple(np.array(points))
        assert len(points) >= 3
        assert area(points) > 0
        assert all(0 <= x <= columns and 0 <= y <= rows for x, y in points)


@given(masks, st.integers(1, 4))
def test_without_simplification_it_is_exactly_the_largest_part(mask: Mask, factor: int) -> None:
    rows, columns = mask.shape[0] * factor, mask.shape[1] * factor
    points = outline(region(mask, factor=factor), 0, columns, rows)
    expected = largest_part(mask).repeat(factor, 0).repeat(factor, 1)
    if points:
        assert area(points) == expected.sum()
        assert intersection_over_union(filled(points, columns, rows), expected) == 1


def test_simplifying_ragged_things_makes_no_crossings() -> None:
    crossed = 0
    for seed in range(20):
        noise = cv2.GaussianBlur(np.random.default_rng(seed).random((40, 40)), (0, 0), 1.0)
        ragged = (noise > 0.5).astype(np.uint8)
        for epsilon in (2.0, 5.0):
            points = outline(region(ragged), epsilon, 40, 40)
            assert not crossings(points)
            exact = np.array(outline(region(ragged), 0, 40, 40), np.int32)
            fewer = np.asarray(cv2.approxPolyDP(exact.reshape(-1, 1, 2), epsilon, True), dtype=np.int32)
            crossed += not is_simple(fewer.reshape(-1, 2))
    assert crossed >= 3, "plain Douglas-Peucker makes some of these, so that this test could fail"


def test_the_largest_part_counts_and_its_holes_do_not() -> None:
    mask = picture_of("#####.#. #...#... #.#.#.## #...#.## #####...")
    assert area(outline(region(mask), 0, 8, 5)) == 25


def test_parts_that_touch_at_a_corner_only_are_two() -> None:
    points = outline(region(picture_of("##.. ##.. ..## ..#.")), 0, 4, 4)
    assert set(points) == {(0, 0), (2, 0), (2, 2), (0, 2)}


def test_a_ring_that_closes_at_a_corner_does_not_touch_itself() -> None:
    mask = picture_of(".### #..# #..# .##. ##..")
    mask = np.pad(mask, 1)
    points = outline(region(mask), 0, *mask.shape[::-1])
    assert points
    assert not crossings(points)


def test_one_pixel_is_a_polygon() -> None:
    points = outline(region(picture_of("#")), 3.0, 1, 1)
    assert area(points) == 1
    assert set(points) == {(0, 0), (1, 0), (1, 1), (0, 1)}


def test_more_epsilon_fewer_corners_and_still_the_thing() -> None:
    mask = np.zeros((200, 300), np.uint8)
    cv2.ellipse(mask, (150, 100), (120, 70), 20, 0, 360, 1, -1)
    found = [outline(region(mask), epsilon, 300, 200) for epsilon in (0, 1, 4)]
    counts = [len(points) for points in found]
    assert counts[0] > 3 * counts[1] > 3 * counts[2]
    assert intersection_over_union(filled(found[1], 300, 200), mask) > 0.98
    assert intersection_over_union(filled(found[2], 300, 200), mask) > 0.92


def test_a_mask_finer_than_the_picture_is_made_coarser() -> None:
    points = outline(Region(2, 3, 4, 4, np.ones((64, 64), np.uint8)), 1, 10, 10)
    assert set(points) == {(2, 3), (6, 3), (6, 7), (2, 7)}


@pytest.mark.parametrize("place", [(-1, 0, 4, 4), (0, -1, 4, 4), (7, 0, 4, 4), (0, 7, 4, 4)])
def test_a_region_outside_the_picture_is_refused(place: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="leaves 10 x 10 pixels"):
        outline(Region(*place, np.ones((4, 4), np.uint8)), 1, 10, 10)


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a mask"):
        outline(Region(0, 0, 4, 4, np.ones((4, 4, 3), np.uint8)), 1, 10, 10)


@pytest.mark.parametrize(
    ("points", "simple"),
    [
        ([(0, 0), (4, 0), (4, 4), (0, 4)], True),
        ([(0, 0), (4, 4), (4, 0), (0, 4)], False),  # a bow tie
        ([(0, 0), (4, 0)], False),
        ([(0, 0), (4, 0), (2, 0)], False),  # folds back
        ([(0, 0), (4, 0), (4, 4), (2, 0), (0, 4)], False),  # a corner on another side
        ([(0, 0), (2, 0), (4, 0), (4, 4), (0, 4)], True),  # straight on is no fold
        ([(0, 0), (4, 0), (2, 2), (4, 4), (0, 4), (2, 2)], False),  # passes a corner twice
    ],
)
def test_simple_means_no_side_touches_another(points: list[Point], simple: bool) -> None:
    assert is_simple(np.array(points)) is simple
    assert (len(points) >= 3 and not crossings(tuple(points))) is simple


@pytest.mark.parametrize("tooth", [3, 255, 256, 257, 500, 746])
def test_one_tooth_of_a_long_comb_that_is_too_long_is_seen(tooth: int) -> None:
    teeth = [(2 * number, 10 + 20 * (number % 2)) for number in range(750)]
    comb = [*teeth, (1498, 0), (0, 0)]
    assert is_simple(np.array(comb))
    comb[tooth] = (comb[tooth][0], -1)
    assert not is_simple(np.array(comb))
    # The same from top to bottom, where all begin at about the same place from the left.
    assert not is_simple(np.array(comb)[:, ::-1])
