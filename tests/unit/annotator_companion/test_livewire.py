"""The line follows edges from click to click, and closes around a thing."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from annotator_companion.tools.base import Dot, Line, Picture, Pixels, Point, Sketch
from annotator_companion.tools.livewire import LiveWire
from tests.support.pasted_things import intersection_over_union
from tests.unit.annotator_companion.hand import Hand, plain

CENTRE, RADIUS = (400, 300), 120


def around(angle: float, radius: int = RADIUS) -> Point:
    return (
        round(CENTRE[0] + radius * math.cos(math.radians(angle))),
        round(CENTRE[1] + radius * math.sin(math.radians(angle))),
    )


@pytest.fixture
def disc() -> tuple[Picture, Pixels]:
    mask = np.zeros((600, 800), np.uint8)
    cv2.circle(mask, CENTRE, RADIUS, 1, -1)
    pixels = np.where(mask[..., None] != 0, np.uint8(200), np.uint8(60)).repeat(3, axis=2)
    return Picture(cv2.GaussianBlur(pixels, (0, 0), 1.2).astype(np.uint8)), mask


def ahead(sketch: Sketch) -> tuple[Point, ...]:
    [line] = [shape for shape in sketch.shapes if isinstance(shape, Line) and shape.look == "hint"]
    return line.points


def test_between_two_places_on_the_edge_it_follows_the_edge(disc: tuple[Picture, Pixels]) -> None:
    hand = Hand(LiveWire(), disc[0])
    hand.click(around(0))
    points = ahead(hand.do("move", around(80)))
    assert points[0] == around(0)
    assert points[-1] == around(80)
    assert max(abs(math.dist(point, CENTRE) - RADIUS) for point in points) < 5, "an arc, and no chord"
    middle = max(math.dist(point, CENTRE) for point in points)
    assert middle > RADIUS * math.cos(math.radians(40)) + 10


@pytest.mark.parametrize("how", ["click on the first place", "right button", "Enter"])
def test_four_clicks_around_a_thing_make_its_mask(disc: tuple[Picture, Pixels], how: str) -> None:
    picture, mask = disc
    hand = Hand(LiveWire(), picture)
    for angle in (0, 90, 180, 270):
        assert not hand.click(around(angle)).is_stored
    if how == "Enter":
        sketch = hand.key("Enter")
    else:
        at = around(2) if how.startswith("click") else around(270)
        sketch = hand.do("down", at, pressed=at, is_right=how == "right button")
    assert sketch.is_stored
    assert sketch.is_finished
    assert intersection_over_union(hand.mask(sketch), mask) > 0.93


def test_dragging_sets_a_place_where_the_button_goes_up(disc: tuple[Picture, Pixels]) -> None:
    hand = Hand(LiveWire(), disc[0])
    sketch = hand.drag(around(0), around(40), around(90))
    assert [shape.at for shape in sketch.shapes if isinstance(shape, Dot)] == [around(0), around(90)]


def test_backspace_takes_back_the_last_place(disc: tuple[Picture, Pixels]) -> None:
    hand = Hand(LiveWire(), disc[0])
    for angle in (0, 90, 180):
        hand.click(around(angle))
    sketch = hand.key("Backspace")
    assert [shape.at for shape in sketch.shapes if isinstance(shape, Dot)] == [around(0), around(90)]
    assert ahead(hand.do("move", around(120)))[0] == around(90), "the line goes on from there"
    for _ in range(4):
        sketch = hand.key("Backspace")
    assert sketch.shapes == ()


def test_one_place_closes_nothing(disc: tuple[Picture, Pixels]) -> None:
    hand = Hand(LiveWire(), disc[0])
    assert hand.key("Enter").region is None
    hand.click(around(0))
    assert hand.key("Enter").region is None
    assert hand.do("move", around(0)).region is None


def test_the_map_is_made_once_per_place_and_edges_once_per_crop(
    disc: tuple[Picture, Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    real = cv2.segmentation.IntelligentScissorsMB

    class Counting:
        def __init__(self) -> None:
            self._real = real()

        def __getattr__(self, name: str) -> object:
            made.append(name)
            return getattr(self._real, name)

    monkeypatch.setattr(cv2.segmentation, "IntelligentScissorsMB", Counting)
    hand = Hand(LiveWire(), disc[0])
    hand.click(around(0))
    for angle in range(0, 90, 5):
        hand.do("move", around(angle))
    assert (made.count("applyImage"), made.count("buildMap")) == (1, 1)
    hand.click(around(20))
    assert (made.count("applyImage"), made.count("buildMap")) == (1, 2), "the same crop is still good"
    hand.click((20, 20))
    assert made.count("applyImage") == 2


def test_far_away_the_line_leads_there_all_the_same() -> None:
    hand = Hand(LiveWire(), Picture(plain(1900, 1000)))
    hand.click((10, 10))
    points = ahead(hand.do("move", (1890, 990)))
    assert (points[0], points[-1]) == ((10, 10), (1890, 990))
    hand.click((1890, 990))
    hand.click((1890, 10))
    sketch = hand.key("Enter")
    assert sketch.region is not None
    assert hand.mask(sketch)[:, 1500:].mean() > 0.4, "a triangle, about"


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 3), (4000, 20)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    width, height = size
    hand = Hand(LiveWire(), Picture(plain(width, height)))
    for at in ((0, 0), (width - 1, height - 1), (width // 2, height // 2)):
        hand.do("move", at)
        hand.click(at)
    closed = hand.key("Enter")
    if size != (1, 1):
        assert hand.mask(closed).any()
