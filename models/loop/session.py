"""One connection to one Learning Loop: requests with time-outs and bounds, the login that most of them need, errors of ours.

The login is a cookie. A call that needs one logs in first if there is none; a 401 is answered with one login and one
more try, never more. Calls at the same time share one login, and its failure, too; after a refused login nobody asks
again for `REFUSED_LOGIN_RESTS_S`, so that a wrong password does not lock the user out.
"""

from __future__ import annotations

import asyncio
import copy
import os
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import getproxies

import anyio
import httpx

from models.errors import LoginFailed, LoopError, LoopUnreachable
from models.loop.address import LoopAddress
from models.loop.answers import Answer, failure
from models.loop.transport import AiohttpTransport

ANSWER_WITHIN_S = 60.0
"""A whole answer, from the first byte sent to the last received; of streams: each piece, and the headers."""

CONNECT_WITHIN_S = 15.0
IDLE_CONNECTION_S = 60.0
"""An unused connection is kept for the next poll: shaking hands anew each 5 s costs a robot's mobile data plan."""

MOST_CONNECTIONS = 32
MOST_ANSWER_BYTES = 16 * 1024 * 1024
MOST_ERROR_BYTES = 64 * 1024
ENDS_AT_ONCE = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
"""A closed connection is reset: else the system goes on for megabytes with a request that was cancelled."""

REFUSED_LOGIN_RESTS_S = 15.0


class LoopSession:
    """Requests to the Loop at `address`, from one event loop. Opens when first used; `close` ends it for good.

    Without a user name the login is empty, as learning-loop-node's detectors send it. `ssl_cert_path` is a certificate
    (PEM) that the Loop is known by, instead of the usual ones. Where no `transport` is passed, a proxy named in the
    environment (`HTTPS_PROXY`, ..., `NO_PROXY`) is used for Loops out in the world and never for those nearby.
    """

    def __init__(
        self,
        address: LoopAddress,
        username: str | None,
        password: str | None,
        ssl_cert_path: Path | None,
        *,
        transport: httpx.AsyncBaseTransport | None,
        now: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self.address = address
        self._credentials = {"username": username or "", "password": password or ""}
        self._certificate = ssl_cert_path
        self._transport = transport
        self._now, self.wall_clock = now, wall_clock
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()
        self._closed = False
        self._logging_in = asyncio.Lock()
        self._logins = 0  # attempts that came to an end; tells who waited meanwhile
        self._refusal: tuple[LoopError, float] | None = None  # how the last one failed, and when
        self._cookies_due = False  # whether a login brought cookies: a jar found empty later has expired

    @property
    def url(self) -> str:
        """Base URL, without a slash at the end."""
        return self.address.url

    async def ask(
        self,
        method: str,
        path: str,
        wish: str,
        *,
        login: bool = True,
        repeat: bool = True,
        within: float = ANSWER_WITHIN_S,
        most_bytes: int = MOST_ANSWER_BYTES,
        **request: Any,
    ) -> Answer:
        """The answer to one request if it is a success, read whole. `request` is what httpx takes: json, content, ...

        `repeat`: whether asking twice does no harm; then a connection that broke before the answer, as one does that the
        other side just closed as idle, is tried once more. Raises every kind of `LoopError`.
        """
        try:
            with anyio.fail_after(within):
                try:
                    return await self._ask(method, path, wish, login, most_bytes, request)
                except _Broken:
                    if not repeat:
                        raise
                    return await self._ask(method, path, wish, login, most_bytes, request)
        except TimeoutError as error:
            raise self.too_slow(within) from error

    async def _ask(
        self, method: str, path: str, wish: str, login: bool, most_bytes: int, request: Mapping[str, Any]
    ) -> Answer:
        async with self.answer(method, path, login=login, **request) as response:
            answer = await self.read(response, most_bytes)
        error = failure(answer, wish, self.wall_clock())
        if error is not None:
            raise error
        return answer

    @asynccontextmanager
    async def answer(
        self, method: str, path: str, *, login: bool, within: float | None = ANSWER_WITHIN_S, **request: Any
    ) -> AsyncIterator[httpx.Response]:
        """The answer to a request, whatever its status, its body unread; its headers come `within` so many seconds,
        the sending of the request included.

        httpx's errors in the block become ours.
        """
        with self._foreign_errors():
            client = await self._open()
            if login:
                await self.log_in()
            logins = self._logins
            response = await self._send(client, within, method, path, request)
            try:
                if response.status_code == httpx.codes.UNAUTHORIZED:
                    await response.aclose()
                    await self._log_in_once(client, logins)
                    response = await self._send(client, within, method, path, request)
                yield response
            finally:
                await response.aclose()

    async def _send(
        self, client: httpx.AsyncClient, within: float | None, method: str, path: str, request: Mapping[str, Any]
    ) -> httpx.Response:
        try:
            with anyio.fail_after(within):
                return await client.send(client.build_request(method, path, **request), stream=True)
        except TimeoutError as error:
            raise self.too_slow(within or ANSWER_WITHIN_S) from error

    async def read(self, response: httpx.Response, most_bytes: int = MOST_ANSWER_BYTES) -> Answer:
        """The body of a streamed answer; of an error no more than words need. Raises `LoopUnreachable` beyond the bound."""
        failed = not response.is_success
        body = bytearray()
        async with aclosing(self.pieces(response)) as pieces:
            async for piece in pieces:
                body += piece
                if failed and len(body) >= MOST_ERROR_BYTES:
                    break
                if len(body) > most_bytes:
                    raise LoopUnreachable(
                        f"what is at {self.url} answered with more than {most_bytes // 1024} KiB, "
                        "which no answer of a Learning Loop has here; is LOOP_HOST right?",
                        response.status_code,
                    )
        return Answer(self.url, response.status_code, response.headers, bytes(body))

    def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. Raises `LoopUnreachable` if it is compressed: a few bytes could become gigabytes."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise LoopUnreachable(
                f"what is at {self.url} answered in the encoding {encoding[:20]!r}, which it was not asked for",
                response.status_code,
            )
        pieces = response.aiter_bytes()
        assert isinstance(pieces, AsyncGenerator)
        return pieces

    async def log_in(self, *, anew: bool = False) -> None:
        """Have a session: at once if there is one already, unless it is to be made `anew`.

        Raises `LoginFailed`, `LoopBusy`, `LoopUnreachable`.
        """
        client = await self._open()
        if anew or self._needs_login(client):
            await self._log_in_once(client, self._logins)

    async def _log_in_once(self, client: httpx.AsyncClient, logins: int) -> None:
        """Log in, unless somebody else did since there had been `logins`; then what became of that counts."""
        async with self._logging_in:
            if self._logins != logins:
                if self._refusal is not None:
                    raise copy.copy(self._refusal[0])
                return  # somebody else just did
            if self._refusal is not None and self._is_resting(*self._refusal):
                raise copy.copy(self._refusal[0])
            try:
                await self._post_login(client)
            except LoopError as error:
                self._logins += 1
                self._refusal = (error, self._now())
                raise
            self._logins += 1
            self._refusal = None
            self._cookies_due = bool(client.cookies)

    @property
    def cookies(self) -> dict[str, str]:
        """Name and value of what the login brought, for a Socket.IO connection."""
        return {} if self._client is None else {cookie.name: cookie.value or "" for cookie in self._client.cookies.jar}

    async def close(self) -> None:
        """End all connections; what is under way fails. Calls after it raise `LoopUnreachable`."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def too_slow(self, seconds: float) -> LoopUnreachable:
        """The error for an answer that did not come in time."""
        return LoopUnreachable(f"the Learning Loop at {self.url} did not answer within {seconds:.0f} s")

    def _needs_login(self, client: httpx.AsyncClient) -> bool:
        if self._logins == 0 or self._refusal is not None:
            return True
        client.cookies.jar.clear_expired_cookies()
        return self._cookies_due and not client.cookies

    def _is_resting(self, error: LoopError, since: float) -> bool:
        return isinstance(error, LoginFailed) and 0 <= self._now() - since < REFUSED_LOGIN_RESTS_S

    async def _post_login(self, client: httpx.AsyncClient) -> None:
        """One login. The old cookies go: they were refused, or there were none."""
        client.cookies.clear()
        wish = f"the login of {self._credentials['username'] or 'nobody (LOOP_USERNAME is not set)'}"
        request = client.build_request("POST", "/api/login", data=self._credentials)
        with self._foreign_errors():
            try:
                with anyio.fail_after(ANSWER_WITHIN_S):
                    response = await client.send(request, stream=True)
                    try:
                        answer = await self.read(response)
                    finally:
                        await response.aclose()
            except TimeoutError as error:
                raise self.too_slow(ANSWER_WITHIN_S) from error
        refusal = failure(answer, wish, self.wall_clock())
        if refusal is not None and answer.status in (400, 401, 403, 422):
            raise LoginFailed(str(refusal), answer.status)
        if refusal is not None:
            raise refusal

    @contextmanager
    def _foreign_errors(self) -> Iterator[None]:
        """A block whose httpx errors leave it as `LoopUnreachable`."""
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise ours(error, self.url) from error
        except RuntimeError as error:
            if self._closed:  # that is what a closed client of httpx raises
                raise self._is_closed() from error
            raise

    def _is_closed(self) -> LoopUnreachable:
        return LoopUnreachable(f"the connection to the Learning Loop at {self.url} is closed")

    async def _open(self) -> httpx.AsyncClient:
        if self._closed:
            raise self._is_closed()
        if self._client is None:
            async with self._opening:
                if self._client is None:
                    client = await self._make_client()
                    if self._closed:
                        await client.aclose()
                        raise self._is_closed()
                    self._client = client
        return self._client

    async def _make_client(self) -> httpx.AsyncClient:
        through_proxy = self._transport is None and not self.address.is_nearby
        if self._transport is None and (self.address.scheme == "https" or through_proxy):
            verify = await asyncio.to_thread(self.tls)
        else:
            # Loading certificates takes tens of milliseconds; where there is no TLS none are needed.
            verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            limits = httpx.Limits(
                max_connections=MOST_CONNECTIONS,
                max_keepalive_connections=MOST_CONNECTIONS,
                keepalive_expiry=IDLE_CONNECTION_S,
            )
            transport = self._transport
            if transport is None and not (through_proxy and getproxies()):
                # With a proxy httpx must make the transports itself; there the system may send on what it has in store.
                transport = AiohttpTransport(verify, ENDS_AT_ONCE, MOST_CONNECTIONS, IDLE_CONNECTION_S)
            return httpx.AsyncClient(
                base_url=self.url,
                transport=transport,
                verify=verify,
                trust_env=through_proxy,
                timeout=httpx.Timeout(ANSWER_WITHIN_S, connect=CONNECT_WITHIN_S),
                limits=limits,
                # Compressed answers could not be bounded by what arrives, nor resumed.
                headers={"user-agent": "detector-appliance", "accept-encoding": "identity"},
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise LoopUnreachable(
                f"the proxy named in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY cannot be used ({error}); "
                "correct it, or name the Learning Loop in NO_PROXY"
            ) from error

    def tls(self) -> ssl.SSLContext:
        """How the Loop proves who it is: by `ssl_cert_path`, else by the usual authorities. Blocks; `LoopUnreachable`."""
        if self._certificate is None:
            return httpx.create_ssl_context()
        try:
            return ssl.create_default_context(cafile=self._certificate)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise LoopUnreachable(
                f"LOOP_SSL_CERT_PATH names {self._certificate}, which is no certificate that can be read ({reason}); "
                "it should be a file in PEM form, or unset"
            ) from error


class _Broken(LoopUnreachable):
    """The connection broke before the answer; it may have been closed as idle while we sent."""


def ours(error: Exception, url: str) -> LoopUnreachable:
    """The error of ours for one of httpx's."""
    who = f"the Learning Loop at {url}"
    reason = _reason(error)
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return LoopUnreachable(
            f"{who} does not prove who it is ({reason}); LOOP_SSL_CERT_PATH names a certificate that is to be trusted"
        )
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)):
        return LoopUnreachable(f"no connection to {who} ({reason})")
    if isinstance(error, httpx.TimeoutException):
        return LoopUnreachable(f"{who} did not go on for {ANSWER_WITHIN_S:.0f} s")
    if isinstance(error, (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)):
        return _Broken(f"the connection to {who} broke off ({reason})")
    return LoopUnreachable(f"{who} could not be asked ({reason})")


def _reason(error: BaseException) -> str:
    """What the system said underneath, else what the library says."""
    below: BaseException | None = error
    for _ in range(10):
        if below is None:
            break
        if isinstance(below, OSError) and below.strerror:
            # asyncio puts the address there, which the sentence names already; of several addresses, all that failed
            if below.errno and below.strerror.startswith(("Connect call failed", "Multiple exceptions")):
                return os.strerror(below.errno)
            return below.strerror
        below = below.__cause__ or below.__context__
    return str(error) or type(error).__name__
