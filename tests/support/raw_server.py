"""A server on loopback that answers with exactly the bytes that a test wants, as slowly or as brokenly as it wants."""

from __future__ import annotations

import asyncio
import functools
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ParamSpec

LONGEST_STORY_S = 120.0

P = ParamSpec("P")


@dataclass
class Asked:
    """One request as it came. `body` is as long as Content-Length says, or shorter if the client went away.

    `reader` gives what is not read yet, for servers that were told not to read bodies.
    """

    method: str
    path: str
    headers: dict[str, str]
    reader: asyncio.StreamReader
    body: bytes = b""


Reply = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """What was asked so far, and how many connections there were."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0

    @property
    def host(self) -> str:
        """As people write it into `LOOP_HOST`."""
        return f"127.0.0.1:{self.port}"


def response(status: str, body: bytes = b"", **headers: str) -> bytes:
    """One whole answer; `content_type` becomes `content-type`."""
    lines = {"content-length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def json_response(document: object, status: str = "200 OK", **headers: str) -> bytes:
    """One whole answer with JSON in it."""
    return response(status, json.dumps(document).encode(), content_type="application/json", **headers)


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection as a machine does that has lost its memory."""
    writer.transport.abort()


@asynccontextmanager
async def raw_server(
    reply: Reply, *, read_body: bool = True, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """Serve until the block ends; `reply` writes the answer to each request. All connections are closed at the end."""
    server = RawServer()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        server.open_connections += 1
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
                }
                asked = Asked(method, path, headers, reader)
                server.asked.append(asked)
                if read_body:
                    left = int(headers.get("content-length", "0"))
                    while left > 0 and (chunk := await reader.read(min(left, 65536))):
                        asked.body += chunk
                        left -= len(chunk)
                await reply(asked, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is gone
        finally:
            server.open_connections -= 1
            tasks.discard(task)
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


def on_loopback(story: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test of an async function that talks over real sockets. It fails if it leaves tasks behind."""

    @functools.wraps(story)
    def test(*args: P.args, **kwargs: P.kwargs) -> None:
        async def watched() -> None:
            await asyncio.wait_for(story(*args, **kwargs), LONGEST_STORY_S)
            for _ in range(100):  # transports and ended generators have some turns to close
                await asyncio.sleep(0)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"left behind: {left}"

        asyncio.run(watched())

    return test
