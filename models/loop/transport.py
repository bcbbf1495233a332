"""How a Loop is asked where no proxy is between: aiohttp under httpx, at less than half the processor time of httpx alone.

aiohttp sends and receives, nothing else: cookies, redirects and second tries are for those above. What ends early ends at
once: nothing that lies in a buffer is sent any more, and nothing is received to its end out of politeness.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

import aiohttp
import anyio
import httpx
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

_LONGEST_REASON = 200

_ERRORS: tuple[tuple[type[Exception], type[httpx.TransportError], str | None], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout, "it does not answer"),
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout, "nothing came"),
    (aiohttp.ClientConnectorError, httpx.ConnectError, None),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError, "closed before the answer"),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError, None),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError, None),
    (aiohttp.ClientConnectionError, httpx.ReadError, None),
    (Exception, httpx.LocalProtocolError, None),
)
"""aiohttp's errors, httpx's, and what to say where aiohttp's words are none for people. The first that fits counts."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 in the event loop in which it is made. `option` is set on every socket.

    Beyond `max_connections` requests wait for their turn. Bodies say their length beforehand. Raises httpx's
    errors, and what the body of a request raises.
    """

    def __init__(
        self, tls: ssl.SSLContext, option: tuple[int, int, bytes], max_connections: int, idle_connection_s: float
    ) -> None:
        def socket_for(address: aiohttp.AddrInfoType) -> socket.socket:
            made = socket.socket(*address[:3])
            made.setsockopt(*option)
            return made

        # Not aiohttp's own limit: where a session is closed, it cancels the tasks that wait for their turn.
        self._turns = anyio.Semaphore(max_connections)
        self._under_way: set[_Upload | _Answer] = set()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=idle_connection_s,
                ssl=tls,
                socket_factory=socket_for,
                resolver=aiohttp.ThreadedResolver(),  # the system's, which knows names ending in .local
                use_dns_cache=False,
            ),
            middlewares=[_once],
            response_class=_Response,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=["accept", "accept-encoding", "content-type", "user-agent"],
            auto_decompress=False,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        within = request.extensions["timeout"]
        await self._take_turn(within["pool"])
        body = None
        assert "transfer-encoding" not in request.headers
        if request.headers.get("content-length", "0") != "0":
            body = _Upload(request.stream, within["write"])
            self._under_way.add(body)
        try:
            response = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),  # as it is; else %2C becomes a comma
                headers=[(name.decode("ascii"), value.decode()) for name, value in request.headers.raw],
                data=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(sock_connect=within["connect"], sock_read=within["read"]),
            )
        except BaseException as error:
            self._turns.release()
            if isinstance(error, httpx.TransportError) and body is not None and body.error is not None:
                raise body.error from body.error.__cause__
            raise
        finally:
            if body is not None:
                self._under_way.discard(body)
        answer = _Answer(response, within["read"], self._ended)
        self._under_way.add(answer)
        return httpx.Response(response.status, headers=response.raw_headers, stream=answer)

    async def _take_turn(self, within: float | None) -> None:
        try:
            self._turns.acquire_nowait()
        except anyio.WouldBlock:
            try:
                with anyio.fail_after(within):
                    await self._turns.acquire()
            except TimeoutError as error:
                raise httpx.PoolTimeout("too many requests at the same time") from error

    def _ended(self, answer: _Answer) -> None:
        if answer in self._under_way:
            self._under_way.remove(answer)
            self._turns.release()

    async def aclose(self) -> None:
        for each in list(self._under_way):
            each.end()
        await self._session.close()


class _Response(aiohttp.ClientResponse):
    """Closed before its end, it is over at once: aiohttp would send what lies in buffers first, and bid TLS farewell."""

    def close(self) -> None:
        connection = self.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        super().close()


class _Upload(aiohttp.Payload):
    """The body of a request. `error`: what it raised, or how it could not be sent; aiohttp would tell no more than words."""

    def __init__(self, stream: httpx.SyncByteStream | httpx.AsyncByteStream, within: float | None) -> None:
        super().__init__(stream)
        self._within = within
        self._writer: AbstractStreamWriter | None = None
        self.error: Exception | None = None

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._writer = writer
        pieces = aiter(self._value)
        assert isinstance(pieces, AsyncGenerator)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    await self._send(writer, piece)
        except Exception as error:
            self.error = error
            raise
        except BaseException:
            self.end()
            raise

    async def _send(self, writer: AbstractStreamWriter, piece: bytes) -> None:
        try:
            with anyio.fail_after(self._within):
                await writer.write(piece)
        except TimeoutError as error:
            raise httpx.WriteTimeout("a piece did not leave in time") from error
        except OSError as error:
            raise httpx.WriteError("nothing more can be sent") from error

    def end(self) -> None:
        """At once."""
        if self._writer is not None and self._writer.transport is not None:
            self._writer.transport.abort()

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002 # as the base class has it
        raise TypeError("a body that is streamed is no text")


class _Answer(httpx.AsyncByteStream):
    """The body of an answer. `ended` is told once or more often that nobody wants any more of it."""

    def __init__(
        self, response: aiohttp.ClientResponse, within: float | None, ended: Callable[[_Answer], None]
    ) -> None:
        self._response = response
        self._within = within
        self._ended = ended

    async def __aiter__(self) -> AsyncIterator[bytes]:
        piece = await self._piece()
        while piece:
            yield piece
            piece = await self._piece()

    async def _piece(self) -> bytes:
        try:
            # aiohttp has such a time-out itself, but ends it and says nothing where chunks make no sense.
            with anyio.fail_after(self._within):
                return await self._response.content.readany()
        except TimeoutError as error:
            raise httpx.ReadTimeout("nothing came") from error
        except aiohttp.ClientError as error:
            raise _as_httpx(error) from error

    def end(self) -> None:
        """At once."""
        self._response.close()
        self._ended(self)

    async def aclose(self) -> None:
        self.end()


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """aiohttp would send some requests again by itself, a PUT among them; but not after an error that is none of its own."""
    try:
        return await send(request)
    except (aiohttp.ClientError, ValueError) as error:
        raise _as_httpx(error) from error


def _as_httpx(error: Exception) -> httpx.TransportError:
    kind, words = next((kind, words) for theirs, kind, words in _ERRORS if isinstance(error, theirs))
    # What the parser of answers found is underneath, told over several lines.
    words = words or getattr(error.__cause__, "message", None) or str(error)
    return kind(" ".join(words.split()).removesuffix(" ^")[:_LONGEST_REASON])
