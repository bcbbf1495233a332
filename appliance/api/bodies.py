"""Request bodies, which are hostile: bounded each, and bounded together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from starlette.requests import ClientDisconnect, Request

from access import ASGIApp, Receive, Scope, Send
from appliance.api.errors import response_to
from appliance.api.forms import FormFiles
from models.errors import DetectorApplianceError, InputTooLarge, InvalidInput, Overloaded

MIB = 2**20

ENVELOPE = MIB
"""Bytes that a multipart form may have beyond the pictures in it."""

MAX_TEXT = 4096
"""Bytes of a body that is a mode or a version."""


PATIENCE = 30.0
"""Seconds without a byte after which a request is given up: whoever sends nothing shall not hold memory for long."""


class Budget:
    """How many bytes of request bodies may be in memory at once, over all requests."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._taken = 0

    @property
    def taken(self) -> int:
        """Bytes that are in memory now."""
        return self._taken

    @contextmanager
    def reserve(self, size: int = 0) -> Iterator[Reservation]:
        """Take `size` bytes, and more as they come, for as long as the block runs. Raises `Overloaded`."""
        taken = Reservation(self)
        try:
            taken.grow(size)
            yield taken
        finally:
            self._taken -= taken.size

    def check(self, size: int) -> None:
        """Raises `Overloaded` if there is no room for `size` bytes now."""
        Reservation(self).check(size)


class Reservation:
    """What one request has taken of the budget."""

    def __init__(self, budget: Budget) -> None:
        self.size = 0
        self._budget = budget

    def check(self, size: int) -> None:
        """Raises `Overloaded` if `size` bytes more do not fit beside what others have; one request always fits."""
        others = self._budget._taken - self.size
        if others and self._budget._taken + size > self._budget._max:
            raise Overloaded(f"Pictures of {others // MIB} MiB are under way already; try again soon")

    def grow(self, size: int) -> None:
        """Take `size` bytes more. Raises `Overloaded`."""
        self.check(size)
        self.size += size
        self._budget._taken += size


def declared_size(request: Request, limit: int) -> int:
    """Bytes that the body will have, 0 if it does not say. Raises `InputTooLarge`, before anything is read."""
    text = request.headers.get("content-length", "")
    if not (text.isascii() and text.isdecimal()):
        return 0
    size = int(text[:19])
    if size > limit:
        raise InputTooLarge(f"The request has {size // MIB} MiB; this box accepts {limit // MIB} MiB")
    return size


async def chunks(
    request: Request, limit: int, taken: Reservation | None = None, *, patience: float = PATIENCE
) -> AsyncGenerator[bytes, None]:
    """The body, up to `limit` bytes, which are reserved as they come.

    Raises `InputTooLarge` as soon as there are more, `Overloaded` if others have too much in memory, `InvalidInput` if the
    sender leaves before the end or sends nothing for `patience` seconds.
    """
    size = 0
    stream = request.stream()
    watch = _Watch(patience)
    try:
        while True:
            watch.waiting()
            chunk = await anext(stream, None)
            watch.arrived()
            if chunk is None:
                return
            size += len(chunk)
            if size > limit:
                raise InputTooLarge(f"The request is longer than the {limit // MIB} MiB that this box accepts")
            if taken is not None:
                taken.grow(len(chunk))
            yield chunk
    except ClientDisconnect as error:
        raise InvalidInput("The connection ended in the middle of the request") from error
    except asyncio.CancelledError:
        if not watch.gave_up():
            raise
        raise InvalidInput(f"The request stopped: nothing of it came for {patience:g} s; send it anew") from None
    finally:
        watch.close()


class _Watch:
    """Cancels the task that made it when it waits longer than `patience` seconds for the next piece.

    One timer for a whole body: a time limit around each piece costs more than receiving it.
    """

    def __init__(self, patience: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._patience = patience
        self._since: float | None = None
        self._gave_up = False
        self._timer = self._loop.call_later(patience, self._look)

    def waiting(self) -> None:
        """The next piece is due from now on."""
        self._since = self._loop.time()

    def arrived(self) -> None:
        """It is here; what is done with it may take its time."""
        self._since = None

    def gave_up(self) -> bool:
        """Whether it was this watch that cancelled the task; if so, the task is none the worse for it."""
        uncancel = getattr(self._task, "uncancel", None)  # since Python 3.11
        if self._gave_up and uncancel is not None:
            uncancel()
        return self._gave_up

    def close(self) -> None:
        """Stop watching."""
        self._timer.cancel()

    def _look(self) -> None:
        waited = self._loop.time() - self._since if self._since is not None else 0.0
        if waited >= self._patience:
            self._gave_up = True
            assert self._task is not None
            self._task.cancel()
        else:
            self._timer = self._loop.call_later(self._patience - waited, self._look)


async def read_text(request: Request) -> str:
    """A body that is a word or two, whatever content type it claims (curl -d claims urlencoded). Raises `InvalidInput`."""
    declared_size(request, MAX_TEXT)
    body = b"".join([chunk async for chunk in chunks(request, MAX_TEXT)])
    try:
        return body.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise InvalidInput("The body should be a word as UTF-8 text") from error


@asynccontextmanager
async def files_of(request: Request, field: str, limit: int, budget: Budget) -> AsyncIterator[list[bytes]]:
    """The files of a multipart form in `field`; at least one. Their bytes count against the budget inside the block.

    Raises `InvalidInput` where there is none, or no form at all; else as `chunks`.
    """
    form = FormFiles(request.headers.get("content-type", ""), field, f"curl -F '{field}=@photo.jpg' …")
    budget.check(declared_size(request, limit))
    with budget.reserve() as taken:
        async for chunk in chunks(request, limit, taken):
            form.feed(chunk)
        yield [file.take() for file in form.finish()]


class WholeBodies:
    """Reads the body of each POST below `path` before `app` sees the request: bounded, counted, in one piece.

    Engine.IO, whose polling clients send their messages that way, reads bodies of any length, and copies all it has with
    each piece that comes: minutes for a large picture.
    """

    def __init__(self, app: ASGIApp, path: str, limit: int, budget: Budget) -> None:
        self._app = app
        self._path = path
        self._limit = limit
        self._budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(self._path):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            self._budget.check(declared_size(request, self._limit))
            with self._budget.reserve() as taken:
                body = b"".join([chunk async for chunk in chunks(request, self._limit, taken)])
                length = (b"content-length", str(len(body)).encode())
                scope["headers"] = [*(each for each in scope["headers"] if each[0] != length[0]), length]
                await self._app(scope, _Once(body, receive), send)
        except DetectorApplianceError as error:
            await response_to(error)(scope, receive, send)


class _Once:
    """Hands out a body that was read already, then what comes after it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._message: MutableMapping[str, Any] | None = {"type": "http.request", "body": body, "more_body": False}
        self._receive = receive

    async def __call__(self) -> MutableMapping[str, Any]:
        message, self._message = self._message, None
        return message or await self._receive()
