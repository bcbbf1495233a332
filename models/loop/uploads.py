"""Multipart bodies for a Learning Loop: their length is known beforehand, and nothing is copied into one more buffer.

All parts are named `files`. Pictures are sent as they lie in memory, files as they lie on the disk.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import httpx

from models.errors import StorageRefused
from models.files import refusal
from models.uninterrupted import in_thread

PIECE = 256 * 1024
"""Bytes that are given to the network at once; each piece has the time-out of one write to leave."""

THROTTLED_PIECE = 64 * 1024
"""The same where somebody counts them: small, so that a slow line is used evenly."""

Throttle = Callable[[int], Awaitable[None]]


@dataclass(frozen=True)
class ImageUpload:
    """One picture (JPEG) with what is known of it (JSON), under the name that it has on every try."""

    id: str
    picture: bytes
    metadata: bytes


class MultipartBody(httpx.AsyncByteStream):
    """A form as bytes and files in order. Can be sent more than once.

    `throttle(n)` is awaited before each `n` bytes. `sending` is told True before the first byte and False after the last.
    Iterating raises `StorageRefused` for a file that cannot be read, or is not as long as it was.
    """

    def __init__(
        self,
        boundary: str,
        sections: Sequence[bytes | tuple[Path, int]],
        throttle: Throttle | None = None,
        sending: Callable[[bool], None] | None = None,
    ) -> None:
        self._boundary = boundary
        self._sections = sections
        self._throttle = throttle
        self._sending = sending
        self._piece = PIECE if throttle is None else THROTTLED_PIECE
        self.size = sum(len(section) if isinstance(section, bytes) else section[1] for section in sections)

    @property
    def headers(self) -> dict[str, str]:
        """What the request has to say of this body."""
        return {
            "content-type": f"multipart/form-data; boundary={self._boundary}",
            "content-length": str(self.size),
        }

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._sending is not None:
            self._sending(True)
        for section in self._sections:
            if isinstance(section, bytes):
                for piece in _pieces(section, self._piece):
                    if self._throttle is not None:
                        await self._throttle(len(piece))
                    yield piece
                continue
            with ExitStack() as opened:  # by whom it is closed also where nobody waits for it to be opened
                file, size = await in_thread(_open, *section, opened), section[1]
                while size > 0:
                    block = await in_thread(_read, file, min(size, PIECE))
                    size -= len(block)
                    yield block
        if self._sending is not None:
            self._sending(False)


def images_body(
    batch: Sequence[ImageUpload],
    throttle: Throttle | None = None,
    sending: Callable[[bool], None] | None = None,
) -> MultipartBody:
    """Pictures in pairs of parts: `image_<id>.json`, then `image_<id>.jpg`."""
    boundary = os.urandom(16).hex()
    sections: list[bytes] = []
    end = b""
    for image in batch:
        # As aiohttp writes file names, on whose encoding the Loop's servers count.
        name = quote(f"image_{image.id}", safe="")
        sections += [
            end
            + _head(boundary, f"{name}.json", "application/json")
            + image.metadata
            + b"\r\n"
            + _head(boundary, f"{name}.jpg", "image/jpeg"),
            image.picture,
        ]
        end = b"\r\n"
    sections.append(end + f"--{boundary}--\r\n".encode())
    return MultipartBody(boundary, sections, throttle, sending)


def files_sizes(files: Sequence[Path]) -> list[tuple[Path, int]]:
    """The files with their lengths in bytes. Blocks. Raises `StorageRefused` if one is not there."""
    try:
        return [(path, path.stat().st_size) for path in files]
    except OSError as error:
        raise refusal(error, f"send {error.filename}") from error


def files_body(files: Sequence[tuple[Path, int]], sending: Callable[[bool], None] | None = None) -> MultipartBody:
    """Files under their own names, each with its length."""
    boundary = os.urandom(16).hex()
    sections: list[bytes | tuple[Path, int]] = []
    end = b""
    for path, size in files:
        name = re.sub(r'[\x00-\x1f"\\]', "_", path.name)
        sections += [end + _head(boundary, name, "application/octet-stream"), (path, size)]
        end = b"\r\n"
    sections.append(end + f"--{boundary}--\r\n".encode())
    return MultipartBody(boundary, sections, sending=sending)


def _head(boundary: str, file_name: str, content_type: str) -> bytes:
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{file_name}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    ).encode()


def _pieces(whole: bytes, most: int) -> Iterator[bytes]:
    """The same bytes in pieces; what is small enough already is no copy."""
    if len(whole) <= most:
        yield whole
        return
    view = memoryview(whole)
    for start in range(0, len(whole), most):
        yield bytes(view[start : start + most])


def _open(path: Path, size: int, opened: ExitStack) -> BinaryIO:
    try:
        file = opened.enter_context(path.open("rb"))
    except OSError as error:
        raise refusal(error, f"send {path}") from error
    if os.fstat(file.fileno()).st_size != size:
        raise StorageRefused(f"{path} changed while it was sent; send it again when nobody writes to it")
    return file


def _read(file: BinaryIO, size: int) -> bytes:
    try:
        block = file.read(size)
    except OSError as error:
        raise refusal(error, f"send {file.name}") from error
    if not block:
        raise StorageRefused(f"{file.name} changed while it was sent; send it again when nobody writes to it")
    return block
