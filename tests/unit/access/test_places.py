"""How much may be open by Socket.IO at once: strangers have their share, and cannot keep others out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from access import (
    Access,
    AccessPolicy,
    AccessTable,
    Caller,
    Kind,
    Places,
    Reason,
    Refusals,
    SocketCallers,
    SocketPlaces,
    WayIn,
)
from access.places import REQUESTS

LOOPBACK = Caller(Kind.LOOPBACK, "127.0.0.1")
TRUSTED = Caller(Kind.TRUSTED, "192.168.4.9")
PATH = "/ws/socket.io/"


def stranger(number: int = 1) -> Caller:
    return Caller(Kind.STRANGER, f"203.0.113.{number}", reason=Reason.NETWORK)


class Server:
    """A Socket.IO server as far as it matters here: a request that names no session begins one, and is kept in `environ`."""

    def __init__(self, **places: int) -> None:
        self.environ: dict[str, dict[str, Any]] = {}
        self.access = Access(AccessPolicy(AccessTable({}, {}), WayIn("Knock.", None)), Refusals(lambda: 0.0))
        self.guarded = SocketPlaces(
            self._serve,
            self.access,
            "ws/socket.io",
            self.environ,
            Places(**{"all": 6, "strangers": 4, "address": 2, **places}),
        )
        self.ended = asyncio.Event()

    async def _serve(self, scope: Any, _receive: Any, send: Any) -> None:
        query = scope.get("query_string", b"")
        if b"sid=" not in query and scope["path"].startswith(PATH):
            self.environ[f"session-{len(self.environ)}"] = {"asgi.scope": scope}
        if b"wait" in query or scope["type"] == "websocket":
            await self.ended.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def ask(self, caller: Caller, query: str = "EIO=4", what: str = "GET", path: str = PATH) -> Any:
        """The status, and the sentence of a refusal."""
        sent: list[MutableMapping[str, Any]] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        kind = {"type": "websocket"} if what == "WEBSOCKET" else {"type": "http", "method": what}
        extensions: dict[str, Any] = {"websocket.http.response": {}}
        scope = {**kind, "path": path, "query_string": query.encode(), "caller": caller, "extensions": extensions}
        await self.guarded(scope, None, send)  # type: ignore[arg-type]
        return (200, "") if len(sent) == 1 else (sent[0]["status"], json.loads(sent[1]["body"])["detail"])

    async def status(self, caller: Caller, *how: str) -> int:
        return int((await self.ask(caller, *how))[0])

    @asynccontextmanager
    async def open(self, caller: Caller, query: str = "EIO=4&wait", what: str = "GET") -> AsyncIterator[None]:
        """A request that stays open meanwhile."""
        task = asyncio.ensure_future(self.ask(caller, query, what))
        await asyncio.sleep(0)
        yield
        task.cancel()
        await asyncio.wait({task})


def test_an_address_has_its_share_and_gets_a_place_back_when_a_session_has_ended() -> None:
    async def story() -> None:
        server = Server()
        assert [await server.status(stranger()) for _ in range(4)] == [200, 200, 429, 429]
        assert await server.status(stranger(2)) == 200
        _, sentence = await server.ask(stranger())
        assert sentence == (
            "2 Socket.IO connections are open from 203.0.113.1, as many as strangers may have from one address; close one "
            "of them first. Knock."
        )
        assert server.access.refusals.totals == {Reason.CONNECTIONS: 3}
        del server.environ["session-0"]
        assert [await server.status(stranger()) for _ in range(2)] == [200, 429]

    asyncio.run(story())


def test_strangers_from_everywhere_leave_places_to_those_who_are_trusted() -> None:
    async def story() -> None:
        server = Server()
        assert [await server.status(stranger(number)) for number in range(6)] == [200] * 4 + [429] * 2
        _, sentence = await server.ask(stranger(9))
        assert sentence == (
            "4 Socket.IO connections of strangers are open here, as many as may be; try again in a minute. Knock."
        )
        assert [await server.status(TRUSTED), await server.status(LOOPBACK)] == [200, 200]
        assert await server.ask(LOOPBACK) == (
            429,
            "6 Socket.IO connections are open here, as many as may be; try again in a minute.",
        )

    asyncio.run(story())


@pytest.mark.parametrize(
    ("addresses", "statuses"),
    [
        (["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:1::1"], [200, 200, 429, 200]),
        (["203.0.113.1", "203.0.113.2", "203.0.113.3"], [200, 200, 200]),
    ],
    ids=["a /64 is one address", "IPv4"],
)
def test_whose_address_is_whose(addresses: list[str], statuses: list[int]) -> None:
    async def story() -> None:
        server = Server()
        assert [await server.status(Caller(Kind.STRANGER, each)) for each in addresses] == statuses

    asyncio.run(story())


def test_a_login_that_anybody_gets_is_no_better_than_none() -> None:
    async def story() -> None:
        server = Server()
        nameless = Caller(Kind.NODE, "203.0.113.1")
        assert [await server.status(nameless) for _ in range(3)] == [200, 200, 429]
        assert await server.status(Caller(Kind.USER, "203.0.113.1", user_name="jo")) == 200

    asyncio.run(story())


def test_those_who_come_at_the_same_time_are_counted_before_they_are_in() -> None:
    """And a WebSocket, which is request and session at once, counts once."""

    async def story() -> None:
        server = Server()
        async with server.open(stranger(), "EIO=4", "WEBSOCKET"):
            assert len(server.environ) == 1
            assert await server.status(stranger()) == 200
        server.environ.clear()
        async with server.open(stranger(), "EIO=4&sid=made-up&wait"), server.open(stranger(), "EIO=4&sid=&wait"):
            server.environ.clear()
            assert await server.status(stranger()) == 429
        assert await server.status(stranger()) == 200

    asyncio.run(story())


def test_one_session_cannot_hold_requests_without_end_and_needs_no_further_place() -> None:
    async def story() -> None:
        server = Server(address=1)
        assert await server.status(stranger()) == 200
        inside = "EIO=4&sid=session-0"
        tasks = [asyncio.ensure_future(server.ask(stranger(), f"{inside}&wait")) for _ in range(REQUESTS)]
        await asyncio.sleep(0)
        status, sentence = await server.ask(stranger(), inside, "POST")
        assert (status, sentence.partition(" of ")[0]) == (429, "8 requests")
        server.ended.set()
        assert [status for status, _ in await asyncio.gather(*tasks)] == [200] * REQUESTS
        assert await server.status(stranger(), inside, "POST") == 200

    asyncio.run(story())


def test_who_says_a_key_when_connected_is_no_stranger_any_more() -> None:
    async def story() -> None:
        server = Server(address=1)
        server.access.policy = AccessPolicy(AccessTable({}, {}), WayIn("Knock.", None), keys={"K": "arm"}.get)
        assert await server.status(stranger()) == 200
        environ = server.environ["session-0"]
        environ["asgi.scope"] |= {"client": ("203.0.113.1", 4711), "headers": []}
        SocketCallers(server.access).connected("sid", environ, {"api_key": "K"})
        assert [await server.status(stranger()) for _ in range(2)] == [200, 429]

    asyncio.run(story())


def test_all_that_is_not_socketio_passes() -> None:
    async def story() -> None:
        server = Server(all=0)
        assert await server.status(stranger(), "", "GET", "/ws/socket.iox/") == 200
        assert await server.status(stranger(), "", "POST", "/detect") == 200
        for path in ("/ws/socket.io", "/ws/socket.io/", "/ws/socket.io/x"):
            assert await server.status(stranger(), "", "GET", path) == 429

    asyncio.run(story())
