"""What waits is answered in its order; of mouse moves only the newest counts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from annotator_companion.turns import MOST_TRAIL, MOST_WAITING, Turns
from models.errors import Overloaded
from tests.support.virtual_time import in_virtual_time
from tests.unit.annotator_companion.inputs import data, key


@in_virtual_time
async def test_a_newer_move_overtakes_one_that_waits() -> None:
    turns = Turns()
    answers = [turns.add(data("mouse_move", x, 0), "last") for x in range(5)]
    assert [await answer for answer in answers[:4]] == ["last"] * 4
    assert not answers[4].done()
    assert (len(turns), turns.overtaken) == (1, 4)
    turn = turns.take()
    assert (turn.data.coordinate.x, turn.trail) == (4, ((0, 0), (1, 0), (2, 0), (3, 0)))
    answers[4].cancel()


@in_virtual_time
async def test_a_button_that_goes_up_takes_the_way_along_and_one_that_goes_down_does_not() -> None:
    for event_type, trail in (("left_mouse_up", ((1, 0),)), ("left_mouse_down", ()), ("right_mouse_down", ())):
        turns = Turns()
        turns.add(data("mouse_move", 1, 0), "last")
        turns.add(data(event_type, 2, 0), "last")
        assert turns.take().trail == trail, event_type
        assert not len(turns)


@in_virtual_time
async def test_buttons_and_keys_are_never_overtaken() -> None:
    turns = Turns()
    kinds = ["left_mouse_down", "mouse_move", "left_mouse_up", "left_mouse_down", "key_up"]
    for kind in kinds:
        turns.add(data(kind), "last")
    turns.add(key("Enter"), "last")
    assert [turns.take().data.event_type for _ in range(len(turns))] == [
        "left_mouse_down",
        "left_mouse_up",
        "left_mouse_down",
        "key_up",
        "key_up",
    ]


@pytest.mark.parametrize("kind", ["key_down", "key_up", "mouse_wheel", ""])
def test_what_tells_no_tool_where_the_mouse_was_overtakes_nothing(kind: str) -> None:
    async def story() -> None:
        turns = Turns()
        turns.add(data("mouse_move", 1, 0), "last")
        turns.add(data(kind, 2, 0, key_down="Shift"), "last")
        turns.add(data("mouse_move", 3, 0), "last")
        assert [turns.take().data.coordinate.x for _ in range(len(turns))] == [1, 2, 3]

    asyncio.run(story())


@pytest.mark.parametrize("other", [{"image_uuid": "another"}, {"category": {"id": "c2", "name": "other"}}])
def test_moves_over_something_else_are_not_overtaken(other: dict[str, Any]) -> None:
    async def story() -> None:
        turns = Turns()
        turns.add(data("mouse_move"), "last")
        turns.add(data("mouse_move", **other), "last")
        assert len(turns) == 2

    asyncio.run(story())


@in_virtual_time
async def test_too_many_that_cannot_be_left_out_are_refused() -> None:
    turns = Turns()
    for _ in range(MOST_WAITING):
        turns.add(data("left_mouse_down"), "last")
    with pytest.raises(Overloaded, match="wait already"):
        turns.add(data("left_mouse_down"), "last")
    turns.clear("")
    assert len(turns) == 0


@in_virtual_time
async def test_the_way_is_bounded() -> None:
    turns = Turns()
    for x in range(MOST_TRAIL + 50):
        turns.add(data("mouse_move", x, 0), "last")
    trail = turns.take().trail
    assert len(trail) == MOST_TRAIL
    assert trail[-1] == (MOST_TRAIL + 48, 0)


@in_virtual_time
async def test_whoever_has_gone_needs_no_answer() -> None:
    turns = Turns()
    turns.add(data("mouse_move"), "last").cancel()
    turns.add(data("mouse_move"), "last")
    turns.clear("")
