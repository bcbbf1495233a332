"""Pages that follow what is so, and are put away while they show it."""

from __future__ import annotations

import asyncio

from nicegui import ui
from nicegui.testing import User

from tests.ui.fake_box import FakeBox
from tests.ui.stories import until, visit
from ui.kit.following import follow
from ui.kit.presence import Presence
from ui.ports import Condition


class SlowPage:
    """Shows a sentence in two halves; between them it waits for the gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.halves: list[str] = []

    async def build(self, box: FakeBox) -> None:
        async def show(condition: Condition) -> None:
            self.halves.append(condition.sentence)
            await self.gate.wait()
            self.halves.append(condition.sentence)

        with ui.element("div"):
            await follow(box.condition, show)


def test_what_is_being_shown_is_shown_to_its_end_when_the_page_is_put_away() -> None:
    page = SlowPage()

    @visit(page.build)
    async def story(user: User, box: FakeBox) -> None:
        page.gate.clear()
        page.halves.clear()
        box.said.value = Condition("Hot")
        await until(lambda: page.halves == ["Hot"])

        user.find(Presence).trigger("looking", False)
        page.gate.set()
        await until(lambda: page.halves == ["Hot", "Hot"])
        await until(lambda: not box.condition.watched)
        box.said.value = Condition("Cool again")
        await asyncio.sleep(0.05)
        assert page.halves == ["Hot", "Hot"]

        user.find(Presence).trigger("looking", True)
        await until(lambda: page.halves[2:] == ["Cool again", "Cool again"])

    story()


def test_a_glance_elsewhere_while_something_is_being_shown_stops_nothing() -> None:
    page = SlowPage()

    @visit(page.build)
    async def story(user: User, box: FakeBox) -> None:
        page.gate.clear()
        page.halves.clear()
        box.said.value = Condition("Hot")
        await until(lambda: page.halves == ["Hot"])
        for looking in (False, True):
            user.find(Presence).trigger("looking", looking)
        box.said.value = Condition("Cool again")
        page.gate.set()
        await until(lambda: page.halves == ["Hot", "Hot", "Cool again", "Cool again"])

    story()
