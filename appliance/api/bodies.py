"""Request bodies, which are hostile: bounded each, and bounded together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from models.errors import InputTooLarge, InvalidInput, Overloaded

MIB = 2**20

ENVELOPE = MIB
"""Bytes that a multipart form may have beyond the pictures in it."""

MAX_TEXT = 4096
"""Bytes of a body that is a mode or a version."""

MAX_FILES = 100


class Budget:
    """How many bytes of request bodies may be in memory at once, over all requests."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._taken = 0

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Take `size` bytes for as long as the block runs. Raises `Overloaded`; one request always fits."""
        if self._taken and self._taken + size > self._max:
            raise Overloaded(f"Pictures of {self._taken // MIB} MiB are under way already; try again soon")
        self._taken += size
        try:
            yield
        finally:
            self._taken -= size


class _InMemory(MultiPartParser):
    """Files are kept in memory, whatever their size: their sum is bounded, and a card in a robot wears out."""

    spool_max_size = 2**40


def declared_size(request: Request, limit: int) -> int:
    """Bytes that the body will have at most. Raises `InputTooLarge`, before anything is read, if it says so itself."""
    text = request.headers.get("content-length")
    if text is None or not text.isdecimal():
        return limit
    if int(text) > limit:
        raise InputTooLarge(f"The request has {int(text) // MIB} MiB; this box accepts {limit // MIB} MiB")
    return int(text)


async def chunks(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The body, up to `limit` bytes. Raises `InputTooLarge` as soon as there are more."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise InputTooLarge(f"The request is longer than the {limit // MIB} MiB that this box accepts")
        yield chunk


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

    Raises `InvalidInput` where there is none, or no form at all.
    """
    content_type = request.headers.get("content-type", "")
    example = f"curl -F '{field}=@photo.jpg' …"
    if not content_type.lower().startswith("multipart/form-data"):
        raise InvalidInput(f"The picture has to come as a multipart form: {example}")
    with budget.reserve(declared_size(request, limit)):
        parser = _InMemory(
            request.headers, chunks(request, limit), max_files=MAX_FILES, max_fields=MAX_FILES, max_part_size=MIB
        )
        try:
            form = await parser.parse()
        except (MultiPartException, HTTPException, KeyError, ValueError) as error:
            # KeyError: no boundary; ValueError: a boundary or a charset that cannot be one.
            raise InvalidInput(f"The multipart form cannot be read ({error}): {example}") from error
        try:
            found = [part for part in form.getlist(field) if isinstance(part, UploadFile)]
            if not found:
                names = ", ".join(sorted({repr(name) for name in form})) or "nothing"
                raise InvalidInput(f"The form has no file in the field {field!r}, it has {names}: {example}")
            yield [part.file.read() for part in found]
        finally:
            await form.close()
