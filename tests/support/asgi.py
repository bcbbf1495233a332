"""An ASGI application with its lifespan, asked without a port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

Message = MutableMapping[str, Any]
ASGIApp = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

HERE = ("127.0.0.1", 40000)
ELSEWHERE = ("203.0.113.7", 40000)
"""An address of nobody's (RFC 5737)."""


def client(app: ASGIApp, address: tuple[str, int] = HERE) -> httpx.AsyncClient:
    """Asks `app` from an address."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=address), base_url="http://localhost")


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """Run its lifespan, and ask it from this machine. What its start raises is raised here."""
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    living = asyncio.ensure_future(_live(app, to_app, from_app))
    try:
        await to_app.put({"type": "lifespan.startup"})
        begun = await from_app.get()
        assert begun["type"] == "lifespan.startup.complete", begun
        async with client(app) as http:
            yield http
        await to_app.put({"type": "lifespan.shutdown"})
        ended = await from_app.get()
        assert ended["type"] == "lifespan.shutdown.complete", ended
    finally:
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)


async def _live(app: ASGIApp, to_app: asyncio.Queue[Message], from_app: asyncio.Queue[Message]) -> None:
    try:
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, to_app.get, from_app.put)
    except Exception as error:
        await from_app.put({"type": "lifespan.failed", "error": repr(error)})
