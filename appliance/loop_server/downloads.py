"""A blob as an answer that can be resumed: `Range`, `If-Range` and a strong `ETag` (RFC 9110)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from appliance.loop_server.blobs import Blobs

_CHUNK = 256 * 1024
_AT_ONCE = 1024 * 1024
"""Bytes that are read and sent in one piece, as pictures are: each turn of the event loop costs more than reading them."""

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Span:
    """Bytes `start` up to, not including, `end`."""

    start: int
    end: int


@dataclass(frozen=True)
class Unsatisfiable:
    """The range begins behind the end."""


def wanted(range_header: str | None, if_range: str | None, etag: str, size: int) -> Span | Unsatisfiable | None:
    """What of `size` bytes is asked for; None is all of it. Pure.

    Several ranges, what is no range, and a range of something else than is here (`if_range`) are answered with all.
    """
    match = _RANGE.fullmatch((range_header or "").replace(" ", ""))
    if match is None or (if_range is not None and if_range.strip() != etag):
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        return Span(max(0, size - int(last)), size) if int(last) and size else Unsatisfiable()
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        return Unsatisfiable()
    return Span(int(first), min(size, int(last) + 1) if last else size)


async def download(
    request: Request, blobs: Blobs, sha256: str, size: int, headers: Mapping[str, str], media_type: str
) -> Response:
    """The blob, or the part of it that is asked for; its sha256 is the ETag. Raises `NotInLoop` if its bytes are gone."""
    etag = f'"{sha256}"'
    both = {**headers, "accept-ranges": "bytes", "etag": etag}
    span = wanted(request.headers.get("range"), request.headers.get("if-range"), etag, size)
    if isinstance(span, Unsatisfiable):
        return Response(status_code=416, headers={**both, "content-range": f"bytes */{size}"})
    status = 200
    if span is None:
        span = Span(0, size)
    else:
        status = 206
        both["content-range"] = f"bytes {span.start}-{span.end - 1}/{size}"
    both["content-length"] = str(span.end - span.start)
    if span.end - span.start <= _AT_ONCE:
        return Response(await asyncio.to_thread(_read, blobs, sha256, span), status, both, media_type)
    file = await asyncio.to_thread(blobs.open, sha256)
    return _FromFile(file, span, status, both, media_type)


def _read(blobs: Blobs, sha256: str, span: Span) -> bytes:
    with blobs.open(sha256) as file:
        file.seek(span.start)
        return file.read(span.end - span.start)


class _FromFile(StreamingResponse):
    """Part of a file, which is closed however this ends."""

    def __init__(self, file: BinaryIO, span: Span, status: int, headers: Mapping[str, str], media_type: str) -> None:
        super().__init__(_chunks(file, span), status, headers, media_type)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await asyncio.to_thread(self._file.close)


async def _chunks(file: BinaryIO, span: Span) -> AsyncIterator[bytes]:
    left = span.end - span.start
    await asyncio.to_thread(file.seek, span.start)
    while left and (data := await asyncio.to_thread(file.read, min(left, _CHUNK))):
        left -= len(data)
        yield data
