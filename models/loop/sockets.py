"""One Socket.IO connection to a Learning Loop: opened once, closed once. The library's errors and habits end here."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import aiohttp
import anyio
import engineio.base_client
import socketio

from models.errors import LoopUnreachable
from models.uninterrupted import to_its_end

PATH = "/ws/socket.io"

OPEN_WITHIN_S = 30.0
NAMESPACE_WITHIN_S = 10.0
CLOSE_WITHIN_S = 5.0
REQUEST_WITHIN_S = 20.0
"""One HTTP request of the connection; learning-loop-node allows the same."""

_AIOHTTP = re.compile(r"Cannot connect to host \S+ ssl:\S+ \[(.*)\]")
"""How it says that nobody answers; what is in brackets is enough."""

Handler = Callable[..., Awaitable[Any]]
"""Is given the arguments of an event and returns what goes back as acknowledgement."""


class Socket(Protocol):
    """What the life of a node needs of a connection."""

    @property
    def is_open(self) -> bool:
        """Whether events can be sent."""
        ...

    async def open(self) -> None:
        """Connect and wait for the default namespace. Raises `LoopUnreachable`; then it must be closed all the same."""
        ...

    async def call(self, event: str, arguments: tuple[Any, ...], within: float) -> Any:
        """Send an event; what the Loop acknowledges it with. Raises `LoopUnreachable`: no answer `within` seconds, or the
        connection ended.
        """
        ...

    async def wait_until_gone(self) -> None:
        """Return when the connection has ended."""
        ...

    async def close(self) -> None:
        """End it, if it has not ended; returns soon whatever the other side does."""
        ...


class SocketIO:
    """A `Socket` by python-socketio: polling first, then an upgrade, as learning-loop-node connects.

    `url` is `ws://...` or `wss://...`; `headers` go with every request, `cookies` are those of the login. `tls` is how a
    `wss` Loop proves who it is. Redirects are not followed: they would carry the cookies elsewhere.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        cookies: Mapping[str, str],
        tls: ssl.SSLContext | None,
        through_proxy: bool,
        handlers: Mapping[str, Handler],
    ) -> None:
        self._url = url
        self._gone = asyncio.Event()
        self._refusal = ""
        tracing = aiohttp.TraceConfig()
        tracing.on_request_redirect.append(_refuse_redirect)
        self._http = aiohttp.ClientSession(
            headers=dict(headers),
            cookies=dict(cookies),
            connector=None if tls is None else aiohttp.TCPConnector(ssl=tls),
            trust_env=through_proxy,
            trace_configs=[tracing],
        )
        self._sio = socketio.AsyncClient(
            reconnection=False,  # by the library it would come back with cookies that have expired
            handle_sigint=False,  # signals belong to the program
            request_timeout=REQUEST_WITHIN_S,
            http_session=self._http,
            logger=logging.getLogger("socketio.client"),
            engineio_logger=logging.getLogger("engineio.client"),
        )
        self._sio.on("connect_error", self._refused)
        self._sio.on("disconnect", self._ended)
        for event, handler in handlers.items():
            self._sio.on(event, handler)

    @property
    def is_open(self) -> bool:
        return bool(self._sio.connected) and self._sio.eio.state == "connected" and not self._gone.is_set()

    async def open(self) -> None:
        # In a task of its own: the library waits in a way that may lose a cancellation (before Python 3.12).
        connecting = asyncio.ensure_future(
            self._sio.connect(self._url, socketio_path=PATH, wait_timeout=NAMESPACE_WITHIN_S)
        )
        try:
            with anyio.fail_after(OPEN_WITHIN_S):
                await asyncio.wait({connecting})
            connecting.result()
        except TimeoutError as error:
            raise LoopUnreachable(f"no Socket.IO connection to {self._url} within {OPEN_WITHIN_S:.0f} s") from error
        except Exception as error:
            # The library passes on whatever it stumbles over in an answer: KeyError, IndexError, ValueError, ...
            reason = self._refusal or _AIOHTTP.sub(r"\1", str(error)) or type(error).__name__
            raise LoopUnreachable(f"no Socket.IO connection to {self._url} ({reason[:200]})") from error
        finally:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
        if not self.is_open:
            raise LoopUnreachable(f"the Socket.IO connection to {self._url} ended as soon as it was made")

    async def call(self, event: str, arguments: tuple[Any, ...], within: float) -> Any:
        gone = asyncio.ensure_future(self._gone.wait())
        acknowledged = asyncio.ensure_future(self._sio.call(event, arguments, timeout=within))
        try:
            # The library would wait until the time-out for a connection that has ended.
            await asyncio.wait({gone, acknowledged}, return_when=asyncio.FIRST_COMPLETED)
            if not acknowledged.done():
                raise LoopUnreachable(f"the connection to {self._url} ended before {event} was acknowledged")
            return acknowledged.result()
        except socketio.exceptions.TimeoutError as error:
            raise LoopUnreachable(
                f"the Loop at {self._url} did not acknowledge {event} within {within:.0f} s"
            ) from error
        except socketio.exceptions.SocketIOError as error:
            raise LoopUnreachable(f"no connection to {self._url} for {event}") from error
        finally:
            for task in (gone, acknowledged):
                task.cancel()
            await asyncio.gather(gone, acknowledged, return_exceptions=True)

    async def wait_until_gone(self) -> None:
        await self._gone.wait()

    async def close(self) -> None:
        # A node that is ended while it closes a lost connection must not leave half of it behind.
        await to_its_end(self._close())

    async def _close(self) -> None:
        try:
            with anyio.move_on_after(CLOSE_WITHIN_S), suppress(Exception):  # how it resists does not matter
                await self._sio.disconnect()
        finally:
            self._gone.set()
            await self._force_closed()

    async def _force_closed(self) -> None:
        """Where the library was interrupted it leaves tasks, a connection, and a place in a list of all connections."""
        engine = self._sio.eio
        tasks = [task for task in (engine.read_loop_task, engine.write_loop_task) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(ValueError):
            engineio.base_client.connected_clients.remove(engine)
        if engine.ws is not None:
            with anyio.move_on_after(1.0), suppress(Exception):
                await engine.ws.close()
        await self._http.close()

    async def _refused(self, reason: Any = None) -> None:
        if isinstance(reason, dict):
            reason = reason.get("message") or reason.get("detail") or reason
        self._refusal = "" if reason is None else str(reason)

    async def _ended(self, _reason: Any = None) -> None:
        self._gone.set()


async def _refuse_redirect(_session: object, _context: object, redirect: aiohttp.TraceRequestRedirectParams) -> None:
    place = redirect.response.headers.get("location", "somewhere else")
    raise aiohttp.ClientError(
        f"it sends on to {place[:120]!r}, which is not followed; LOOP_HOST should name the Loop itself"
    )
