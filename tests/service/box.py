"""The box in this process, with a real worker process.

A test asks over HTTP as any program would (`http`), as somebody at another address (`ask`), or runs a story of its own in
the box's event loop (`run`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import httpx
import socketio
import uvicorn

from access import ASGIApp
from appliance.app import build, guarded, rest
from appliance.events import MAX_MESSAGE, PATH
from appliance.services import Services
from appliance.settings import Settings, load_settings
from tests.service.threaded_server import ThreadedServer

T = TypeVar("T")

QUICK = "onnx/cpu/1"
"""The way to run the seed model where a test does not care: nothing has to be measured first."""

STRANGER = ("203.0.113.7", 40000)
"""An address of nobody's (RFC 5737)."""


def settings_for(folder: Path, **overrides: Any) -> Settings:
    """Settings of a box whose data lies in `folder`; nothing of the machine that runs the tests counts."""
    return load_settings(
        environ={},
        data_dir=folder / "data",
        working_directory=folder,
        system_root=folder,
        overrides={"runtime": QUICK, "node_name": "testbox", **overrides},
    )


class Box(ThreadedServer):
    """A running box. Use it as a context."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("box")
        self.settings = settings
        self.data = settings.data_folder
        self.services: Services
        self.asgi: ASGIApp

    def configure(self) -> uvicorn.Config:
        """The box without its pages, which can be mounted only once in a process."""
        self.services = build(self.settings)
        self.asgi = guarded(rest(self.services), self.services)
        return uvicorn.Config(
            self.asgi,
            lifespan="on",
            ws_max_size=MAX_MESSAGE,
            proxy_headers=False,
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=1,
        )

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
