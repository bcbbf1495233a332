"""The node as a Loop sees it: its status, its answers, what it sends, and what it says when something is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from annotator_companion.node import Annotator
from annotator_companion.settings import AnnotatorSettings
from companions.server import create_app
from models.errors import LoopUnreachable
from models.loop.client import LoopClient
from models.loop.sockets import Handler
from tests.service.photographs import encoded
from tests.support.asgi import served
from tests.support.virtual_time import in_virtual_time
from tests.unit.annotator_companion.inputs import IMAGE, Noting, given

PNG = encoded(np.full((48, 64, 3), 90, np.uint8), "PNG")
UUID = "00000000-0000-0000-0000-000000000044"


class Loop:
    """A Loop, as far as an annotator sees it. Is the one connection to it as well (`models.loop.sockets.Socket`)."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.calls: list[tuple[str, tuple[Any, ...], float]] = []
        self.acknowledgement: Any = {"success": True, "error_msg": None, "payload": None}
        self.silent = False
        self.opened: list[float] = []
        """When connections were made, seconds."""
        self.closed = 0
        self.asked: list[str] = []
        self._handlers: Mapping[str, Handler] = {}
        self._gone = asyncio.Event()
        self.is_open = False

    async def make_socket(
        self, client: LoopClient, headers: Mapping[str, str], handlers: Mapping[str, Handler]
    ) -> Loop:
        self.headers, self._handlers = dict(headers), handlers
        return self

    async def open(self) -> None:
        self.opened.append(asyncio.get_running_loop().time())
        self.is_open = True

    async def call(self, event: str, arguments: tuple[Any, ...], within: float) -> Any:
        self.calls.append((event, arguments, within))
        if self.silent:
            await asyncio.sleep(within)
            raise LoopUnreachable(f"the Loop did not acknowledge {event} within {within:.0f} s")
        return self.acknowledgement

    async def wait_until_gone(self) -> None:
        await self._gone.wait()

    async def close(self) -> None:
        self.closed += self.is_open
        self.is_open = False

    async def http(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/login":
            return httpx.Response(200, headers={"set-cookie": "session=1; Path=/"})
        self.asked.append(request.url.path)
        return httpx.Response(200, content=PNG) if IMAGE in request.url.path else httpx.Response(404)

    async def tell(self, event: str, *arguments: Any) -> Any:
        """What the node acknowledges an event with."""
        return await self._handlers[event](*arguments)

    async def input(self, event_type: str, *place: int, **more: Any) -> Any:
        """What the node answers to a page."""
        return await self.tell("handle_user_input", {"frontend_id": "page", "data": given(event_type, *place, **more)})

    def named(self, event: str) -> list[tuple[Any, ...]]:
        """Arguments of the calls of an event."""
        return [arguments for name, arguments, _ in self.calls if name == event]


def story(tell: Callable[[Loop, Noting, httpx.AsyncClient], Awaitable[None]], folder: Path) -> None:
    """Tell a story of a node that is connected, with its server."""

    @in_virtual_time
    async def told() -> None:
        loop, tool = Loop(), Noting()
        settings = AnnotatorSettings(
            data_folder=folder, node_name="pen", loop_host="loop", loop_organization="workshop", loop_project="parts"
        )
        client = LoopClient("loop", transport=httpx.MockTransport(loop.http))
        annotator = Annotator(
            settings,
            [tool],
            UUID,
            client,
            restart=lambda: None,
            now=asyncio.get_running_loop().time,
            make_socket=loop.make_socket,
        )
        async with served(create_app(settings, annotator)) as http:
            while not loop.calls:
                await asyncio.sleep(0.1)
            await tell(loop, tool, http)

    told()


def test_it_connects_as_upstreams_do_and_tells_its_status(tmp_path: Path) -> None:
    async def tell(loop: Loop, _tool: Noting, _http: httpx.AsyncClient) -> None:
        assert loop.headers == {"organization": "workshop", "project": "parts", "nodeType": "annotation_node"}
        await asyncio.sleep(12)
        event, (status,), within = loop.calls[-1]
        assert (event, within) == ("update_annotation_node", 10.0)
        uptime = status.pop("uptime")
        assert 5 <= uptime <= 13
        assert status == {
            "id": UUID,
            "name": "pen",
            "state": "online",
            "errors": {},
            "capabilities": ["segmentation"],
        }

    story(tell, tmp_path)


@pytest.mark.parametrize(
    ("acknowledgement", "words"),
    [
        ({"success": False, "error_msg": "who are you?"}, "does not accept this node's status"),
        (None, "does not accept this node's status"),
        ("yes", "which no Learning Loop does"),
    ],
    ids=["refused", "nothing", "no dict"],
)
def test_a_status_that_is_not_taken_makes_the_connection_anew_until_it_is(
    acknowledgement: Any, words: str, tmp_path: Path
) -> None:
    async def tell(loop: Loop, _tool: Noting, http: httpx.AsyncClient) -> None:
        good, loop.acknowledgement = loop.acknowledgement, acknowledgement
        await asyncio.sleep(60)
        assert loop.closed >= 3, "it hangs up each time"
        assert len(loop.opened) - loop.closed in (0, 1), "one at a time"
        pauses = [later - earlier for earlier, later in pairwise(loop.opened[1:])]
        assert all(pause >= 1 for pause in pauses), "no faster than every second"
        assert words in (await http.get("/healthz")).json()["loop"]
        loop.acknowledgement = good
        await asyncio.sleep(61)
        assert (await http.get("/healthz")).json()["loop"] == "connected to http://loop"
        made, told = len(loop.opened), len(loop.named("update_annotation_node"))
        await asyncio.sleep(51)
        assert len(loop.opened) == made, "it stays"
        assert len(loop.named("update_annotation_node")) - told in (10, 11), "every five seconds"

    story(tell, tmp_path)


def test_a_status_that_is_never_acknowledged_makes_the_connection_anew(tmp_path: Path) -> None:
    async def tell(loop: Loop, _tool: Noting, http: httpx.AsyncClient) -> None:
        loop.silent = True
        told = len(loop.calls)
        await asyncio.sleep(5.5)
        assert (len(loop.calls), loop.closed) == (told + 1, 0), "it waits"
        await asyncio.sleep(10)
        assert loop.closed == 1, "for ten seconds"
        assert "did not acknowledge update_annotation_node" in (await http.get("/healthz")).json()["loop"]
        loop.silent = False
        await asyncio.sleep(61)
        assert len(loop.opened) == 2
        assert (await loop.input("mouse_move"))["success"]
        assert (await http.get("/healthz")).json()["loop"].startswith("connected to ")

    story(tell, tmp_path)


def test_a_drawing_goes_from_the_first_press_to_the_loop(tmp_path: Path) -> None:
    async def tell(loop: Loop, tool: Noting, http: httpx.AsyncClient) -> None:
        down = await loop.input("left_mouse_down", 3, 4)
        assert down["success"]
        assert down["error_msg"] is None
        assert down["payload"].startswith("<g ")
        await loop.input("left_mouse_up", 9, 9)
        [(organization, project, annotation)] = loop.named("update_segmentation_annotation")
        assert (organization, project) == ("workshop", "parts")
        assert set(annotation) == {"id", "shape", "image_id", "category_id"}
        assert (annotation["image_id"], annotation["category_id"]) == (IMAGE, "c1")
        assert {"x": 4.0, "y": 4.0} in annotation["shape"]["points"]
        assert loop.asked == [f"/api/workshop/projects/parts/images/{IMAGE}/main"], "fetched once"
        escape = await loop.input("key_up", 0, 0, key_up="Escape")
        assert escape == {"success": True, "error_msg": None, "payload": ""}
        health = (await http.get("/healthz")).json()
        assert (health["pages"], health["annotations_stored"], health["pictures_fetched"]) == (1, 1, 1)
        assert len(tool.actions) == 2

    story(tell, tmp_path)


def test_a_page_that_is_left_is_forgotten(tmp_path: Path) -> None:
    async def tell(loop: Loop, _tool: Noting, http: httpx.AsyncClient) -> None:
        await loop.input("left_mouse_down")
        for page in ("page", "page", "nobody"):
            answer = await loop.tell("user_logout", page)
            assert answer == {"success": True, "error_msg": None, "payload": None}
        assert (await http.get("/healthz")).json()["pages"] == 0

    story(tell, tmp_path)


def test_an_hour_without_input_is_as_good_as_leaving(tmp_path: Path) -> None:
    async def tell(loop: Loop, _tool: Noting, http: httpx.AsyncClient) -> None:
        await loop.input("left_mouse_down")
        await asyncio.sleep(3590)
        assert (await http.get("/healthz")).json()["pages"] == 1
        await asyncio.sleep(30)
        assert (await http.get("/healthz")).json()["pages"] == 0

    story(tell, tmp_path)


@pytest.mark.parametrize(
    "message",
    [
        None,
        "page",
        [],
        {},
        {"frontend_id": "page"},
        {"frontend_id": "page", "data": {**given("mouse_move"), "coordinate": {"x": "left", "y": 1}}},
        {"frontend_id": "page", "data": {**given("mouse_move"), "epsilon": float("nan")}},
        {"frontend_id": 7, "data": given("mouse_move")},
        {"frontend_id": "x" * 1000, "data": given("mouse_move")},
        {"frontend_id": "page", "data": {**given("mouse_move"), "image_uuid": "../../../etc/passwd"}},
        {"frontend_id": "page", "data": {**given("mouse_move"), "image_uuid": "missing"}},
    ],
)
def test_what_it_cannot_use_is_answered_with_a_sentence(message: Any, tmp_path: Path) -> None:
    async def tell(loop: Loop, tool: Noting, _http: httpx.AsyncClient) -> None:
        answer = await loop.tell("handle_user_input", message)
        assert answer["success"] is False
        assert len(answer["error_msg"]) > 10
        assert "unforeseen" not in answer["error_msg"]
        assert not tool.actions
        assert (await loop.input("mouse_move"))["success"]

    story(tell, tmp_path)


def test_logging_out_nobody_in_particular_is_refused(tmp_path: Path) -> None:
    async def tell(loop: Loop, _tool: Noting, _http: httpx.AsyncClient) -> None:
        assert (await loop.tell("user_logout", {"sid": 1}))["success"] is False
        assert (await loop.tell("user_logout"))["success"] is False

    story(tell, tmp_path)


def test_a_loop_that_does_not_take_the_annotation_is_quoted(tmp_path: Path) -> None:
    async def tell(loop: Loop, _tool: Noting, _http: httpx.AsyncClient) -> None:
        await loop.input("left_mouse_down")
        loop.acknowledgement = {"success": False, "error_msg": "no such category"}
        answer = await loop.input("left_mouse_up")
        assert answer["success"] is False
        assert answer["error_msg"] == "the Loop did not take the annotation: no such category"
        loop.acknowledgement = None
        assert (await loop.input("left_mouse_up"))["success"], "upstream's Loops may say nothing at all"

    story(tell, tmp_path)


def test_without_a_loop_it_says_so(tmp_path: Path) -> None:
    @in_virtual_time
    async def told() -> None:
        settings = AnnotatorSettings(data_folder=tmp_path)
        annotator = Annotator(settings, [Noting()], UUID, None, restart=lambda: None)
        async with served(create_app(settings, annotator)) as http:
            assert (await http.get("/healthz")).json()["loop"] == "no Loop is set (LOOP_HOST)"

    told()
