"""Long answers that are made while they go out: a few at a time, and none for somebody who takes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

log = logging.getLogger(__name__)

STALLED_S = 120.0
"""Who takes no piece for so long has gone away, or might as well have."""


class Turns:
    """How many such answers may be under way at once. For the event loop only."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self) -> None:
        """Begin one. Raises 503 where there are enough."""
        if not self._left:
            raise HTTPException(503, "Others are fetching pictures now; try again in a while", {"retry-after": "60"})
        self._left -= 1

    def give_back(self) -> None:
        """One has ended."""
        self._left += 1


class Stream(StreamingResponse):
    """Pieces, each made in a thread when the one before is gone. It ends with the last, or with whoever asked.

    `turns` must have been taken, and is given back. What `pieces` raise cuts the answer off, so that nobody takes it for whole.
    """

    def __init__(
        self,
        pieces: Iterator[bytes],
        turns: Turns,
        headers: Mapping[str, str],
        media_type: str,
        stalled_s: float = STALLED_S,
    ) -> None:
        super().__init__(pieces, headers=headers, media_type=media_type)
        self._turns = turns
        self._stalled_s = stalled_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `StreamingResponse`."""

        async def send_in_time(message: MutableMapping[str, Any]) -> None:
            await asyncio.wait_for(send(message), self._stalled_s)

        try:
            await super().__call__(scope, receive, send_in_time)
        except asyncio.TimeoutError:
            log.warning("%s was cut off: nothing was taken for %g s", scope["path"], self._stalled_s)
        finally:
            self._turns.give_back()
