"""Files from a Learning Loop to the disk: streamed, bounded, measured, and resumed where that is safe.

A partial file is resumed only if the other side says that it still has the same file: same ETag, else same
Last-Modified, and the same size.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from models.errors import LoopUnreachable
from models.files import FileSystem
from models.loop.answers import failure
from models.loop.receiving import Part, Progress, Receiver, safe_file_name
from models.loop.session import LoopSession
from models.uninterrupted import in_thread, to_its_end

BLOCK = 1024 * 1024
"""Bytes that are hashed and written at once: a hop to a thread costs more than a piece from the network is worth."""

SYNC_EVERY = 8 * 1024 * 1024
SYNC_AFTER_S = 15.0
"""What is synced survives a power cut: so many bytes, or what came in so many seconds, are the most that is lost."""

SLOWEST_BYTES = 16 * 1024
SLOWEST_S = 120.0
"""Less than so many bytes in so many seconds is no download but a connection that somebody keeps busy."""

_STRONG_TAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_LENGTH = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class Download:
    """A file that is there completely. `sha256` is in hex; `file_name` is what the sender calls it, made harmless."""

    path: Path
    size: int
    sha256: str
    file_name: str


@dataclass(frozen=True)
class Downloader:
    """Fetches files of one Loop. `now` is a clock in seconds."""

    session: LoopSession
    now: Callable[[], float]
    files: FileSystem

    async def fetch(
        self, path: str, wish: str, to: Path, *, max_bytes: int, progress: Progress | None, file_name: str
    ) -> Download:
        """Fetch `path` into the file `to`, going on with a part of it that lies there. Needs no login.

        Raises `InputTooLarge` and `StorageRefused` (nothing stays), and every `LoopError` (the partial file stays).
        """
        receiver = Receiver(self.session.url + path, to, max_bytes, self.files)
        part = await in_thread(receiver.find_part)
        headers = {} if part is None else {"range": f"bytes={part.synced}-", "if-range": str(part.proof)}
        for asked in (headers, {}):
            async with self.session.answer("GET", path, login=False, headers=asked) as response:
                if response.status_code == httpx.codes.OK:
                    begin, of = receiver.begin, described(receiver.url, response)
                elif part is not None and asked and _continues(response, part, receiver.url):
                    begin, of = receiver.go_on, part
                elif asked and response.status_code in (
                    httpx.codes.PARTIAL_CONTENT,
                    httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE,
                ):
                    continue  # it is another file by now: all of it, then
                else:
                    raise await self._refusal(response, wish)
                pieces, rest = self.session.pieces(response), bytearray()
                try:
                    await to_its_end(asyncio.to_thread(begin, of), interrupt=receiver.interrupt)
                    await self._receive(pieces, rest, receiver, progress)
                    sha256 = await in_thread(receiver.finish)
                finally:
                    await in_thread(receiver.stop, bytes(rest))
                name = safe_file_name(response.headers.get("content-disposition", ""), file_name)
                return Download(to, receiver.received, sha256, name)
        raise AssertionError("the second request asks for no range")

    async def _receive(
        self, pieces: AsyncIterator[bytes], rest: bytearray, receiver: Receiver, progress: Progress | None
    ) -> None:
        """Stream the body to the disk. `rest` is what has come and is not written yet, if something ends it early."""
        waited, came = 0.0, 0  # with the network; waiting for the disk does not count
        unsynced, synced_at = 0, self.now()
        if progress is not None:
            progress(receiver.received, receiver.size)
        while True:
            before = self.now()
            piece = await anext(pieces, b"")
            after = self.now()
            if not piece:
                break
            rest += piece
            came += len(piece)
            waited += max(0.0, after - before)
            if came >= SLOWEST_BYTES:
                waited, came = 0.0, 0
            elif waited >= SLOWEST_S:
                raise LoopUnreachable(
                    f"the Learning Loop at {self.session.url} sends less than {SLOWEST_BYTES // 1024} KiB in "
                    f"{SLOWEST_S:.0f} s; the download will go on from here another time"
                )
            due = after - synced_at >= SYNC_AFTER_S or unsynced + len(rest) >= SYNC_EVERY
            if len(rest) >= BLOCK or due:
                unsynced += len(rest)
                await in_thread(receiver.write, _taken(rest), due)
                if due:
                    unsynced, synced_at = 0, self.now()
                if progress is not None:
                    progress(receiver.received, receiver.size)
        if rest:
            await in_thread(receiver.write, _taken(rest), False)
        if progress is not None:
            progress(receiver.received, receiver.size)

    async def _refusal(self, response: httpx.Response, wish: str) -> Exception:
        error = failure(await self.session.read(response), wish, self.session.wall_clock())
        return error or LoopUnreachable(
            f"asked for {wish}, what is at {self.session.url} answered with status {response.status_code}; "
            "is that a Learning Loop, and LOOP_HOST right?",
            response.status_code,
        )


def _taken(rest: bytearray) -> bytes:
    """All of it, which is nobody else's business any more."""
    block = bytes(rest)
    rest.clear()
    return block


def described(url: str, response: httpx.Response, size: int | None = None) -> Part:
    """What an answer says of the file that it carries; `size` where Content-Length counts only a part of it."""
    tag = response.headers.get("etag", "")
    length = response.headers.get("content-length", "")
    if size is None and _LENGTH.fullmatch(length):
        size = int(length)
    return Part(
        url=url,
        etag=tag if _STRONG_TAG.fullmatch(tag) else None,
        last_modified=response.headers.get("last-modified"),
        size=size,
    )


def _continues(response: httpx.Response, part: Part, url: str) -> bool:
    """Whether the answer goes on exactly where the part ends, in the same file."""
    span = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
    if response.status_code != httpx.codes.PARTIAL_CONTENT or span is None:
        return False
    first, last, size = (int(number) for number in span.groups())
    return first == part.synced and last == size - 1 and part.is_continued_by(described(url, response, size))
