"""The box in this process: an event loop in a thread of its own, a real worker process, and a real port of loopback.

A test asks over HTTP as any program would (`http`), as somebody at another address (`ask`), or runs a story of its own in
the box's event loop (`run`).
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import httpx
import socketio
import uvicorn

from appliance.access import ASGIApp
from appliance.app import build, guarded, rest
from appliance.events import MAX_MESSAGE, PATH
from appliance.services import Services
from appliance.settings import Settings, load_settings

T = TypeVar("T")

QUICK = "onnx/cpu/1"
"""The way to run the seed model where a test does not care: nothing has to be measured first."""

STRANGER = ("203.0.113.7", 40000)
"""An address of nobody's (RFC 5737)."""

START_SECONDS = 60.0


def settings_for(folder: Path, **overrides: Any) -> Settings:
    """Settings of a box whose data lies in `folder`; nothing of the machine that runs the tests counts."""
    return load_settings(
        environ={},
        data_dir=folder / "data",
        working_directory=folder,
        system_root=folder,
        overrides={"runtime": QUICK, "node_name": "testbox", **overrides},
    )


class Box:
    """A running box. Use it as a context."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = settings.data_folder
        self.services: Services
        self.asgi: ASGIApp
        self.port = 0
        self.http: httpx.Client
        self._loop = asyncio.new_event_loop()
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, name="box", daemon=True)

    def __enter__(self) -> Box:
        self._thread.start()
        self._started.result(START_SECONDS)
        self.http = httpx.Client(base_url=self.url, timeout=60.0, trust_env=False)
        return self

    def __exit__(self, *_how: object) -> None:
        self.http.close()
        self._loop.call_soon_threadsafe(setattr, self._server, "should_exit", True)
        self._thread.join(START_SECONDS)
        assert not self._thread.is_alive(), "the box does not end"

    @property
    def url(self) -> str:
        """Where the box listens."""
        return f"http://127.0.0.1:{self.port}"

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
            lifespan="on",
            ws_max_size=MAX_MESSAGE,
            proxy_headers=False,
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        serving = asyncio.create_task(self._server.serve([listening]))
        while not self._server.started:
            if serving.done():
                raise RuntimeError("the box did not start")
            await asyncio.sleep(0.01)
        self._started.set_result(None)
        await serving

    def run(self, story: Coroutine[Any, Any, T], timeout: float = 60.0) -> T:
        """Run a coroutine in the box's event loop."""
        return asyncio.run_coroutine_threadsafe(story, self._loop).result(timeout)

    def ask(
        self,
        method: str,
        path: str,
        *,
        client: tuple[str, int] = ("127.0.0.1", 40000),
        base_url: str = "http://192.0.2.1:8004",
        headers: Mapping[str, str] | Iterable[tuple[bytes, bytes]] | None = None,
        **arguments: Any,
    ) -> httpx.Response:
        """A request as somebody at the address `client` would make it, who names the box as in `base_url`."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.asgi, client=client, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=base_url) as asking:
                sent = headers if headers is None or isinstance(headers, Mapping) else list(headers)
                return await asking.request(method, path, headers=sent, **arguments)

        return self.run(ask())

    def talk(
        self,
        story: Callable[[socketio.AsyncClient], Coroutine[Any, Any, T]],
        *,
        transports: list[str] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: object = None,
        timeout: float = 60.0,
    ) -> T:
        """Run a story with a Socket.IO client that is connected, in an event loop of its own."""

        async def connected() -> T:
            async with aiohttp.ClientSession() as session:
                robot = socketio.AsyncClient(reconnection=False, http_session=session)
                await robot.connect(
                    self.url,
                    socketio_path=PATH,
                    transports=transports or ["websocket"],
                    headers=dict(headers or {}),
                    auth=auth,
                )
                reading = robot.eio.read_loop_task
                try:
                    return await asyncio.wait_for(story(robot), timeout)
                finally:
                    # A polite goodbye would wait until the last poll of a polling client times out, half a minute.
                    await robot.eio.disconnect(abort=transports == ["polling"])
                    reading.cancel()
                    await asyncio.wait([reading])

        return asyncio.run(connected())

    def call(self, event: str, *data: Any, **connection: Any) -> Any:
        """Send one Socket.IO event on a connection of its own; what it is acknowledged with."""

        async def story(robot: socketio.AsyncClient) -> Any:
            return await robot.call(event, *data, timeout=55)

        return self.talk(story, **connection)

    def detects(self, picture: bytes) -> bool:
        """Whether the box still does what it is for."""
        answer = self.http.post("/detect", files={"file": picture}, headers={"autoupload": "disabled"})
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["box_detections"])

    def wait_until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        """Return as soon as the condition holds; fails if it does not in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come to that in time"
            time.sleep(0.02)

    def tree(self) -> dict[str, int]:
        """Everything in the folder around the data folder: path -> size, -1 for folders.

        Picks that are still on their way to the disk are waited for: else one of an earlier story might arrive later.
        """
        self.wait_until(lambda: self.services.picks.counts().waiting == 0)
        around = self.data.parent
        return {
            str(path.relative_to(around)): -1 if path.is_dir() else path.lstat().st_size for path in around.rglob("*")
        }
