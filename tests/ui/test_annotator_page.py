"""The page of an annotator as its visitor sees it."""

from __future__ import annotations

from typing import Any

from nicegui.testing import User

from annotator_companion import page
from annotator_companion.page import View, view
from companions.condition import Trouble
from tests.ui.fake_box import Told
from tests.ui.stories import all_of, only, until, visit_of
from ui.kit.chart import Chart
from ui.kit.feed import Feed

STATUS: dict[str, Any] = {
    "tools": ["grabcut", "livewire"],
    "pages": 0,
    "pages_forgotten": 0,
    "moves_overtaken": 0,
    "tools_given_up": 0,
    "answers_failed": 0,
    "annotations_stored": 0,
    "pictures_fetched": 0,
    "picture_bytes": 0,
}
LOOP = "http://loop.example"


class FakeAnnotator:
    """See `annotator_companion.page.Watched`."""

    name = "gpu-7"

    def __init__(self) -> None:
        self.told = Told("annotator", view(STATUS, [], None, (), LOOP))
        self.feed: Feed[View] = self.told.feed


@visit_of(FakeAnnotator, page.build)
async def test_one_that_nobody_uses_says_what_it_waits_for(user: User, annotator: FakeAnnotator) -> None:
    await user.should_see("Waits for somebody to draw on a page of http://loop.example")
    await user.should_see("No page has sent anything yet.")
    await user.should_see("grabcut")
    await user.should_see("livewire")
    assert all_of(user, Chart) == []


@visit_of(FakeAnnotator, page.build)
async def test_how_quickly_it_answers_and_what_was_left_out_is_followed(user: User, annotator: FakeAnnotator) -> None:
    status = {**STATUS, "pages": 2, "moves_overtaken": 17, "annotations_stored": 4, "tools_given_up": 1}
    annotator.told.value = view(status, [10.0, 20.0, 30.04], "the picture is not in the Loop", (), LOOP)

    await user.should_see("Answers 2 pages of http://loop.example", retries=50)
    await user.should_see("17")
    await user.should_see("20 ms")
    await user.should_see("1 tool did not come back")
    await user.should_see("the picture is not in the Loop")
    await user.should_not_see("No page has sent anything yet.")
    chart = only(user, Chart)
    assert chart.props["series"] == [{"name": "Answers", "values": [10.0, 20.0, 30.0]}]
    assert chart.props["ends"] == ["3 answers ago", "now"]


@visit_of(FakeAnnotator, page.build)
async def test_without_a_loop_there_is_a_way_out(user: User, annotator: FakeAnnotator) -> None:
    annotator.told.value = view(STATUS, [], None, (Trouble("notice", "No Loop is set.", "Set LOOP_HOST."),), "")
    await user.should_see("Nobody can draw with it now.", retries=50)
    await user.should_see("Set LOOP_HOST.")


@visit_of(FakeAnnotator, page.build)
async def test_when_the_visitor_goes_the_annotator_is_read_no_more(user: User, annotator: FakeAnnotator) -> None:
    await until(lambda: annotator.feed.watched)
    assert user.client is not None
    user.client.delete()
    await until(lambda: not annotator.feed.watched)


def test_most_answers_and_the_slow_ones_are_told_apart() -> None:
    answers = [5.0] * 95 + [300.0] * 5
    numbers = {name: value for name, value, _ in view(STATUS, answers, None, (), LOOP).numbers}
    assert numbers["Typical answer"] == "5 ms"
    assert numbers["1 of 20 is slower than"] == "5 ms"
    numbers = {name: value for name, value, _ in view(STATUS, [*answers, *[300.0] * 5], None, (), LOOP).numbers}
    assert numbers["1 of 20 is slower than"] == "300 ms"
    assert len(view(STATUS, [1.0] * 200, None, (), LOOP).latency) == page.SHOWN
