"""What a Loop says of a file without sending it: enough to tell whether it is still the same."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx

from models.loop.answers import Answer, failure
from models.loop.session import LoopSession

_RANGE = re.compile(r"bytes 0-0/([0-9]{1,18})")
_LENGTH = re.compile(r"[0-9]{1,18}")
_NO_HEAD = frozenset({httpx.codes.METHOD_NOT_ALLOWED, httpx.codes.NOT_IMPLEMENTED})


@dataclass(frozen=True)
class ModelProbe:
    """What tells a file from an earlier one of its name: ETag, or else the date of its change; and its size in bytes.

    Either is None where the Loop does not say.
    """

    etag: str | None
    size: int | None


class Prober:
    """Asks one Loop. Remembers whether it knows HEAD: learning loops made with FastAPI answer 405."""

    def __init__(self, session: LoopSession) -> None:
        self._session = session
        self._knows_head = True

    async def probe(self, path: str, wish: str) -> ModelProbe | None:
        """What there is to know of the file at `path`; None if that is nothing. Needs no login.

        Raises `NotInLoop` where there is no such file, and every other kind of `LoopError`.
        """
        if self._knows_head:
            async with self._session.answer("HEAD", path, login=False) as response:
                if response.status_code not in _NO_HEAD:
                    return await self._described(response, wish)
            self._knows_head = False
        # The first byte alone; of a Loop that sends everything, the headers and what was under way with them.
        async with self._session.answer("GET", path, login=False, headers={"range": "bytes=0-0"}) as response:
            return await self._described(response, wish)

    async def _described(self, response: httpx.Response, wish: str) -> ModelProbe | None:
        if not response.is_success:
            answer = Answer(self._session.url, response.status_code, response.headers, b"")
            if response.request.method != "HEAD":
                answer = await self._session.read(response)
            error = failure(answer, wish, self._session.wall_clock())
            assert error is not None
            raise error
        span = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
        length = response.headers.get("content-length", "")
        size: int | None = None
        if response.status_code == httpx.codes.PARTIAL_CONTENT:
            size = int(span[1]) if span is not None else None
        elif _LENGTH.fullmatch(length):
            size = int(length)
        etag = response.headers.get("etag") or response.headers.get("last-modified")
        return ModelProbe(etag, size) if etag or size is not None else None
