"""A Loop's login and Socket.IO on loopback, by the same library that the embedded loop and upstream's servers use."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import socketio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

_OF_THE_SERVER = ("<coroutine object AsyncSocket.", "<coroutine object AsyncServer.")


class SocketLoop:
    """What nodes did: `connected` and `events`. `session` is what the cookie must say; `refuse` refuses connections."""

    def __init__(self) -> None:
        self.port = 0
        self.session = "one"
        self.logins = 0
        self.refuse: str | None = None
        self.connected: list[str] = []
        self.gone: list[str] = []
        self.environ: dict[str, Any] = {}
        self.events: list[tuple[Any, ...]] = []
        self.acknowledgement: Any = {"success": True}
        self.acknowledges_after = 0.0
        self.sio = socketio.AsyncServer(
            async_mode="asgi", cors_allowed_origins=[], ping_interval=0.5, ping_timeout=5, logger=False
        )
        self.sio.on("connect", self._on_connect)
        self.sio.on("disconnect", self._on_disconnect)
        self.sio.on("*", self._on_event)

    @property
    def host(self) -> str:
        """As people write it into `LOOP_HOST`."""
        return f"127.0.0.1:{self.port}"

    async def _on_connect(self, sid: str, environ: dict[str, Any], _auth: object = None) -> None:
        self.environ = environ
        if self.refuse is not None:
            raise socketio.exceptions.ConnectionRefusedError(self.refuse)
        if f"session={self.session}" not in environ.get("HTTP_COOKIE", ""):
            raise socketio.exceptions.ConnectionRefusedError("log in first")
        self.connected.append(sid)

    async def _on_disconnect(self, sid: str, *_reason: object) -> None:
        self.gone.append(sid)

    async def _on_event(self, event: str, _sid: str, *arguments: Any) -> Any:
        self.events.append((event, *arguments))
        await asyncio.sleep(self.acknowledges_after)
        return self.acknowledgement

    async def _login(self, request: Request) -> Response:
        self.logins += 1
        return Response(headers={"set-cookie": f"session={self.session}; Path=/; HttpOnly"})


@asynccontextmanager
async def socket_loop(port: int = 0) -> AsyncIterator[SocketLoop]:
    """Serve until the block ends, on a free port or on one that was free before."""
    loop = SocketLoop()
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    loop.port = listening.getsockname()[1]
    app = Starlette(
        routes=[
            Route("/api/login", loop._login, methods=["POST"]),
            Mount("/ws/socket.io", socketio.ASGIApp(loop.sio, socketio_path=None)),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        yield loop
    finally:
        await loop.sio.shutdown()
        server.should_exit = True
        await serving
        # The library leaves the tasks of its connections to the end of the event loop.
        left = [task for task in asyncio.all_tasks() if str(task.get_coro()).startswith(_OF_THE_SERVER)]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
