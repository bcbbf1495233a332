"""Pictures to a Learning Loop: a multipart body that is sent as it lies in memory, never copied into one more buffer."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import httpx

PIECE = 256 * 1024
"""Bytes that are given to the network at once; each piece has the time-out of one write to leave."""

THROTTLED_PIECE = 16 * 1024
"""The same where somebody counts them: small, so that a slow line is used evenly."""

Throttle = Callable[[int], Awaitable[None]]


@dataclass(frozen=True)
class ImageUpload:
    """One picture (JPEG) with what is known of it (JSON), under the name that it has on every try."""

    id: str
    picture: bytes
    metadata: bytes


class ImagesBody(httpx.AsyncByteStream):
    """Pairs of parts, all named `files`: `image_<id>.json`, then `image_<id>.jpg`. Can be sent more than once.

    `throttle(n)` is awaited before each `n` bytes. `sending` is told True before the first byte and False after the last.
    """

    def __init__(
        self,
        batch: Sequence[ImageUpload],
        throttle: Throttle | None = None,
        sending: Callable[[bool], None] | None = None,
        boundary: str | None = None,
    ) -> None:
        self.boundary = boundary or os.urandom(16).hex()
        self._throttle = throttle
        self._sending = sending
        self._parts = list(_parts(batch, self.boundary))
        self.size = sum(len(part) for part in self._parts)

    @property
    def headers(self) -> dict[str, str]:
        """What the request has to say of this body."""
        return {
            "content-type": f"multipart/form-data; boundary={self.boundary}",
            "content-length": str(self.size),
        }

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._sending is not None:
            self._sending(True)
        most = PIECE if self._throttle is None else THROTTLED_PIECE
        for part in self._parts:
            whole = memoryview(part)
            for start in range(0, len(part), most):
                piece = part if len(part) <= most else whole[start : start + most]
                if self._throttle is not None:
                    await self._throttle(len(piece))
                yield piece  # type: ignore[misc] # h11 takes every buffer
        if self._sending is not None:
            self._sending(False)


def _parts(batch: Sequence[ImageUpload], boundary: str) -> Iterator[bytes]:
    """All bytes of the body, the pictures as the very objects that they are."""
    end = b""
    for image in batch:
        # As aiohttp writes file names, on whose encoding the Loop's servers count.
        name = quote(f"image_{image.id}", safe="")
        yield (
            end
            + _head(boundary, f"{name}.json", "application/json")
            + image.metadata
            + b"\r\n"
            + _head(boundary, f"{name}.jpg", "image/jpeg")
        )
        yield image.picture
        end = b"\r\n"
    yield end + f"--{boundary}--\r\n".encode()


def _head(boundary: str, file_name: str, content_type: str) -> bytes:
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{file_name}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    ).encode()
