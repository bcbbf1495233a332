"""What pages draw: one history each, one answer at a time, nothing kept that nobody needs."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from annotator_companion import history
from annotator_companion.history import Histories, Means
from annotator_companion.pictures import PictureKey, Pictures
from annotator_companion.threads import Threads
from models.errors import InvalidInput, LoopRefused, ModelFailed, NotInLoop
from models.wire.training import SegmentationAnnotation
from tests.service.photographs import encoded
from tests.support.virtual_time import in_virtual_time
from tests.unit.annotator_companion.hand import plain
from tests.unit.annotator_companion.inputs import IMAGE, Noting, data, key

PNG = encoded(plain(64, 48), "PNG")


class Desk:
    """Histories with a tool that notes, pictures of 64 x 48 pixels, and a Loop that keeps what is stored."""

    def __init__(self, threads: Threads, tools: Sequence[Noting], options: dict[str, Any]) -> None:
        self.tools, self.threads = tools, threads
        self.stored: list[SegmentationAnnotation] = []
        self.refuses: LoopRefused | None = None
        self.pictures = Pictures(self._fetch, threads, 2**24)
        now = asyncio.get_running_loop().time
        self.histories = Histories(Means(tools, self.pictures, self._store, threads), now=now, **options)

    @property
    def tool(self) -> Noting:
        return self.tools[0]

    async def _fetch(self, key: PictureKey) -> bytes:
        if key.image_id.startswith("missing"):
            raise NotInLoop("no such image", 404)
        return PNG

    async def _store(self, organization: str, project: str, annotation: SegmentationAnnotation) -> None:
        assert (organization, project) == ("workshop", "parts")
        if self.refuses is not None:
            raise self.refuses
        self.stored.append(annotation)

    async def do(self, event_type: str, x: int = 5, y: int = 6, page: str = "page", **more: Any) -> str:
        return await self.histories.handle(page, data(event_type, x, y, **more))

    async def key(self, name: str, page: str = "page") -> str:
        return await self.histories.handle(page, key(name))


def story(tell: Callable[[Desk], Awaitable[None]], tools: Sequence[Noting] = (), **options: Any) -> None:
    """Tell a story at a desk."""

    @in_virtual_time
    async def told() -> None:
        with Threads(4) as threads:
            desk = Desk(threads, tools or [Noting()], options)
            try:
                await tell(desk)
            finally:
                for tool in desk.tools:
                    tool.gate.set()
                await desk.histories.close()
                await desk.pictures.close()

    told()


def opened() -> threading.Event:
    """A gate that holds nobody up."""
    gate = threading.Event()
    gate.set()
    return gate


def dots(svg: str) -> int:
    """How many actions the drawing has seen."""
    return len(re.findall("<circle", svg))


async def until(condition: Callable[[], bool]) -> None:
    """Let the others go on until something is so."""
    deadline = time.monotonic() + 60  # threads take their real time
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        await asyncio.sleep(0)


def test_each_page_has_a_drawing_of_its_own() -> None:
    async def tell(desk: Desk) -> None:
        assert dots(await desk.do("left_mouse_down", page="one")) == 1
        assert dots(await desk.do("mouse_move", page="one")) == 2
        assert dots(await desk.do("mouse_move", page="two")) == 1
        assert len(desk.histories) == 2

    story(tell)


def test_escape_and_leaving_forget_what_was_drawn() -> None:
    async def tell(desk: Desk) -> None:
        await desk.do("left_mouse_down")
        assert await desk.key("Escape") == ""
        assert dots(await desk.do("mouse_move")) == 1
        await desk.histories.leave("page")
        assert len(desk.histories) == 0
        assert dots(await desk.do("mouse_move")) == 1
        await desk.histories.leave("nobody")

    story(tell)


@pytest.mark.parametrize(
    "other", [{"image_uuid": "another"}, {"category": {"id": "c2", "name": "other", "type": "segmentation"}}]
)
def test_another_picture_or_category_is_another_drawing(other: dict[str, Any]) -> None:
    async def tell(desk: Desk) -> None:
        await desk.do("left_mouse_down")
        assert dots(await desk.do("mouse_move", **other)) == 1

    story(tell)


def test_tools_see_where_the_mouse_is_in_the_picture_and_which_button_is_held() -> None:
    async def tell(desk: Desk) -> None:
        await desk.do("right_mouse_down", -7, 900, is_shift_key_pressed=True)
        await desk.do("mouse_move", 10**12, 3)
        await desk.do("right_mouse_up", 9, 9)
        await desk.do("mouse_move", 10, 10)
        await desk.key("Backspace")
        seen = [(each.kind, each.at, each.is_right, each.shift, each.pressed, each.key) for each in desk.tool.actions]
        assert seen == [
            ("down", (0, 47), True, True, (0, 47), None),
            ("move", (63, 3), False, False, (0, 47), None),
            ("up", (9, 9), True, False, (0, 47), None),
            ("move", (10, 10), False, False, None, None),
            ("key", (0, 0), False, False, None, "Backspace"),
        ]

    story(tell)


def test_what_a_page_sends_beside_is_answered_with_what_is_there() -> None:
    async def tell(desk: Desk) -> None:
        svg = await desk.do("left_mouse_down")
        for kind in ("key_down", "mouse_wheel", ""):
            assert await desk.do(kind, key_down="a") == svg
        assert len(desk.tool.actions) == 1

    story(tell)


def test_what_is_stored_has_the_ids_of_picture_and_category_and_replaces_itself() -> None:
    async def tell(desk: Desk) -> None:
        await desk.do("left_mouse_down")
        svg = await desk.do("left_mouse_up")
        polygon = ElementTree.fromstring(svg).find("polygon")
        assert polygon is not None
        await desk.do("left_mouse_up")
        await desk.key("Enter")
        await desk.do("left_mouse_up")
        first, second, third = desk.stored
        assert (first.image_id, first.category_id) == (IMAGE, "c1")
        corners = {(point.x, point.y) for point in first.shape.points}
        assert corners == {(0, 0), (4, 0), (4, 4), (0, 4)}
        assert first.id == second.id != third.id

    story(tell)


def test_a_drawing_that_is_over_hands_the_action_on_to_the_next() -> None:
    async def tell(desk: Desk) -> None:
        await desk.do("left_mouse_up")
        assert dots(await desk.key("Delete")) == 1
        assert len(desk.tool.begun) == 2
        await desk.do("left_mouse_up")
        assert desk.stored[0].id != desk.stored[1].id

    story(tell)


def test_the_key_t_goes_on_to_the_next_tool() -> None:
    one, two = Noting("one"), Noting("two")

    async def tell(desk: Desk) -> None:
        await desk.do("mouse_move")
        assert await desk.key("t") == ""
        await desk.do("mouse_move")
        await desk.do("mouse_move", page="another page")
        await desk.key("t")
        await desk.do("mouse_move")
        assert (len(one.actions), len(two.actions)) == (3, 1)

    story(tell, [one, two])


def test_moves_that_come_faster_than_answers_never_queue_up() -> None:
    async def tell(desk: Desk) -> None:
        await desk.do("left_mouse_down", 0, 0)
        desk.tool.gate.clear()
        answers = [asyncio.create_task(desk.do("mouse_move", 1, 0))]
        await until(lambda: desk.tool.at_once == 1)
        answers += [asyncio.create_task(desk.do("mouse_move", x, 0)) for x in range(2, 41)]
        await until(lambda: desk.histories.overtaken == 38)
        await asyncio.sleep(0)
        assert sum(answer.done() for answer in answers) == 38, "answered with what is there"
        up = asyncio.create_task(desk.do("left_mouse_up", 41, 0))
        await until(lambda: desk.histories.overtaken == 39)
        desk.tool.gate.set()
        await asyncio.gather(*answers, up)
        assert [action.at[0] for action in desk.tool.actions] == [0, 1, 41]
        assert desk.tool.most_at_once == 1
        assert [x for x, _ in desk.tool.actions[-1].trail] == list(range(2, 41)), "no corner of the way is cut"

    story(tell)


def test_a_key_that_is_held_keeps_nobody_waiting() -> None:
    async def tell(desk: Desk) -> None:
        svg = await desk.do("left_mouse_down", 0, 0)
        desk.tool.gate.clear()
        up = asyncio.create_task(desk.do("left_mouse_up", 1, 0))
        await until(lambda: desk.tool.at_once == 1)
        for _ in range(100):
            assert await desk.do("key_down", key_down="Shift") == svg
        desk.tool.gate.set()
        assert dots(await up) == 2

    story(tell)


def test_a_page_is_answered_one_by_one_and_pages_side_by_side() -> None:
    async def tell(desk: Desk) -> None:
        desk.tool.gate.clear()
        kinds = ("left_mouse_down", "left_mouse_up", "left_mouse_down")
        one = [asyncio.create_task(desk.do(kind, page="one")) for kind in kinds]
        await until(lambda: desk.tool.at_once == 1)
        await asyncio.sleep(0)
        assert desk.tool.at_once == 1
        two = asyncio.create_task(desk.do("left_mouse_down", page="two"))
        await until(lambda: desk.tool.at_once == 2)
        desk.tool.gate.set()
        await asyncio.gather(*one, two)
        assert desk.tool.most_at_once == 2

    story(tell)


def test_escape_leaves_out_what_waits() -> None:
    async def tell(desk: Desk) -> None:
        desk.tool.gate.clear()
        answers = [asyncio.create_task(desk.do("left_mouse_up"))]
        await until(lambda: desk.tool.at_once == 1)
        answers += [asyncio.create_task(desk.do("left_mouse_up")) for _ in range(4)]
        await asyncio.sleep(0)
        escape = asyncio.create_task(desk.key("Escape"))
        await until(lambda: all(answer.done() for answer in answers[1:]))
        desk.tool.gate.set()
        assert await escape == ""
        await answers[0]
        assert len(desk.tool.actions) == 1

    story(tell)


def test_leaving_while_a_tool_works_answers_and_forgets() -> None:
    async def tell(desk: Desk) -> None:
        desk.tool.gate.clear()
        answers = [asyncio.create_task(desk.do(kind)) for kind in ("left_mouse_down", "left_mouse_up")]
        await until(lambda: desk.tool.at_once == 1)
        await desk.histories.leave("page")
        assert await asyncio.gather(*answers) == ["", ""]
        desk.tool.gate.set()
        assert len(desk.histories) == 0

    story(tell)


def test_a_tool_that_fails_is_named_and_its_drawing_forgotten() -> None:
    async def tell(desk: Desk) -> None:
        await desk.do("left_mouse_down")
        desk.tool.raises = ZeroDivisionError("by zero")
        with pytest.raises(ModelFailed, match=re.escape("the tool noting failed (ZeroDivisionError: by zero)")):
            await desk.do("mouse_move")
        desk.tool.raises = InvalidInput("draw a box first")
        with pytest.raises(InvalidInput, match="draw a box first"):
            await desk.do("mouse_move")
        desk.tool.raises = None
        assert dots(await desk.do("mouse_move")) == 1

    story(tell)


def test_a_tool_that_hangs_is_given_up_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(desk: Desk) -> None:
        await desk.do("left_mouse_down")
        desk.tool.gate.clear()
        monkeypatch.setattr(history, "TOOL_WITHIN_S", 0.0)
        for number in range(1, 7):  # more often than there are threads
            with pytest.raises(ModelFailed, match="did not answer within"):
                await desk.do("left_mouse_down")
            assert desk.threads.lost == number
        monkeypatch.setattr(history, "TOOL_WITHIN_S", 60.0)
        monkeypatch.setattr(desk.tool, "gate", opened())
        assert dots(await desk.do("left_mouse_down")) == 1

    story(tell)


def test_what_the_loop_does_not_take_is_told_and_not_lost() -> None:
    async def tell(desk: Desk) -> None:
        await desk.do("left_mouse_down")
        desk.refuses = LoopRefused("the Loop did not take it", 422)
        with pytest.raises(LoopRefused):
            await desk.do("left_mouse_up")
        desk.refuses = None
        assert dots(await desk.do("left_mouse_up")) == 3, "the drawing is still there"
        assert len(desk.stored) == 1

    story(tell)


def test_a_picture_that_cannot_be_had_is_a_sentence() -> None:
    async def tell(desk: Desk) -> None:
        with pytest.raises(NotInLoop, match="no such image"):
            await desk.do("mouse_move", image_uuid="missing")
        assert dots(await desk.do("mouse_move")) == 1

    story(tell)


def test_pages_that_are_idle_are_forgotten_and_so_are_too_many() -> None:
    async def tell(desk: Desk) -> None:
        for page in ("one", "two", "three"):
            await desk.do("mouse_move", page=page)
            await asyncio.sleep(1)
        assert (len(desk.histories), desk.histories.forgotten) == (2, 1)
        assert dots(await desk.do("mouse_move", page="three")) == 2, "the one used least recently went"
        await asyncio.sleep(99)
        await desk.do("mouse_move", page="three")
        await asyncio.sleep(2)
        await desk.histories.tidy()
        assert (len(desk.histories), desk.histories.forgotten) == (1, 2)

    story(tell, most=2, idle_s=100.0)


def test_drawings_hold_no_more_pictures_than_allowed() -> None:
    async def tell(desk: Desk) -> None:
        for number in range(5):
            await desk.do("mouse_move", page=f"page {number}", image_uuid=f"image {number}")
        assert len(desk.histories) == 2

    story(tell, most_bytes=2 * 64 * 48 * 3)


@pytest.mark.parametrize("page", ["", "x" * 256])
def test_a_page_needs_a_name(page: str) -> None:
    async def tell(desk: Desk) -> None:
        with pytest.raises(InvalidInput, match="frontend_id"):
            await desk.do("mouse_move", page=page)

    story(tell)


@pytest.mark.parametrize("ticks", range(5))
def test_a_page_that_is_closed_at_the_moment_of_an_answer_is_closed(ticks: int) -> None:
    """It stores nothing any more."""
    answer: Future[tuple[str, None]] = Future()
    threads: Any = SimpleNamespace(submit=lambda *_: answer)
    work: Any = SimpleNamespace(answer=None)
    nobody: Any = None

    async def told() -> None:
        page = history.History(Means([Noting()], nobody, nobody, threads))
        answering = asyncio.create_task(page._in_thread(Noting(), work, nobody, nobody))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not answering.done()
        answer.set_result(("<svg>", None))
        for _ in range(ticks):
            await asyncio.sleep(0)
        was_answered = answering.done()
        answering.cancel()
        await asyncio.wait([answering])
        assert answering.cancelled() or was_answered

    asyncio.run(told())
