"""A Loop on a real port that does what a story tells it, sound or not: `tests.support.scripted_loop` behind a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpx
import uvicorn

from tests.service.threaded_server import ThreadedServer
from tests.support.scripted_loop import ScriptedLoop


class MisbehavingLoop(ThreadedServer, ScriptedLoop):
    """Use it as a context. What it has and how it answers may be changed at any time, from the test's own thread."""

    def __init__(self) -> None:
        ThreadedServer.__init__(self, "loop")
        ScriptedLoop.__init__(self)

    def configure(self) -> uvicorn.Config:
        """What answers as the story says."""
        return uvicorn.Config(
            self._answer, interface="asgi3", log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )

    async def _answer(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        url = f"http://{self.host}{scope['path']}"
        answer = await self(httpx.Request(scope["method"], url, headers=scope["headers"], content=body))
        headers = [(name, value) for name, value in answer.headers.raw if name != b"transfer-encoding"]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        if scope["method"] != "HEAD":
            pieces = _whole(answer) if answer.is_stream_consumed else answer.aiter_raw()
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


async def _whole(answer: httpx.Response) -> AsyncIterator[bytes]:
    yield answer.content
