"""Boxes: overlap, suppression, conversions, and the way from a model's input back to the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from models.geometry import (
    MAX_CANDIDATES,
    Placement,
    clip_boxes,
    cxcywh_to_xyxy,
    iou_matrix,
    nms,
    xywh_to_xyxy,
    xyxy_to_xywh,
)

NAN, INF = float("nan"), float("inf")

Numbers = NDArray[Any]


def boxes(*rows: tuple[float, float, float, float]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def naive_iou(a: Numbers, b: Numbers) -> float:
    """Written as one would explain it, in Python's own floats."""
    ax1, ay1, ax2, ay2 = (float(v) for v in a)
    bx1, by1, bx2, by2 = (float(v) for v in b)
    overlap = max(min(ax2, bx2) - max(ax1, bx1), 0.0) * max(min(ay2, by2) - max(ay1, by1), 0.0)
    area_a = max(ax2 - ax1, 0.0) * max(ay2 - ay1, 0.0)
    area_b = max(bx2 - bx1, 0.0) * max(by2 - by1, 0.0)
    return overlap / (area_a + area_b - overlap) if overlap > 0 else 0.0


def naive_nms(candidates: Numbers, scores: Numbers, classes: Numbers, threshold: float, most: int) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(candidates)), key=lambda i: (-float(scores[i]), i)):
        rivals = [k for k in kept if classes[k] == classes[i]]
        if all(naive_iou(candidates[k], candidates[i]) <= threshold for k in rivals):
            kept.append(i)
    return kept[:most]


# Whole numbers in a small area, so that boxes meet, touch, coincide, are empty or inverted.
crowds = st.integers(0, 60).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float32, (n, 4), elements=st.integers(-4, 24).map(float)),
        hnp.arrays(np.float32, n, elements=st.sampled_from([0.125, 0.25, 0.5, 0.5, 0.75, 1.0])),
        hnp.arrays(np.int64, n, elements=st.integers(0, 2)),
    )
)
anything = hnp.arrays(np.float32, st.tuples(st.integers(0, 8), st.just(4)), elements=st.floats(width=32))


class TestOverlap:
    @pytest.mark.parametrize(
        ("a", "b", "expected"),
        [
            pytest.param((0, 0, 10, 10), (0, 0, 10, 10), 1.0, id="the same box"),
            pytest.param((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3, id="half of each"),
            pytest.param((0, 0, 10, 10), (0, 0, 10, 5), 0.5, id="one inside the other"),
            pytest.param((0, 0, 10, 10), (10, 0, 20, 10), 0.0, id="side by side"),
            pytest.param((0, 0, 10, 10), (30, 30, 40, 40), 0.0, id="far apart"),
            pytest.param((-10, -10, 0, 0), (-10, -10, 0, 0), 1.0, id="negative coordinates"),
            pytest.param((5, 5, 5, 5), (5, 5, 5, 5), 0.0, id="empty"),
            pytest.param((10, 10, 0, 0), (10, 10, 0, 0), 0.0, id="inverted"),
            pytest.param((0, 0, NAN, 10), (0, 0, 10, 10), 0.0, id="NaN"),
            pytest.param((0, 0, INF, 10), (0, 0, INF, 10), 0.0, id="infinite"),
            pytest.param((0, 0, 3e38, 3e38), (0, 0, 3e38, 3e38), 1.0, id="as large as float32 goes"),
        ],
    )
    def test_of_two_boxes(self, a: Any, b: Any, expected: float) -> None:
        assert iou_matrix(boxes(a), boxes(b))[0, 0] == pytest.approx(expected)

    def test_compares_each_with_each(self) -> None:
        overlap = iou_matrix(boxes((0, 0, 2, 2), (0, 0, 4, 4)), boxes((0, 0, 2, 2), (9, 9, 10, 10), (0, 0, 4, 4)))
        assert overlap.dtype == np.float32
        np.testing.assert_allclose(overlap, [[1, 0, 0.25], [0.25, 0, 1]])

    @pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0)])
    def test_of_no_boxes_is_an_empty_matrix(self, n: int, m: int) -> None:
        assert iou_matrix(np.ones((n, 4)), np.ones((m, 4))).shape == (n, m)

    def test_wrong_shape_is_told(self) -> None:
        with pytest.raises(ValueError, match=r"expected boxes of shape \(N, 4\), got \(3, 5\)"):
            iou_matrix(np.ones((3, 5)), np.ones((3, 4)))

    @settings(max_examples=60, deadline=None)
    @given(anything, anything)
    def test_stays_between_0_and_1_whatever_comes(self, a: Numbers, b: Numbers) -> None:
        overlap = iou_matrix(a, b)
        assert np.all((overlap >= 0) & (overlap <= 1))
        np.testing.assert_array_equal(overlap, iou_matrix(b, a).T)


class TestNonMaximumSuppression:
    def test_one_object_seen_three_times_stays_once(self) -> None:
        seen = boxes((10, 10, 50, 50), (12, 10, 52, 50), (11, 11, 51, 51), (100, 100, 120, 120))
        kept = nms(seen, np.array([0.6, 0.9, 0.7, 0.3]), np.zeros(4, dtype=np.int64), 0.5)
        assert kept.dtype == np.int64
        assert kept.tolist() == [1, 3]

    def test_a_cup_on_a_table_stays_beside_the_table(self) -> None:
        same_place = boxes((0, 0, 10, 10), (0, 0, 10, 10))
        assert nms(same_place, np.array([0.5, 0.6]), np.array([46, 66]), 0.5).tolist() == [1, 0]

    def test_who_was_removed_removes_nobody(self) -> None:
        chain = boxes((0, 0, 10, 10), (4, 0, 14, 10), (8, 0, 18, 10))
        assert nms(chain, np.array([0.9, 0.8, 0.7]), np.zeros(3), 0.3).tolist() == [0, 2]

    def test_equal_scores_the_first_one_stays(self) -> None:
        same = np.repeat(boxes((0, 0, 10, 10)), 500, axis=0)
        assert nms(same, np.full(500, 0.5), np.zeros(500), 0.5).tolist() == [0]

    def test_equal_boxes_touching_the_threshold_stay(self) -> None:
        half = boxes((0, 0, 10, 10), (0, 0, 10, 5))
        assert nms(half, np.array([0.9, 0.8]), np.zeros(2), 0.5).tolist() == [0, 1]

    def test_what_is_no_number_never_stays(self) -> None:
        broken = boxes((0, 0, NAN, 1), (0, 0, 1, 1), (0, 0, INF, 1), (5, 5, 6, 6), (8, 8, 9, 9))
        assert nms(broken, np.array([0.9, NAN, 0.9, 0.2, INF]), np.zeros(5), 0.5).tolist() == [3]

    def test_empty_boxes_stay(self) -> None:
        assert nms(boxes((5, 5, 5, 5), (5, 5, 5, 5)), np.array([0.5, 0.6]), np.zeros(2), 0.5).tolist() == [1, 0]

    @pytest.mark.parametrize(("most", "expected"), [(0, 0), (-1, 0), (1, 1), (7, 7), (10_000, 1000)])
    def test_no_more_than_asked_for(self, most: int, expected: int) -> None:
        left = np.arange(1000, dtype=np.float32) * 10
        apart = np.stack([left, left, left + 5, left + 5], axis=1)
        kept = nms(apart, np.linspace(0, 1, 1000), np.zeros(1000), 0.5, max_detections=most)
        assert kept.tolist() == list(range(999, 999 - expected, -1))

    def test_a_flood_of_candidates_is_cut_to_the_best(self) -> None:
        left = np.arange(MAX_CANDIDATES + 500, dtype=np.float32) * 10
        flood = np.stack([left, left, left + 5, left + 5], axis=1)
        kept = nms(flood, np.linspace(1, 0, len(flood)), np.zeros(len(flood)), 0.5, max_detections=len(flood))
        assert kept.tolist() == list(range(MAX_CANDIDATES))

    def test_nothing_seen(self) -> None:
        kept = nms(np.empty((0, 4)), np.empty(0), np.empty(0), 0.5)
        assert kept.shape == (0,)
        assert kept.dtype == np.int64

    def test_lists_that_do_not_run_parallel_are_told(self) -> None:
        with pytest.raises(ValueError, match=r"expected 2 scores and classes .* \(3,\) and \(2,\)"):
            nms(np.ones((2, 4)), np.ones(3), np.ones(2), 0.5)

    @settings(max_examples=150, deadline=None)
    @given(crowds, st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.integers(0, 70))
    def test_is_the_naive_algorithm_only_faster(self, crowd: Any, threshold: float, most: int) -> None:
        candidates, scores, classes = crowd
        expected = naive_nms(candidates, scores, classes, threshold, most)
        assert nms(candidates, scores, classes, threshold, most).tolist() == expected

    def test_is_the_naive_algorithm_over_several_blocks(self) -> None:
        random = np.random.default_rng(7)
        corner = random.integers(0, 150, (700, 2)).astype(np.float32)
        crowd = np.concatenate([corner, corner + random.integers(5, 40, (700, 2))], axis=1)
        scores, classes = random.random(700).round(2), random.integers(0, 3, 700)
        assert nms(crowd, scores, classes, 0.4).tolist() == naive_nms(crowd, scores, classes, 0.4, 300)


class TestConversions:
    @pytest.mark.parametrize(
        ("convert", "box", "expected"),
        [
            pytest.param(cxcywh_to_xyxy, (50, 40, 20, 10), (40, 35, 60, 45), id="centre to corners"),
            pytest.param(cxcywh_to_xyxy, (0, 0, 0, 0), (0, 0, 0, 0), id="empty centre"),
            pytest.param(xywh_to_xyxy, (10, 20, 30, 40), (10, 20, 40, 60), id="size to corners"),
            pytest.param(xywh_to_xyxy, (-10, -20, 5, 5), (-10, -20, -5, -15), id="negative"),
            pytest.param(xyxy_to_xywh, (10, 20, 40, 60), (10, 20, 30, 40), id="corners to size"),
            pytest.param(xyxy_to_xywh, (40, 60, 10, 20), (40, 60, -30, -40), id="inverted: negative size"),
            pytest.param(xyxy_to_xywh, (NAN, 0, 1, 1), (NAN, 0, NAN, 1), id="NaN stays"),
        ],
    )
    def test_of_one_box(self, convert: Any, box: Any, expected: Any) -> None:
        for shaped in (boxes(box), boxes(box)[0], boxes(box)[None]):
            converted = convert(shaped)
            assert converted.dtype == np.float32
            assert converted.shape == shaped.shape
            np.testing.assert_array_equal(converted.reshape(4), np.array(expected, dtype=np.float32))

    @pytest.mark.parametrize("convert", [cxcywh_to_xyxy, xywh_to_xyxy, xyxy_to_xywh])
    def test_of_no_boxes(self, convert: Any) -> None:
        assert convert(np.empty((0, 4))).shape == (0, 4)

    @settings(max_examples=50, deadline=None)
    @given(hnp.arrays(np.float32, (3, 4), elements=st.integers(-10_000, 10_000).map(float)))
    def test_there_and_back(self, given_boxes: Numbers) -> None:
        np.testing.assert_array_equal(xyxy_to_xywh(xywh_to_xyxy(given_boxes)), given_boxes)

    @settings(max_examples=50, deadline=None)
    @given(anything)
    def test_numbers_beyond_float32_are_no_drama(self, given_boxes: Numbers) -> None:
        for convert in (cxcywh_to_xyxy, xywh_to_xyxy, xyxy_to_xywh):
            assert convert(given_boxes.astype(np.float64) * 10).shape == given_boxes.shape


class TestClipping:
    @pytest.mark.parametrize(
        ("box", "expected"),
        [
            pytest.param((10, 10, 20, 20), (10, 10, 20, 20), id="inside"),
            pytest.param((-5, -5, 700, 500), (0, 0, 640, 480), id="overshoots on every side"),
            pytest.param((700, 10, 800, 20), (640, 10, 640, 20), id="outside: empty on the edge"),
            pytest.param((-INF, 0, INF, 20), (0, 0, 640, 20), id="infinite"),
            pytest.param((NAN, 5, 10, 20), (0, 0, 0, 0), id="NaN: empty"),
            pytest.param((20, 20, 10, 10), (20, 20, 10, 10), id="inverted stays inverted"),
        ],
    )
    def test_of_one_box(self, box: Any, expected: Any) -> None:
        np.testing.assert_array_equal(clip_boxes(boxes(box), 640, 480), boxes(expected))

    def test_leaves_the_given_array_alone(self) -> None:
        given_boxes = boxes((-1, -1, 9, 9))
        clip_boxes(given_boxes, 5, 5)
        np.testing.assert_array_equal(given_boxes, boxes((-1, -1, 9, 9)))

    def test_of_no_boxes(self) -> None:
        assert clip_boxes(np.empty(0), 10, 10).shape == (0, 4)


sides = st.integers(1, 16_384)
inputs = st.integers(1, 2048)


class TestPlacement:
    def test_stretched_full_hd(self) -> None:
        placement = Placement.stretch(1920, 1080, 300, 300)
        assert (placement.placed_width, placement.placed_height) == (300, 300)
        np.testing.assert_allclose(placement.to_source(boxes((75, 150, 300, 300))), boxes((480, 540, 1920, 1080)))

    def test_letterboxed_full_hd_lies_in_the_middle(self) -> None:
        placement = Placement.letterbox(1920, 1080, 640, 640)
        assert (placement.placed_width, placement.placed_height) == (640, 360)
        assert (placement.pad_x, placement.pad_y) == (0, 140)
        np.testing.assert_allclose(placement.to_source(boxes((0, 140, 320, 320))), boxes((0, 0, 960, 540)))

    def test_letterboxed_portrait(self) -> None:
        placement = Placement.letterbox(1000, 2000, 300, 200)
        assert (placement.placed_width, placement.placed_height, placement.pad_x) == (100, 200, 100)

    def test_a_thin_line_keeps_one_pixel(self) -> None:
        placement = Placement.letterbox(16_000, 3, 300, 300)
        assert (placement.placed_width, placement.placed_height) == (300, 1)

    def test_a_box_in_the_grey_border_comes_back_empty(self) -> None:
        placement = Placement.letterbox(1920, 1080, 640, 640)
        left, top, right, bottom = placement.to_source(boxes((10, 10, 100, 100)))[0]
        assert (top, bottom) == (0, 0)
        assert left < right

    def test_what_is_no_number_comes_back_empty(self) -> None:
        placement = Placement.stretch(100, 100, 10, 10)
        nonsense = boxes((NAN, 0, 5, 5), (-INF, -3e38, INF, 3e38))
        np.testing.assert_array_equal(placement.to_source(nonsense), boxes((0, 0, 0, 0), (0, 0, 100, 100)))

    def test_no_boxes(self) -> None:
        assert Placement.stretch(10, 10, 10, 10).to_source(np.empty((0, 4))).shape == (0, 4)

    @pytest.mark.parametrize("sizes", [(0, 10, 10, 10), (10, -1, 10, 10), (10, 10, 0, 10), (10, 10, 10, 0)])
    def test_sizes_must_be_above_zero(self, sizes: tuple[int, int, int, int]) -> None:
        for place in (Placement.stretch, Placement.letterbox):
            with pytest.raises(ValueError, match="expected sizes above zero"):
                place(*sizes)

    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from([Placement.stretch, Placement.letterbox]), sides, sides, inputs, inputs, st.data())
    def test_a_box_comes_back_from_where_it_was_placed(
        self, place: Any, width: int, height: int, input_width: int, input_height: int, data: st.DataObject
    ) -> None:
        placement: Placement = place(width, height, input_width, input_height)
        x1, x2 = sorted(data.draw(st.tuples(st.integers(0, width), st.integers(0, width))))
        y1, y2 = sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height))))
        placed = [
            x1 * placement.scale_x + placement.pad_x,
            y1 * placement.scale_y + placement.pad_y,
            x2 * placement.scale_x + placement.pad_x,
            y2 * placement.scale_y + placement.pad_y,
        ]
        assert 0 <= placed[0] <= placed[2] <= input_width + 1e-6
        assert 0 <= placed[1] <= placed[3] <= input_height + 1e-6
        # float32 has 24 bits: an input coordinate is known to about 1e-7 of the input's size, seen from the source
        tolerance = 1e-6 * max(input_width / placement.scale_x, input_height / placement.scale_y) + 1e-3
        np.testing.assert_allclose(placement.to_source(np.array([placed]))[0], (x1, y1, x2, y2), atol=tolerance)

    @settings(max_examples=100, deadline=None)
    @given(sides, sides, inputs, inputs)
    def test_a_letterbox_touches_two_borders_and_is_centred(self, w: int, h: int, iw: int, ih: int) -> None:
        placement = Placement.letterbox(w, h, iw, ih)
        width, height = placement.placed_width, placement.placed_height
        assert width == iw or height == ih
        assert 0 <= iw - width - 2 * placement.pad_x <= 1
        assert 0 <= ih - height - 2 * placement.pad_y <= 1
