"""Pictures that come: each gets room, or is refused in words, and is entered in the books when it is safe on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone

from appliance.outbox import folders, reasons, saving
from appliance.outbox.departures import Departures
from appliance.outbox.files import NewPicture, PictureFiles, refusing
from appliance.outbox.index import Entry
from appliance.outbox.ledger import Ledger
from appliance.outbox.room import Count, Shortage
from appliance.outbox.saving import Saving
from models.errors import DetectorApplianceError, NoRoom

SAVED_AT_ONCE = 32
"""Pictures that are written together; two files are open for each."""

_MICROSECOND = timedelta(microseconds=1)
_BURST = timedelta(seconds=1)
_RECOUNT_PAUSE = timedelta(seconds=10)
_LONGEST_RECOUNT_PAUSE = timedelta(minutes=10)
_RECOUNT_SHARE = 100
"""A full outbox is counted again before it refuses, but for no more than one part of the time in so many."""

_THINNINGS = 5
"""Tries to make room while others take it."""


class Arrivals:
    """See the module's docstring. `clock` tells the time of day; `tell` is called when there is something to send."""

    def __init__(
        self,
        pictures: PictureFiles,
        ledger: Ledger,
        departures: Departures,
        clock: Callable[[], datetime],
        tell: Callable[[], None],
    ) -> None:
        self._pictures = pictures
        self._ledger = ledger
        self._departures = departures
        self._clock = clock
        self._tell = tell
        self._last_id = self._now() - _BURST
        self._counted = self._next_recount = self._now()

    def save_all(self, pictures: Sequence[NewPicture]) -> list[str | DetectorApplianceError]:
        """See `Outbox.save_all`."""
        savings = [Saving(new) for new in pictures]
        for start in range(0, len(savings), SAVED_AT_ONCE):
            some = savings[start : start + SAVED_AT_ONCE]
            saving.save_all(some, self._pictures, self)
            self._offer(some)
        return [each.error or each.id for each in savings]

    def save_all_or_none(self, pictures: Sequence[NewPicture]) -> list[str]:
        """See `Outbox.save_all_or_none`."""
        savings = [Saving(new, new.document()) for new in pictures]
        with refusing("keep the pictures in the outbox"):
            self._find_room(sum((each.count for each in savings), Count()), is_upload=True)
        for each in savings:
            each.reserved = each.count
        try:
            for start in range(0, len(savings), SAVED_AT_ONCE):
                some = savings[start : start + SAVED_AT_ONCE]
                saving.save_all(some, self._pictures, self)
                for error in (each.error for each in some if each.error is not None):
                    raise error
        except BaseException:
            for each in savings:
                self.give_up(each)
            raise
        self._offer(savings)
        return [each.id for each in savings]

    def reserve(self, new: Saving) -> None:
        """See `Bookkeeping`. What comes together has its room already."""
        if not new.reserved:
            self._find_room(new.count, is_upload=new.new.asked_for)
            new.reserved = new.count
        with self._ledger.lock:
            new.id = self._new_id()

    def publish(self, new: Saving) -> None:
        """See `Bookkeeping`. It is not sent before it is safe."""
        assert new.draft is not None
        tags = new.new.metadata.tags
        with self._ledger.lock:
            self._pictures.publish(new.draft)
            new.published = True
            self._ledger.keep_busy([new.id])
            self._ledger.arrive(Entry(new.new.queue, new.id, new.count.bytes, new.new.asked_for, reasons.shown(tags)))
            self._ledger.room.release(new.reserved)
            new.reserved = Count()

    def give_up(self, new: Saving) -> None:
        """See `Bookkeeping`."""
        hidden = None
        with self._ledger.lock:
            self._ledger.room.release(new.reserved)
            new.reserved = Count()
            if new.published:
                new.published = False
                self._ledger.leave(new.new.queue, [new.id])
                self._ledger.release([new.id])
                with suppress(OSError):
                    hidden = self._pictures.hide(new.new.queue, new.id)
        if hidden is not None:
            self._pictures.discard(hidden)

    def _offer(self, savings: Iterable[Saving]) -> None:
        """They are safe, and may be sent from now on."""
        arrived = [each.id for each in savings if each.published]
        if arrived:
            self._ledger.release(arrived)
            self._tell()

    def _find_room(self, count: Count, *, is_upload: bool) -> None:
        """Reserve room, and thin automatic picks where there is none. Raises `NoRoom`."""
        shortage: Shortage | None = None
        for _ in range(_THINNINGS):
            with self._ledger.lock:
                shortage = self._ledger.room.shortage(count)
                if shortage is not None and not self._counted <= self._now() < self._next_recount:
                    self.recount()
                    shortage = self._ledger.room.shortage(count)
                if shortage is None:
                    self._ledger.room.reserve(count)
                    return
                chosen = self._ledger.to_thin(shortage.lacking)
                thinned = self._departures.hide(chosen, "thinned")
            if not chosen:
                break
            self._pictures.discard_all(thinned)
        if is_upload:
            self._ledger.tally("refused")
        assert shortage is not None
        raise NoRoom(shortage.sentence)

    def _new_id(self) -> str:
        moment = self._now()
        if moment <= self._last_id < moment + _BURST:
            moment = self._last_id + _MICROSECOND
        while self._pictures.exists(folders.picture_id(moment)):
            moment += _MICROSECOND  # the clock was set back to a time that has its picture already
        self._last_id = moment
        return folders.picture_id(moment)

    def recount(self) -> None:
        """Compare the books with the files, and correct them."""
        with self._ledger.lock:
            began = self._now()
            self._ledger.tally("vanished", self._ledger.correct())
            self._counted = self._now()
            pause = max(_RECOUNT_PAUSE, min(_LONGEST_RECOUNT_PAUSE, _RECOUNT_SHARE * (self._counted - began)))
            self._next_recount = self._counted + pause

    def _now(self) -> datetime:
        return self._clock().astimezone(timezone.utc)
