"""The embedded loop in this process: an event loop in a thread of its own, and a real port of loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn

from appliance.access import ASGIApp
from appliance.loop_server.app import LoopServerSettings, build, guarded, rest
from appliance.loop_server.events import MAX_MESSAGE
from appliance.loop_server.services import LoopServices

T = TypeVar("T")

START_SECONDS = 60.0


class RunningLoop:
    """A running loop whose data lies in `folder`; `settings` are those of `LoopServerSettings`. Use it as a context."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = LoopServerSettings(data_folder=folder, **settings)
        self.services: LoopServices
        self.asgi: ASGIApp
        self.port = 0
        self.http: httpx.Client
        self._loop = asyncio.new_event_loop()
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, name="loop", daemon=True)

    def __enter__(self) -> RunningLoop:
        self._thread.start()
        self._started.result(START_SECONDS)
        self.http = httpx.Client(base_url=self.url, timeout=60.0, trust_env=False)
        return self

    def __exit__(self, *_how: object) -> None:
        self.http.close()
        self._loop.call_soon_threadsafe(setattr, self._server, "should_exit", True)
        self._thread.join(START_SECONDS)
        assert not self._thread.is_alive(), "the loop does not end"

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, as LOOP_HOST has it."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Where the loop listens."""
        return f"http://{self.host}"

    def run(self, story: Coroutine[Any, Any, T], timeout: float = 60.0) -> T:
        """Run a coroutine in the event loop of the server."""
        return asyncio.run_coroutine_threadsafe(story, self._loop).result(timeout)

    def client(self, address: tuple[str, int], **options: Any) -> LoopClientElsewhere:
        """Ask as somebody at another address."""
        return LoopClientElsewhere(self, address, options)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)
        finally:
            self._loop.run_until_complete(self._end_what_is_left())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _end_what_is_left(self) -> None:
        """As `asyncio.run` does in the end."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _main(self) -> None:
        # asyncio sends answers at once only over sockets that say that they are TCP; else each waits 40 ms.
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.bind(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self.services = build(self.settings)
        self.asgi = guarded(rest(self.services), self.services)
        config = uvicorn.Config(
            self.asgi,
            ws_max_size=MAX_MESSAGE,
            proxy_headers=False,
            log_config=None,
            lifespan="on",
            timeout_graceful_shutdown=5,
        )
        self._server = uvicorn.Server(config)
        serving = asyncio.create_task(self._server.serve(sockets=[listening]))
        await _until_started(self._server, serving)
        self._started.set_result(None)
        await serving


async def _until_started(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    while not server.started:
        if serving.done():
            await serving
            raise RuntimeError("the loop did not start; its log says why")
        await asyncio.sleep(0.01)


class LoopClientElsewhere:
    """Requests from another address, which only an application in this process can be made to believe; keeps cookies."""

    def __init__(self, loop: RunningLoop, address: tuple[str, int], options: dict[str, Any]) -> None:
        self._loop = loop
        self._address = address
        self._options = {"base_url": loop.url, **options}
        self.cookies = httpx.Cookies(self._options.pop("cookies", None))

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request, answered in whole."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._loop.asgi, client=self._address)
            async with httpx.AsyncClient(transport=transport, cookies=self.cookies, **self._options) as client:
                answer = await client.request(method, path, **arguments)
                self.cookies = client.cookies
                return answer

        return self._loop.run(ask())

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        """GET."""
        return self.request("GET", path, **arguments)

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        """POST."""
        return self.request("POST", path, **arguments)

    def put(self, path: str, **arguments: Any) -> httpx.Response:
        """PUT."""
        return self.request("PUT", path, **arguments)

    def delete(self, path: str, **arguments: Any) -> httpx.Response:
        """DELETE."""
        return self.request("DELETE", path, **arguments)
