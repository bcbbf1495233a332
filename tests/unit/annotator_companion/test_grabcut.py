"""A box becomes a mask, strokes correct it, and whatever is drawn, something sensible comes out."""

from __future__ import annotations

import statistics

import cv2
import numpy as np
import pytest

from annotator_companion.tools.base import Action, Box, Dot, Line, Picture, Pixels
from annotator_companion.tools.grabcut import MAX_STROKES, GrabCut
from annotator_companion.tools.strokes import MAX_POINTS
from tests.support import outlined_things
from tests.support.pasted_things import intersection_over_union, scene
from tests.unit.annotator_companion.hand import Hand, plain


def disc(width: int = 320, height: int = 240, centre: tuple[int, int] = (160, 120)) -> tuple[Picture, Pixels]:
    """A red disc on blue, and its mask."""
    dice = np.random.default_rng(3)
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, centre, 60, 1, -1)
    pixels = np.where(mask[..., None] != 0, np.array([200, 40, 30]), np.array([30, 60, 180]))
    return Picture(np.clip(pixels + dice.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)), mask


def test_one_box_finds_pasted_things() -> None:
    found = []
    for seed in range(18):
        shown = scene(seed)
        hand = Hand(GrabCut(), Picture(shown.pixels))
        sketch = hand.box(shown.box)
        assert sketch.is_stored
        found.append(intersection_over_union(hand.mask(sketch), shown.mask))
    assert statistics.median(found) >= 0.85, sorted(found)


def test_one_box_finds_things_where_they_stand_in_photographs() -> None:
    found = {}
    for name, shown in outlined_things.scenes().items():
        hand = Hand(GrabCut(), Picture(shown.pixels))
        found[name] = intersection_over_union(hand.mask(hand.box(shown.box)), shown.mask)
    assert statistics.median(found.values()) >= 0.85, found
    assert min(found.values()) >= 0.6, found


def test_what_is_seen_between_the_legs_is_not_the_horse() -> None:
    found = []
    for seed in (2000, 2021, 2045):  # before a saucer, a sky, and a cup, of which more is in the box than of the horse
        shown = scene(seed)
        hand = Hand(GrabCut(), Picture(shown.pixels))
        found.append(intersection_over_union(hand.mask(hand.box(shown.box)), shown.mask))
    assert min(found) >= 0.75, found


def test_a_thing_that_looks_like_its_surroundings_is_not_given_up() -> None:
    shown = scene(20, 640, 480)  # a brown horse among brown things: GrabCut alone calls all of it background
    hand = Hand(GrabCut(), Picture(shown.pixels))
    assert intersection_over_union(hand.mask(hand.box(shown.box)), shown.mask) > 0.25


def test_the_same_box_gives_the_same_mask() -> None:
    shown = scene(2)
    regions = [Hand(GrabCut(), Picture(shown.pixels)).box(shown.box).region for _ in range(2)]
    assert regions[0] is not None
    assert regions[1] is not None
    np.testing.assert_array_equal(regions[0].mask, regions[1].mask)


def test_while_the_box_is_drawn_it_is_shown() -> None:
    hand = Hand(GrabCut(), disc()[0])
    assert hand.do("move", (5, 5)).shapes == ()
    hand.do("down", (150, 100), pressed=(150, 100))
    assert hand.do("move", (100, 130), pressed=(150, 100)).shapes == (Box(100, 100, 51, 31, "hint"),)


@pytest.mark.parametrize("corners", [((90, 50), (230, 190)), ((230, 190), (90, 50)), ((90, 190), (230, 50))])
def test_the_box_may_be_drawn_from_any_corner(corners: tuple[tuple[int, int], tuple[int, int]]) -> None:
    picture, mask = disc()
    hand = Hand(GrabCut(), picture)
    assert intersection_over_union(hand.mask(hand.drag(*corners)), mask) > 0.95


def test_a_thing_that_the_edge_of_the_picture_cuts_off() -> None:
    picture, mask = disc(centre=(290, 30))
    hand = Hand(GrabCut(), picture)
    found = hand.mask(hand.box((228, 0, 92, 93)))
    assert intersection_over_union(found, mask) > 0.95
    assert found[:60, 319].all(), "the last column, too"


def test_a_box_around_the_whole_picture() -> None:
    hand = Hand(GrabCut(), disc()[0])
    assert hand.mask(hand.box((0, 0, 320, 240))).any()


def test_a_background_stroke_takes_away_and_a_foreground_stroke_brings_back() -> None:
    picture, _ = disc()
    hand = Hand(GrabCut(), picture)
    whole = hand.mask(hand.box((95, 55, 131, 131)))
    less = hand.mask(hand.drag((160, 52), (160, 190), shift=True))
    assert whole[120, 160]
    assert 0.3 < less.sum() / whole.sum() < 0.6, "it is cut in two, and the larger part stays"
    more = hand.drag((140, 120), (180, 120))
    assert hand.mask(more)[118:122, 140:180].all(), "a bridge between the two"
    looks = [shape.look for shape in more.shapes if isinstance(shape, Line)]
    assert looks == ["background", "foreground"]
    assert more.is_stored


def test_the_right_button_is_background_too() -> None:
    picture, _ = disc()
    hand = Hand(GrabCut(), picture)
    hand.box((95, 55, 131, 131))
    without = hand.mask(hand.drag((110, 100), (110, 140), is_right=True))
    assert not without[105:135, 110].any()


def test_a_click_is_a_stroke() -> None:
    picture, _ = disc()
    hand = Hand(GrabCut(), picture)
    before = hand.mask(hand.box((95, 55, 131, 131)))
    clicked = hand.click((102, 120), shift=True)
    assert clicked.shapes == (Dot((102, 120), "background"),)
    assert before[120, 102]
    assert not hand.mask(clicked)[119:122, 101:104].any()
    back = hand.click((102, 120))
    assert hand.mask(back)[119:122, 101:104].all()


def test_a_foreground_stroke_reaches_out_of_the_box() -> None:
    picture, mask = disc()
    hand = Hand(GrabCut(), picture)
    half = intersection_over_union(hand.mask(hand.box((95, 55, 90, 131))), mask)
    whole = intersection_over_union(hand.mask(hand.drag((150, 120), (190, 120), (205, 120))), mask)
    assert whole > half + 0.1


def test_a_box_that_begins_beside_the_thing_is_another_annotation() -> None:
    hand = Hand(GrabCut(), disc()[0])
    hand.box((95, 55, 131, 131))
    assert hand.do("down", (232, 120), pressed=(232, 120)).region is not None, "as near as that the thing is meant"
    hand.do("up", (232, 120), pressed=(232, 120))
    assert hand.drawing.handle(Action("down", (262, 120), pressed=(262, 120))) is None


def test_backspace_takes_back_the_last_stroke() -> None:
    picture, _ = disc()
    hand = Hand(GrabCut(), picture)
    before = hand.box((95, 55, 131, 131))
    assert before.region is not None
    changed = hand.drag((110, 100), (110, 140), shift=True)
    assert changed.region is not None
    after = hand.key("Backspace")
    assert after.is_stored, "the Loop gets back what it had"
    assert after.region is not None
    np.testing.assert_array_equal(after.region.mask, before.region.mask)
    assert not np.array_equal(changed.region.mask, before.region.mask)
    assert hand.key("Backspace").region is after.region, "nothing more to take back"


def test_enter_ends_it_and_a_box_elsewhere_begins_another() -> None:
    hand = Hand(GrabCut(), disc()[0])
    hand.box((95, 55, 131, 131))
    assert hand.drawing.handle(Action("down", (5, 5), pressed=(5, 5))) is None
    assert hand.do("down", (5, 5), pressed=(5, 5), shift=True).region is not None, (
        "a background stroke may begin anywhere"
    )
    hand.do("up", (5, 5), pressed=(5, 5), shift=True)
    ended = hand.key("Enter")
    assert ended.is_finished
    assert not ended.is_stored, "it is stored already"


def test_a_click_is_no_box() -> None:
    hand = Hand(GrabCut(), disc()[0])
    assert hand.drag((100, 100), (102, 101)).region is None
    assert hand.box((95, 55, 131, 131)).region is not None


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 200), (200, 5), (4, 4)])
def test_where_nothing_is_to_be_seen_it_is_something_in_the_box_all_the_same(size: tuple[int, int]) -> None:
    width, height = size
    hand = Hand(GrabCut(), Picture(plain(width, height)))
    sketch = hand.drag((0, 0), (width - 1, height - 1))
    if min(size) < 4:
        assert sketch.region is None, "too small for a box"
    else:
        assert hand.mask(sketch).any()


def test_crossing_out_everything_leaves_no_empty_mask() -> None:
    hand = Hand(GrabCut(), Picture(plain()))
    hand.box((50, 50, 12, 12))
    sketch = None
    for y in range(46, 68, 3):
        sketch = hand.drag((46, y), (66, y), shift=True)
    assert sketch is not None
    assert hand.mask(sketch).any()


def test_strokes_are_bounded() -> None:
    hand = Hand(GrabCut(), Picture(plain(40, 40)))
    hand.box((10, 10, 12, 12))
    trail = tuple((x % 30, x // 30 % 30) for x in range(3 * MAX_POINTS))
    hand.do("down", (15, 15), pressed=(15, 15), shift=True)
    line = hand.do("move", (16, 16), pressed=(15, 15), shift=True, trail=trail).shapes[-1]
    assert isinstance(line, Line)
    assert len(line.points) <= MAX_POINTS
    assert line.points[-1] == (16, 16)
    assert MAX_STROKES <= 200


def test_large_things_are_looked_at_shrunk() -> None:
    shown = scene(1, 2600, 1950)
    hand = Hand(GrabCut(), Picture(shown.pixels))
    sketch = hand.box(shown.box)
    assert sketch.region is not None
    assert max(sketch.region.mask.shape) <= 640
    assert intersection_over_union(hand.mask(sketch), shown.mask) > 0.9
