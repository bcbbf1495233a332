"""What was looked at last, for people who want to see it: the latest picture of each camera, and how long it all took.

It is told of every detection, so being told costs next to nothing: references are kept, nothing is copied or decoded
before somebody looks.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from appliance.inference.waiting import Picture, Seen
from appliance.relevance import camera_key
from models.wire.image_metadata import ImageMetadata

RATE_SECONDS = 5.0
"""The rate is that of the last so many seconds."""

HEARD = 64
"""Cameras that are remembered by name."""

MIB = 2**20


@dataclass(frozen=True)
class Bounds:
    """How large a picture may be to be kept, and all of them together, bytes."""

    one: int
    all: int


UNWATCHED = Bounds(2 * MIB, 16 * MIB)
WATCHED = Bounds(32 * MIB, 64 * MIB)
"""While somebody looks, large arrays are kept, too."""


@dataclass(frozen=True)
class Glimpse:
    """One picture that was looked at, and what its sender was told. `when` is seconds since 1970, `size` pixels."""

    number: int
    camera_id: str | None
    picture: Picture
    metadata: ImageMetadata
    timings: dict[str, float]
    size: tuple[int, int]
    when: float


class Recent:
    """The latest glimpse of each camera, of at most `max_cameras` that were heard last. Belongs to one event loop.

    `clock` counts seconds and never jumps, `now` is the time of day.
    """

    def __init__(
        self,
        max_cameras: int = 16,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.watched: Callable[[], bool] = _nobody
        self.pictures = 0
        self.milliseconds: dict[str, float] = {}
        """All pictures together, by stage."""
        self._max_cameras = max_cameras
        self._clock = clock
        self._now = now
        self._numbers = count(1)
        self._moments: deque[float] = deque(maxlen=1024)
        self._latest: dict[str | None, Glimpse] = {}
        self.heard: dict[str, float] = {}
        """Cameras that sent a picture lately and when that was, the last one at the end; those without an id left out."""
        self._bytes = 0

    def note(self, seen: Seen, picture: Picture, camera_id: str | None, metadata: ImageMetadata, *, show: bool) -> None:
        """A picture was looked at. `show`: it is a camera's, and not one that somebody tries."""
        self.pictures += 1
        self._moments.append(self._clock())
        totals = self.milliseconds
        for stage, value in seen.timings.items():
            totals[stage] = totals.get(stage, 0.0) + value
        if show:
            self._hear(camera_key(camera_id))
            self._keep(seen, picture, camera_key(camera_id), metadata)

    def _hear(self, key: str | None) -> None:
        if key:
            self.heard.pop(key, None)
            self.heard[key] = self._now()
            if len(self.heard) > HEARD:
                del self.heard[next(iter(self.heard))]

    def _keep(self, seen: Seen, picture: Picture, key: str | None, metadata: ImageMetadata) -> None:
        bounds, size = WATCHED if self.watched() else UNWATCHED, len(picture.payload)
        if size > bounds.one:
            return
        self._forget(key)
        self._latest[key] = Glimpse(
            next(self._numbers), key, picture, metadata, seen.timings, (seen.width, seen.height), self._now()
        )
        self._bytes += size
        while len(self._latest) > self._max_cameras or self._bytes > bounds.all:
            self._forget(next(iter(self._latest)))

    def _forget(self, key: str | None) -> None:
        gone = self._latest.pop(key, None)
        if gone is not None:
            self._bytes -= len(gone.picture.payload)

    def latest(self) -> list[Glimpse]:
        """The latest of each camera, the camera that was heard last first."""
        return list(reversed(self._latest.values()))

    def rate(self) -> float:
        """Pictures a second, over the last five seconds."""
        moments, now = self._moments, self._clock()
        since = now - RATE_SECONDS
        counted = 0
        for moment in reversed(moments):
            if moment < since:
                return counted / RATE_SECONDS
            counted += 1
        if counted == moments.maxlen:  # more than are remembered: these came within less than five seconds
            return counted / max(now - moments[0], 1e-3)
        return counted / RATE_SECONDS


def _nobody() -> bool:
    return False
