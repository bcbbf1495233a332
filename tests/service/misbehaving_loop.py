"""A Loop on a real port that does what a story tells it, sound or not: `tests.support.scripted_loop` behind a server."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import Future
from typing import Any

import httpx
import uvicorn

from tests.support.scripted_loop import ScriptedLoop

START_SECONDS = 60.0


class MisbehavingLoop(ScriptedLoop):
    """Use it as a context. What it has and how it answers may be changed at any time, from the test's own thread."""

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, name="misbehaving loop", daemon=True)

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, as LOOP_HOST has it."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> MisbehavingLoop:
        self._thread.start()
        self._started.result(START_SECONDS)
        return self

    def __exit__(self, *_how: object) -> None:
        self._loop.call_soon_threadsafe(setattr, self._server, "should_exit", True)
        self._thread.join(START_SECONDS)
        assert not self._thread.is_alive(), "the loop does not end"

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _main(self) -> None:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.bind(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(
            self._answer, interface="asgi3", log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        serving = asyncio.create_task(self._server.serve([listening]))
        while not self._server.started:
            if serving.done():
                raise RuntimeError("the loop did not start")
            await asyncio.sleep(0.01)
        self._started.set_result(None)
        await serving

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
