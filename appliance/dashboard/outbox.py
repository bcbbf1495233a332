"""What waits for the Learning Loop, as the page shows and changes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timezone

from appliance.dashboard.long_work import Worker
from appliance.dashboard.pictures import LONGEST_SIDE, MIB, THUMB_QUALITY, Maker, Shelf, marks
from appliance.dashboard.words import moment
from appliance.inference.waiting import Picture
from appliance.outbox import folders, reasons
from appliance.outbox.index import Entry
from appliance.services import Services
from models.errors import InvalidInput
from ui.kit.feed import Feed
from ui.ports import OutboxCan, OutboxFolder, OutboxItem, OutboxPage, OutboxView, Sight

EVERY = 1.0
"""Seconds between two looks."""

SMALL_SIDE = 320
"""Pixels of a picture in the gallery."""

BYTES_SHOWN = 16 * MIB


class Outbox:
    """See `ui.ports.Outbox`."""

    def __init__(self, services: Services, maker: Maker, colours: Callable[[], Mapping[str, str]]) -> None:
        self.can = OutboxCan(export="/api/v1/outbox/export")
        self._services = services
        self._outbox = services.outbox
        self._maker = maker
        self._colours = colours
        self._shelf = Shelf(BYTES_SHOWN)
        self._feed: Feed[OutboxView] = Feed("outbox", self._look, EVERY)
        self._worker = Worker(self._feed.poke)

    @property
    def feed(self) -> Feed[OutboxView]:
        return self._feed

    # ------------------------------------------------------------------ what is

    async def _look(self) -> OutboxView:
        report = await self._services.outbox_report()
        tallies = [
            ("Sent", report.sent),
            ("Rejected by the Loop", report.rejected_so_far),
            ("Made room for others", report.thinned),
            ("Uploads that found no room", report.refused),
            ("Deleted here", report.deleted),
            ("Deleted on the disk by hand", report.vanished),
        ]
        dropped = sum(int(count) for count in report.picks.get("dropped", {}).values())
        tallies.append(("Wanted since the start, and not kept", dropped))
        sending = report.sending
        speed = f" {sending.bytes_per_second / 1e6:.1f} MB/s." if sending.bytes_per_second >= 1e4 else ""
        standalone = sending.state == "standalone"
        return OutboxView(
            mode=report.mode,
            priority=report.priority.items,
            normal=report.normal.items,
            rejected=report.rejected.items,
            bytes=report.bytes + report.rejected.bytes,
            loop=None if standalone else report.loop,
            sending="" if sending.state == "stopped" or standalone else sending.explanation + speed,
            last_error=sending.last_error if sending.state in ("waiting", "sending") else None,
            tallies=tuple(tallies),
            since=moment(datetime.fromisoformat(report.since)),
            sizes=(
                ("normal", report.normal.bytes),
                ("priority", report.priority.bytes),
                ("rejected", report.rejected.bytes),
            ),
            work=self._worker.state,
        )

    async def page(self, folder: OutboxFolder, start: str | None, limit: int) -> OutboxPage:
        found = await asyncio.to_thread(self._outbox.items, limit, start, (folder,))
        return OutboxPage(tuple(_item(entry) for entry in found.items), found.next)

    async def sight(self, item_id: str) -> Sight | None:
        stored = await asyncio.to_thread(self._outbox.read, item_id)
        if stored is None:
            return None
        try:
            found = marks(stored.metadata, self._colours())
        except InvalidInput:  # damaged: the picture can be shown all the same
            found = ()
        try:
            jpeg, width, height = await self._maker.small(Picture(stored.picture), LONGEST_SIDE)
        except InvalidInput:
            return None
        self._shelf.put(f"whole/{item_id}", jpeg)
        return Sight(item_id, _address("whole", item_id), width, height, found)

    async def jpeg(self, item_id: str, small: bool) -> bytes | None:
        key = f"{'small' if small else 'whole'}/{item_id}"
        kept = self._shelf.get(key)
        if kept is not None:
            return kept
        stored = await asyncio.to_thread(self._outbox.read, item_id)
        if stored is None:
            return None
        try:
            side, quality = (SMALL_SIDE, THUMB_QUALITY) if small else (LONGEST_SIDE, 90)
            jpeg, _, _ = await self._maker.small(Picture(stored.picture), side, quality)
        except InvalidInput:
            return None
        self._shelf.put(key, jpeg)
        return jpeg

    # ------------------------------------------------------------------ what can be done

    async def set_mode(self, mode: str) -> None:
        await self._services.set_outbox_mode(mode)

    async def delete(self, ids: tuple[str, ...]) -> int:
        return await asyncio.to_thread(self._outbox.remove_all, ids)

    async def delete_all(self, folder: OutboxFolder) -> None:
        self._worker.begin("delete", self._outbox.clearing((folder,)), self._count(folder))

    async def retry(self, ids: tuple[str, ...]) -> int:
        count = await asyncio.to_thread(self._outbox.retry, ids)
        if self._services.uploader is not None:
            self._services.uploader.retry_now()
        return count

    async def retry_all(self) -> None:
        self._worker.begin("retry", self._outbox.retrying(), self._count("rejected"))
        if self._services.uploader is not None:
            self._services.uploader.retry_now()

    async def prioritise(self, ids: tuple[str, ...]) -> int:
        return await asyncio.to_thread(lambda: sum(self._outbox.prioritise(item_id) for item_id in ids))

    def _count(self, folder: OutboxFolder) -> int:
        here = self._outbox.stats()
        return {"priority": here.priority, "normal": here.normal, "rejected": here.rejected}[folder].items


def _item(entry: Entry) -> OutboxItem:
    saved = folders.moment_of(entry.id)
    return OutboxItem(
        id=entry.id,
        folder=entry.folder,
        when=moment(datetime.fromtimestamp(saved, timezone.utc)) if saved is not None else entry.id,
        bytes=entry.bytes,
        source=_address("small", entry.id),
        picture=f"/api/v1/outbox/items/{entry.id}/picture",
        reasons=tuple(reasons.in_words(entry.tags)),
        tags=entry.tags or (),
        attempts=entry.attempts,
        answer=entry.reason,
    )


def _address(size: str, item_id: str) -> str:
    return f"/pictures/outbox/{size}/{item_id}"
