"""Nodes on real sockets: against python-socketio's server, and against servers that are something else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import engineio.base_client
import pytest

from models.errors import LoopUnreachable
from models.loop.address import loop_address
from models.loop.client import LoopClient
from models.loop.node import LoopNode
from models.loop.sockets import SocketIO
from models.wire.training import TrainingStatus
from tests.support.raw_server import Asked, on_loopback, raw_server, response
from tests.support.socket_loop import SocketLoop, socket_loop

STATUS = TrainingStatus(id="t1", name="trainer", state="idle", uptime=1.0)


class Trainer:
    """A node with the heartbeat that a trainer has."""

    def __init__(self, host: str) -> None:
        self.client = LoopClient(host, username="trainer", password="x")
        self.beats = 0
        self.restarted = asyncio.Event()
        self.node = LoopNode(
            self.client,
            "trainer",
            organization="zauberzeug",
            project="demo",
            heartbeat=self.beat,
            restart=self.restarted.set,
            sleep=lambda seconds: asyncio.sleep(seconds / 50),
        )

    async def beat(self) -> bool:
        self.beats += 1
        answer = await self.node.call("update_trainer", STATUS, timeout=30)
        return answer is None or answer.success

    async def __aenter__(self) -> Trainer:
        self.life = asyncio.create_task(self.node.run())
        return self

    async def __aexit__(self, *_how: object) -> None:
        await self.node.close()
        await self.client.close()
        assert self.life.done()


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never came true")


@on_loopback
async def test_a_node_connects_with_cookie_and_headers_and_its_status_arrives() -> None:
    async with socket_loop() as loop:
        async with Trainer(loop.host) as trainer:
            await until(lambda: trainer.beats >= 3)
            assert loop.logins == 1
            assert loop.environ["HTTP_ORGANIZATION"] == "zauberzeug"
            assert loop.environ["HTTP_PROJECT"] == "demo"
            assert loop.environ["HTTP_NODETYPE"] == "trainer"
            event, status = loop.events[0]
            assert (event, status["id"], status["state"]) == ("update_trainer", "t1", "idle")
        await until(lambda: loop.gone == loop.connected)
    assert engineio.base_client.connected_clients == []


@on_loopback
async def test_the_loops_events_are_answered() -> None:
    async with socket_loop() as loop:
        trainer = Trainer(loop.host)

        async def begin_training(organization: str, project: str, details: dict[str, Any]) -> bool:
            return (organization, project, details["training_number"]) == ("zauberzeug", "demo", 7)

        async def handle_user_input(user_input: dict[str, Any]) -> str:
            return f"<svg>{user_input['frontend_id']}</svg>"

        trainer.node.on("begin_training", begin_training)
        trainer.node.on("handle_user_input", handle_user_input)
        async with trainer:
            await until(lambda: trainer.beats)
            sid = loop.connected[0]
            answer = await loop.sio.call("begin_training", ("zauberzeug", "demo", {"training_number": 7}), to=sid)
            assert answer == {"success": True, "error_msg": None, "payload": None}
            answer = await loop.sio.call("begin_training", ("zauberzeug", "demo", {}), to=sid)
            assert (answer["success"], "training_number" in answer["error_msg"]) == (False, True)
            answer = await loop.sio.call("handle_user_input", {"frontend_id": "f1"}, to=sid)
            assert answer == {"success": True, "error_msg": None, "payload": "<svg>f1</svg>"}
            assert await loop.sio.call("restart", to=sid) is None
            assert trainer.restarted.is_set()


@on_loopback
async def test_a_node_comes_back_when_the_loop_ends_the_connection_or_does_not_accept_its_status() -> None:
    async with socket_loop() as loop, Trainer(loop.host) as trainer:
        await until(lambda: trainer.beats)
        await loop.sio.disconnect(loop.connected[0])
        await until(lambda: len(loop.connected) == 2)

        loop.acknowledgement = {"success": False, "error_msg": "who are you?"}
        await until(lambda: len(loop.connected) == 3)
        loop.acknowledgement = {"success": True}
        beats = trainer.beats
        await until(lambda: trainer.beats >= beats + 3)
        assert trainer.node.trouble is None
        assert loop.logins == 1


@on_loopback
async def test_a_node_whose_session_ended_logs_in_anew_and_a_refusal_is_told() -> None:
    async with socket_loop() as loop, Trainer(loop.host) as trainer:
        await until(lambda: trainer.beats)
        loop.session = "two"
        await loop.sio.disconnect(loop.connected[0])
        await until(lambda: len(loop.connected) == 2)
        assert loop.logins == 2

        loop.refuse = "no trainers today"
        await loop.sio.disconnect(loop.connected[1])
        await until(lambda: "no trainers today" in str(trainer.node.trouble))


@on_loopback
async def test_a_node_comes_back_to_a_loop_that_was_started_again() -> None:
    async with socket_loop() as loop:
        trainer = Trainer(loop.host)
        await trainer.__aenter__()
        await until(lambda: trainer.beats)
        port = loop.port
    await until(lambda: trainer.node.trouble)
    assert not trainer.node.is_connected
    async with socket_loop(port) as loop:
        await until(lambda: loop.events)
        await trainer.__aexit__()


@on_loopback
async def test_a_call_whose_connection_ends_does_not_wait_for_its_time_out() -> None:
    async with socket_loop() as loop, Trainer(loop.host) as trainer:
        await until(lambda: trainer.beats)
        loop.acknowledges_after = 3600
        call = asyncio.create_task(trainer.node.call("update_training", "o", "p", {}, timeout=3600))
        await until(lambda: any(event[0] == "update_training" for event in loop.events))
        await loop.sio.disconnect(loop.connected[0])
        with pytest.raises(LoopUnreachable, match="ended before update_training was acknowledged"):
            await call


@on_loopback
async def test_a_call_without_acknowledgement_ends_in_time() -> None:
    async with socket_loop() as loop, Trainer(loop.host) as trainer:
        await until(lambda: trainer.beats)
        loop.acknowledges_after = 2
        with pytest.raises(LoopUnreachable, match=r"did not acknowledge update_trainer within 0 s"):
            await trainer.node.call("update_trainer", STATUS, timeout=0.3)


def connection(host: str) -> SocketIO:
    return SocketIO(loop_address(host).socket_url, {}, {"session": "1"}, None, False, {})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(response("404 Not Found", b"<h1>x", content_type="text/html"), "404", id="nothing there"),
        pytest.param(response("500 Oops", b"{", content_type="application/json"), "ws://", id="broken JSON"),
        pytest.param(response("200 OK", b"<html>hotel"), "ws://", id="web page"),
        pytest.param(response("200 OK", b""), "ws://", id="nothing"),
        pytest.param(response("200 OK", b'0{"sid":"x"}'), "ws://", id="half an opening"),
        pytest.param(response("200 OK", b"0[]"), "ws://", id="strange opening"),
        pytest.param(response("302 Found", location="http://127.0.0.1:1/elsewhere"), "elsewhere", id="redirect"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", "ws://", id="another protocol"),
    ],
)
def test_what_is_no_socket_io_becomes_a_sentence(answer: bytes, words: str) -> None:
    @on_loopback
    async def story() -> None:
        async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(answer)

        async with raw_server(reply) as server:
            socket = connection(server.host)
            with pytest.raises(LoopUnreachable, match=words) as failure:
                await socket.open()
            await socket.close()
            assert len(str(failure.value)) < 400
            assert not socket.is_open
        assert {asked.path.partition("?")[0] for asked in server.asked} == {"/ws/socket.io/"}

    story()


@on_loopback
async def test_nobody_there_becomes_a_sentence() -> None:
    async with raw_server(lambda asked, writer: asyncio.sleep(0)) as server:
        pass
    socket = connection(server.host)
    with pytest.raises(LoopUnreachable, match=r"no Socket.IO connection to ws://127.0.0.1"):
        await socket.open()
    await socket.close()


@on_loopback
async def test_the_end_of_a_connection_is_noticed_without_asking() -> None:
    async with socket_loop() as loop:
        socket = connection(loop.host)
        socket._http.cookie_jar.update_cookies({"session": loop.session})
        await socket.open()
        await loop.sio.disconnect(loop.connected[0])
        await asyncio.wait_for(socket.wait_until_gone(), 60)
        assert not socket.is_open
        await socket.close()


@pytest.mark.parametrize("turns", [1, 2, 3, 4, 6, 10])
def test_a_close_that_is_cancelled_leaves_nothing_open(turns: int) -> None:
    @on_loopback
    async def story() -> None:
        async with socket_loop() as loop:
            socket = connection(loop.host)
            socket._http.cookie_jar.update_cookies({"session": loop.session})
            await socket.open()
            closing = asyncio.create_task(socket.close())
            for _ in range(turns):
                await asyncio.sleep(0)
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)
            assert socket._http.closed
            assert not socket.is_open
        assert engineio.base_client.connected_clients == []

    story()


@on_loopback
async def test_closing_does_not_wait_for_a_server_that_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.loop.sockets.CLOSE_WITHIN_S", 0.2)
    opening = b'0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000}'
    polls = 0

    async def stuck(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal polls
        if asked.method == "POST":
            await asyncio.sleep(3600)
        polls += 1
        if polls <= 2:
            writer.write(response("200 OK", opening if polls == 1 else b'40{"sid":"y"}'))
        else:
            await asyncio.sleep(3600)

    async with raw_server(stuck) as server:
        socket = connection(server.host)
        opened = asyncio.create_task(socket.open())
        await until(lambda: socket.is_open)
        await opened
        before = asyncio.get_running_loop().time()
        await socket.close()
        assert asyncio.get_running_loop().time() - before < 10
        assert not socket.is_open
    assert engineio.base_client.connected_clients == []


def test_the_support_is_a_loop_that_refuses_who_has_no_session() -> None:
    @on_loopback
    async def story() -> None:
        async with socket_loop() as loop:
            assert isinstance(loop, SocketLoop)
            socket = connection(loop.host)
            with pytest.raises(LoopUnreachable, match="log in first"):
                await socket.open()
            await socket.close()

    story()


@on_loopback
async def test_who_is_cancelled_while_it_connects_is_heard_though_the_library_is_deaf() -> None:
    """It waits by `asyncio.wait_for`, which takes a cancellation for none that comes with what was waited for."""
    socket, connecting = connection("127.0.0.1:1"), asyncio.Event()

    async def deaf(*_: object, **__: object) -> None:
        connecting.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    socket._sio.connect = deaf
    opening = asyncio.create_task(socket.open())
    await connecting.wait()
    opening.cancel()
    await asyncio.wait([opening])
    await socket.close()
    assert opening.cancelled()


@on_loopback
async def test_who_is_cancelled_twice_leaves_no_half_of_a_connection() -> None:
    socket, closing, go_on = connection("127.0.0.1:1"), asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        closing.set()
        await go_on.wait()

    socket._sio.disconnect = slow
    close = asyncio.create_task(socket.close())
    await closing.wait()
    for _ in range(2):
        close.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
    assert not close.done()
    go_on.set()
    await asyncio.wait([close])
    assert close.cancelled()
    assert socket._http.closed
