"""Pictures that wait for the worker: a queue that is bounded in length, and in how long anybody stays in it."""

from __future__ import annotations

import asyncio
import itertools
from bisect import insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.inference.channel import Payload
from models.bundle import Bundle
from models.errors import DetectionUnavailable, Overloaded


@dataclass(frozen=True)
class Picture:
    """What is to be looked at: an encoded picture, or with `raw` (`dtype`, `shape`) the bytes of an array."""

    payload: Payload
    raw: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Seen:
    """A worker's answer: detections in wire form, picture size in pixels, `timings` in milliseconds.

    `bundle` is the model that gave it: another one may serve by the time that it is read.
    """

    bundle: Bundle
    detections: dict[str, Any]
    width: int
    height: int
    timings: dict[str, float]


@dataclass(order=True)
class Request:
    """One picture on its way. In seconds: `max_wait`, and on the loop's clock `entered`. `tries` have failed so far."""

    number: int
    picture: Picture = field(compare=False)
    max_wait: float = field(compare=False)
    entered: float = field(compare=False)
    answer: asyncio.Future[Seen] = field(compare=False)
    tries: int = field(compare=False, default=0)
    waited: float = field(compare=False, default=0.0)
    expiry: asyncio.TimerHandle | None = field(compare=False, default=None, repr=False)

    def settle(self, outcome: Seen | BaseException) -> None:
        """Tell whoever asked, if somebody still waits for it."""
        if self.answer.done():
            return
        if isinstance(outcome, Seen):
            self.answer.set_result(outcome)
        else:
            self.answer.set_exception(outcome)


class WaitingRoom:
    """First come, first served; belongs to one event loop.

    `too_late` makes the error for whoever has waited for too long: it knows what everybody waits for.
    """

    def __init__(self, depth: int, too_late: Callable[[Request], DetectionUnavailable]) -> None:
        self.refused_full = 0
        self.refused_old = 0
        self.depth = depth
        self._too_late = too_late
        self._numbers = itertools.count()
        self._waiting: list[Request] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, picture: Picture, max_wait: float) -> Request:
        """Take a place at the end, for `max_wait` seconds. Raises `Overloaded` if there is none."""
        if len(self._waiting) >= self.depth:
            self.refused_full += 1
            raise Overloaded(
                f"{len(self._waiting)} pictures are waiting already; send fewer at a time or try again soon"
            )
        loop = asyncio.get_running_loop()
        request = Request(next(self._numbers), picture, max_wait, loop.time(), loop.create_future())
        self._wait(request)
        return request

    def enter_again(self, request: Request) -> None:
        """Back to the place that its age gives it, whether or not the room is full, for as long as the first time."""
        self._wait(request)

    def first(self) -> Request | None:
        """Who is next. It stays where it is."""
        return self._waiting[0] if self._waiting else None

    def leave(self, request: Request) -> None:
        """It is its turn now, or it has gone away; nothing happens if it is not here."""
        if request.expiry is not None:
            request.expiry.cancel()
            request.expiry = None
            self._waiting.remove(request)

    def refuse_all(self, error: Callable[[], DetectionUnavailable]) -> None:
        """Send everybody away."""
        for request in list(self._waiting):
            self.leave(request)
            request.settle(error())

    def _wait(self, request: Request) -> None:
        request.expiry = asyncio.get_running_loop().call_later(request.max_wait, self._expire, request)
        insort(self._waiting, request)

    def _expire(self, request: Request) -> None:
        self.leave(request)
        self.refused_old += 1
        request.settle(self._too_late(request))
