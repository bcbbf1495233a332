"""The embedded loop in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import uvicorn

from access import ASGIApp
from appliance.loop_server.app import LoopServerSettings, build, guarded, rest
from appliance.loop_server.events import MAX_MESSAGE
from appliance.loop_server.services import LoopServices
from tests.service.threaded_server import ThreadedServer


class RunningLoop(ThreadedServer):
    """A running loop whose data lies in `folder`; `settings` are those of `LoopServerSettings`. Use it as a context."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__("loop")
        self.settings = LoopServerSettings(data_folder=folder, **settings)
        self.services: LoopServices
        self.asgi: ASGIApp

    def configure(self) -> uvicorn.Config:
        """The embedded loop."""
        self.services = build(self.settings)
        self.asgi = guarded(rest(self.services), self.services)
        return uvicorn.Config(
            self.asgi,
            ws_max_size=MAX_MESSAGE,
            proxy_headers=False,
            log_config=None,
            lifespan="on",
            timeout_graceful_shutdown=5,
        )

    def client(self, address: tuple[str, int], **options: Any) -> LoopClientElsewhere:
        """Ask as somebody at another address."""
        return LoopClientElsewhere(self, address, options)


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
