"""The life of a node, with connections that break in every way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from models.errors import InvalidInput, LoopBusy, LoopUnreachable
from models.loop.client import LoopClient
from models.loop.node import LONGEST_BACK_OFF_S, MOST_AT_ONCE, LoopNode, acknowledgement, back_off
from models.loop.sockets import Handler
from models.wire.training import AnnotationNodeStatus, SocketResponse
from tests.support.virtual_time import in_virtual_time


class FakeSocket:
    """A connection in the memory of a test."""

    def __init__(self, loop: SocketLoop, headers: Mapping[str, str], handlers: Mapping[str, Handler]) -> None:
        self.loop, self.headers, self.handlers = loop, dict(headers), handlers
        self.gone = asyncio.Event()
        self.opened = self.closed = False

    @property
    def is_open(self) -> bool:
        return self.opened and not self.gone.is_set()

    async def open(self) -> None:
        self.loop.sockets.append(self)
        self.loop.opened_at.append(asyncio.get_running_loop().time())
        if self.loop.refusals:
            raise LoopUnreachable(self.loop.refusals.pop(0))
        self.opened = True

    async def call(self, event: str, arguments: tuple[Any, ...], within: float) -> Any:
        self.loop.calls.append((event, arguments, within))
        answer = self.loop.acknowledgement
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def wait_until_gone(self) -> None:
        await self.gone.wait()

    async def close(self) -> None:
        self.gone.set()
        self.closed = True


class SocketLoop:
    """A Loop, as far as nodes see it."""

    def __init__(self) -> None:
        self.sockets: list[FakeSocket] = []
        self.opened_at: list[float] = []
        self.refusals: list[str] = []
        self.logins = 0
        self.login_answers: list[httpx.Response] = []
        self.calls: list[tuple[str, tuple[Any, ...], float]] = []
        self.acknowledgement: Any = {"success": True, "error_msg": None, "payload": None}
        self.beats: list[float] = []
        self.beat: Any = True
        self.restarts = 0

    async def make_socket(
        self, client: LoopClient, headers: Mapping[str, str], handlers: Mapping[str, Handler]
    ) -> FakeSocket:
        return FakeSocket(self, headers, handlers)

    async def login(self, request: httpx.Request) -> httpx.Response:
        self.logins += 1
        if self.login_answers:
            return self.login_answers.pop(0)
        return httpx.Response(200, headers={"set-cookie": "session=1; Path=/"})

    async def heartbeat(self) -> bool:
        self.beats.append(asyncio.get_running_loop().time())
        beat = self.beat
        if isinstance(beat, Exception):
            raise beat
        assert isinstance(beat, bool)
        return beat

    def restart(self) -> None:
        self.restarts += 1

    def node(self) -> LoopNode:
        client = LoopClient(
            "loop.example",
            transport=httpx.MockTransport(self.login),
            now=asyncio.get_running_loop().time,
        )
        return LoopNode(
            client,
            "trainer",
            organization="zauberzeug",
            project="demo",
            heartbeat=self.heartbeat,
            restart=self.restart,
            dice=lambda: 1.0,
            make_socket=self.make_socket,
        )


@in_virtual_time
async def test_a_node_logs_in_connects_with_its_headers_and_says_every_five_seconds_that_it_lives() -> None:
    loop = SocketLoop()
    node = loop.node()
    life = asyncio.create_task(node.run())
    await asyncio.sleep(22)
    assert loop.logins == 1
    assert [socket.headers for socket in loop.sockets] == [
        {"organization": "zauberzeug", "project": "demo", "nodeType": "trainer"}
    ]
    assert [beat - loop.beats[0] for beat in loop.beats] == pytest.approx([0, 5, 10, 15, 20])
    assert node.is_connected
    assert node.trouble is None

    await node.close()
    assert loop.sockets[0].closed
    assert not node.is_connected
    assert life.cancelled() or life.done()


@in_virtual_time
async def test_a_lost_connection_is_noticed_at_once_and_made_anew() -> None:
    loop = SocketLoop()
    node = loop.node()
    life = asyncio.create_task(node.run())
    await asyncio.sleep(6)
    loop.sockets[0].gone.set()
    lost_at = asyncio.get_running_loop().time()
    await asyncio.sleep(4)
    assert loop.opened_at[1] - lost_at <= 2.1
    assert loop.sockets[0].closed
    assert loop.logins == 1, "the session was good still"
    assert node.is_connected
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)


@pytest.mark.parametrize("beat", [False, LoopUnreachable("no answer to update_trainer"), RuntimeError("a bug")])
def test_a_heartbeat_that_fails_makes_the_connection_anew_slower_and_slower(
    beat: object, caplog: pytest.LogCaptureFixture
) -> None:
    @in_virtual_time
    async def story() -> None:
        loop = SocketLoop()
        loop.beat = beat
        node = loop.node()
        life = asyncio.create_task(node.run())
        await asyncio.sleep(200)
        pauses = [round(later - earlier) for earlier, later in zip(loop.opened_at, loop.opened_at[1:], strict=False)]
        assert pauses[:7] == [2, 4, 8, 16, 32, 60, 60]
        assert all(socket.closed for socket in loop.sockets[:-1])
        assert node.trouble is not None

        loop.beat = True
        await asyncio.sleep(LONGEST_BACK_OFF_S)
        assert node.is_connected
        assert node.trouble is None
        loop.sockets[-1].gone.set()
        await asyncio.sleep(3)
        assert node.is_connected, "what was long good comes back soon"
        await node.close()
        assert life.done()

    story()


@in_virtual_time
async def test_a_refused_connection_logs_in_anew_before_the_next_try() -> None:
    loop = SocketLoop()
    loop.refusals = ["session expired", "session expired"]
    node = loop.node()
    life = asyncio.create_task(node.run())
    await asyncio.sleep(1)
    assert node.trouble == "session expired"
    await asyncio.sleep(20)
    assert loop.logins == 3
    assert node.is_connected
    await node.close()
    assert life.done()


@in_virtual_time
async def test_a_loop_that_is_away_is_asked_less_and_less_and_when_it_says() -> None:
    loop = SocketLoop()
    loop.login_answers = [httpx.Response(503), httpx.Response(429, headers={"retry-after": "100"})]
    loop.login_answers += [httpx.Response(500) for _ in range(20)]
    node = loop.node()
    life = asyncio.create_task(node.run())
    await asyncio.sleep(1)
    assert loop.logins == 1
    await asyncio.sleep(100)
    assert loop.logins == 2, "it asked for 100 seconds"
    await asyncio.sleep(1300)
    assert 20 <= loop.logins <= 24
    await asyncio.sleep(120)
    assert node.is_connected
    await node.close()
    assert life.done()


@pytest.mark.parametrize(
    ("failures", "dice", "seconds"),
    [(1, 0.0, 1.0), (1, 1.0, 2.0), (2, 1.0, 4.0), (6, 1.0, 60.0), (6, 0.0, 30.0), (10**9, 1.0, 60.0)],
)
def test_back_off_doubles_up_to_a_minute_and_leaves_out_a_random_half(
    failures: int, dice: float, seconds: float
) -> None:
    assert back_off(failures, None, dice) == seconds


def test_back_off_heeds_what_the_loop_asks_for() -> None:
    assert back_off(1, LoopBusy("later", 429, 300.0), 0.0) == 300
    assert back_off(6, LoopBusy("later", 429, 1.0), 1.0) == 60
    assert back_off(1, LoopBusy("later", 503, None), 1.0) == 2


@pytest.mark.parametrize(
    ("answer", "wire"),
    [
        ("<svg/>", {"success": True, "error_msg": None, "payload": "<svg/>"}),
        ("", {"success": True, "error_msg": None, "payload": ""}),
        (True, {"success": True, "error_msg": None, "payload": None}),
        (False, {"success": False, "error_msg": None, "payload": None}),
        (None, None),
        (
            SocketResponse(success=False, error_msg="busy", payload="refused"),
            {"success": False, "error_msg": "busy", "payload": "refused"},
        ),
    ],
)
def test_answers_are_wrapped_as_nodes_always_did(answer: Any, wire: dict[str, Any] | None) -> None:
    assert acknowledgement(answer) == wire


@in_virtual_time
async def test_events_are_answered_and_what_fails_is_said(caplog: pytest.LogCaptureFixture) -> None:
    loop = SocketLoop()
    node = loop.node()

    async def begin_training(organization: str, project: str, details: dict[str, Any]) -> bool:
        if "categories" not in details:
            raise InvalidInput("the key 'categories' is missing")
        return True

    async def broken() -> bool:
        raise ZeroDivisionError("division by zero")

    async def wrong() -> Any:
        return {"a": "dict"}

    node.on("begin_training", begin_training)
    node.on("broken", broken)
    node.on("wrong", wrong)
    life = asyncio.create_task(node.run())
    await asyncio.sleep(1)
    handlers = loop.sockets[0].handlers
    assert await handlers["begin_training"]("o", "p", {"categories": []}) == {
        "success": True,
        "error_msg": None,
        "payload": None,
    }
    assert (await handlers["begin_training"]("o", "p", {}))["error_msg"] == "the key 'categories' is missing"
    failed = await handlers["begin_training"]("o")
    assert (failed["success"], "TypeError" in failed["error_msg"]) == (False, True)
    failed = await handlers["broken"]()
    assert failed["error_msg"] == "unforeseen error (ZeroDivisionError: division by zero)"
    assert (await handlers["wrong"]())["success"] is False
    assert "ZeroDivisionError" in caplog.text, "the traceback belongs into the log"
    await node.close()
    assert life.done()


@in_virtual_time
async def test_a_restart_is_handed_on_and_no_other_may_take_the_event() -> None:
    loop = SocketLoop()
    node = loop.node()
    life = asyncio.create_task(node.run())
    await asyncio.sleep(1)
    assert await loop.sockets[0].handlers["restart"]() is None
    assert loop.restarts == 1
    with pytest.raises(ValueError, match="belongs to the node"):
        node.on("restart", loop.sockets[0].handlers["restart"])
    await node.close()
    assert life.done()


@in_virtual_time
async def test_a_flood_of_events_is_refused_beyond_a_bound_and_ends_with_the_node() -> None:
    loop = SocketLoop()
    node = loop.node()
    never = asyncio.Event()

    async def slow() -> None:
        await never.wait()

    node.on("slow", slow)
    life = asyncio.create_task(node.run())
    await asyncio.sleep(1)
    handler = loop.sockets[0].handlers["slow"]
    flood = [asyncio.ensure_future(handler()) for _ in range(MOST_AT_ONCE + 10)]
    await asyncio.sleep(1)
    refused = [task.result() for task in flood if task.done()]
    assert len(refused) == node.refused_events == 10
    assert "come again later" in refused[0]["error_msg"]
    await node.close()
    assert life.done()
    assert all(task.done() for task in flood)


@in_virtual_time
async def test_calls_carry_wire_objects_and_tell_what_came_back() -> None:
    loop = SocketLoop()
    node = loop.node()
    with pytest.raises(LoopUnreachable, match=r"no connection to http://loop.example for update_annotation_node"):
        await node.call("update_annotation_node")
    life = asyncio.create_task(node.run())
    await asyncio.sleep(1)
    status = AnnotationNodeStatus(id="1", name="tool", capabilities=["segmentation"])
    answer = await node.call("update_annotation_node", status, "more", timeout=10)
    assert answer is not None
    assert answer.success
    ((event, (sent, more), within),) = loop.calls
    assert (event, sent["capabilities"], more, within) == ("update_annotation_node", ["segmentation"], "more", 10)

    loop.acknowledgement = None
    assert await node.call("update_segmentation_annotation") is None
    loop.acknowledgement = "hello"
    with pytest.raises(LoopUnreachable, match="'hello', which no Learning Loop does"):
        await node.call("update_trainer")
    await node.close()
    assert life.done()


@in_virtual_time
async def test_a_trouble_that_stays_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    loop = SocketLoop()
    loop.refusals = ["connection refused"] * 8
    node = loop.node()
    life = asyncio.create_task(node.run())
    await asyncio.sleep(200)
    assert len(loop.sockets) >= 5
    assert [record.message for record in caplog.records] == ["connection refused"]
    await node.close()
    assert life.done()
