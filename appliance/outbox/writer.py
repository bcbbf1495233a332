"""The pictures that `/detect` picks by itself, on their way to the outbox without anybody waiting for the disk.

`offer` only puts a picture into a bounded queue; a thread keeps what has gathered there, several at once. Nothing is
promised for these pictures but honesty: up to a second's worth may be lost in a power cut, and every one that was wanted
and not kept is counted with its reason.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Condition, Event, Thread
from typing import Literal, Protocol, get_args

from appliance.outbox.files import NewPicture
from models.errors import DetectorApplianceError, InvalidInput, NoRoom
from models.wire.image_metadata import ImageMetadata

log = logging.getLogger(__name__)

DropReason = Literal["queue_full", "outbox_full", "disk_failed", "metadata_unusable", "shutdown", "unexpected"]

DROP_REASONS: tuple[DropReason, ...] = get_args(DropReason)
"""Why a picture was not kept: too many wait for the disk; a bound of the outbox or the disk's is reached; the disk
failed; the metadata is no JSON; the appliance ends; a fault in this program."""

GATHER_SECONDS = 0.5
"""Pictures gather for so long before they are written; the other half of the second is for writing them."""

MAX_BATCH = 32
"""Two files are open for each picture of a batch."""


class Keeper(Protocol):
    """What keeps pictures: the outbox."""

    def save_all(self, pictures: list[NewPicture]) -> list[str | DetectorApplianceError]: ...


@dataclass(frozen=True)
class PickCounts:
    """Pictures since the start: `wanted` = `kept` + `waiting` + all that were `dropped`, by reason."""

    wanted: int
    kept: int
    waiting: int
    waiting_bytes: int
    dropped: Mapping[DropReason, int]


class AutomaticPicks:
    """A queue of at most `max_items` pictures and `max_bytes` of their bytes, and the thread that empties it.

    `pause` waits until the event is set, or so many seconds. Whoever makes one calls `close` in the end.
    """

    def __init__(
        self,
        outbox: Keeper,
        *,
        max_items: int = 64,
        max_bytes: int = 64 << 20,
        pause: Callable[[Event, float], object] = Event.wait,
    ) -> None:
        self._outbox = outbox
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._pause = pause
        self._closing = Event()
        # Guards all that follows, and is never held while the disk works.
        self._changed = Condition()
        self._queue: deque[NewPicture] = deque()
        self._writing = 0
        self._waiting_bytes = 0
        self._wanted = 0
        self._kept = 0
        self._dropped: Counter[DropReason] = Counter()
        self._thread = Thread(target=self._run, name="automatic-picks", daemon=True)
        self._thread.start()

    def offer(self, picture: bytes, metadata: ImageMetadata) -> bool:
        """Have a picture kept soon; False if it was dropped at once. Nobody may change the metadata any more.

        Returns without waiting for the disk: the event loop may call it.
        """
        with self._changed:
            self._wanted += 1
            if self._closing.is_set():
                self._dropped["shutdown"] += 1
                return False
            waiting = len(self._queue) + self._writing
            if waiting >= self._max_items or self._waiting_bytes + len(picture) > self._max_bytes:
                self._dropped["queue_full"] += 1
                return False
            self._queue.append(NewPicture(picture, metadata))
            self._waiting_bytes += len(picture)
            self._changed.notify_all()
            return True

    def counts(self) -> PickCounts:
        """Does not wait for the disk."""
        with self._changed:
            return PickCounts(
                wanted=self._wanted,
                kept=self._kept,
                waiting=len(self._queue) + self._writing,
                waiting_bytes=self._waiting_bytes,
                dropped={reason: self._dropped[reason] for reason in DROP_REASONS},
            )

    def close(self, timeout: float = 5.0) -> bool:
        """Keep what still waits and end; False if that takes longer than `timeout` seconds. Blocks.

        What nobody has begun to write by then is dropped and counted.
        """
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
        self._thread.join(timeout)
        with self._changed:
            self._dropped["shutdown"] += len(self._queue)
            self._waiting_bytes -= _bytes(self._queue)
            self._queue.clear()
        return not self._thread.is_alive()

    def _run(self) -> None:
        while self._wait_for_pictures():
            self._pause(self._closing, GATHER_SECONDS)
            # What comes while these are written gathers anew: writing it one by one would cost several times as much.
            gathered = len(self._queue)
            for start in range(0, gathered, MAX_BATCH):
                self._keep(self._take(min(MAX_BATCH, gathered - start)))

    def _wait_for_pictures(self) -> bool:
        """False when there is nothing left to do, and nothing will come."""
        with self._changed:
            # Without a time-out: `close` ends it.
            self._changed.wait_for(lambda: self._queue or self._closing.is_set())
            return bool(self._queue)

    def _take(self, count: int) -> list[NewPicture]:
        with self._changed:
            taken = [self._queue.popleft() for _ in range(min(count, len(self._queue)))]
            self._writing = len(taken)
            return taken

    def _keep(self, pictures: list[NewPicture]) -> None:
        reasons: list[DropReason | None]
        try:
            outcomes = self._outbox.save_all(pictures)
        except Exception:
            # The thread goes on: the next pictures may be kept, and their loss would be silent without it.
            log.exception("%d pictures that were picked for the Loop are lost.", len(pictures))
            reasons = ["unexpected"] * len(pictures)
        else:
            reasons = [_drop_reason(outcome) for outcome in outcomes]
            errors = [each for each in outcomes if not isinstance(each, str | NoRoom)]
            if errors:  # a line for all: the disk that fails may be the one with the log
                log.warning("%d pictures picked for the Loop were not kept. The last: %s", len(errors), errors[-1])
        with self._changed:
            for reason in reasons:
                if reason is None:
                    self._kept += 1
                else:
                    self._dropped[reason] += 1
            self._writing = 0
            self._waiting_bytes -= _bytes(pictures)


def _drop_reason(outcome: str | DetectorApplianceError) -> DropReason | None:
    if isinstance(outcome, str):
        return None
    if isinstance(outcome, NoRoom):
        return "outbox_full"
    return "metadata_unusable" if isinstance(outcome, InvalidInput) else "disk_failed"


def _bytes(pictures: Iterable[NewPicture]) -> int:
    return sum(len(each.picture) for each in pictures)
