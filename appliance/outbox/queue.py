"""Pictures that wait for the Loop. Files are the truth, and a person may look at them and delete any; the index says in
which order they go, how often they were tried, and why one was not taken.

What is acknowledged here survives `kill -9` and power loss. See `folders` for the layout on the disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from pydantic import ValidationError

from appliance.outbox import folders
from appliance.outbox.arrivals import Arrivals
from appliance.outbox.departures import Departures
from appliance.outbox.files import NewPicture, PictureFiles, refusing
from appliance.outbox.folders import FOLDERS, QUEUES, Folder, Queue
from appliance.outbox.index import INDEX_FILE, Entry, Tally
from appliance.outbox.ledger import Ledger
from appliance.outbox.mode import load_mode, parse_mode, save_mode
from appliance.outbox.room import OutboxBounds, OutboxStats
from models.errors import DetectorApplianceError, InvalidInput
from models.files import FileSystem
from models.wire.image_metadata import ImageMetadata
from models.wire.node_status import OutboxMode

log = logging.getLogger(__name__)

MODE_FILE = "mode"


@dataclass(frozen=True)
class OutboxPage:
    """Some pictures, and what to ask for to get those after them; None where there are no more."""

    items: list[Entry]
    next: str | None


@dataclass(frozen=True)
class StoredPicture:
    """One picture as it was saved, and what the index knows of it."""

    entry: Entry
    picture: bytes
    document: bytes

    @property
    def id(self) -> str:
        """Its name, the same on every try."""
        return self.entry.id

    @property
    def metadata(self) -> ImageMetadata:
        """Raises `InvalidInput` where it is damaged."""
        try:
            return ImageMetadata.model_validate_json(self.document)
        except ValidationError as error:
            raise InvalidInput(
                f"The file image_{self.id}.json is damaged: it must hold the metadata of a picture."
            ) from error


class Outbox:
    """The folder `root`, made if there is none, and the pictures in it.

    `clock` tells the time of day. `index_path` is where the index is kept, beside the pictures where none is given.
    All methods block but `stats`, `tallies` and `mode`; all may be called from any thread. They raise `StorageRefused`
    where the disk fails.
    """

    def __init__(
        self,
        root: Path,
        bounds: OutboxBounds,
        clock: Callable[[], datetime],
        files: FileSystem,
        index_path: Path | None = None,
    ) -> None:
        self._root = root
        self._clock = clock
        self._files = files
        self._pictures = PictureFiles(root, files)
        self._listener: Callable[[], None] | None = None
        with refusing(f"open the outbox {root}"):
            self._pictures.prepare()
            self._mode = load_mode(root / MODE_FILE)
            self._ledger = Ledger(index_path or root / INDEX_FILE, self._pictures, bounds)
        self._departures = Departures(self._pictures, self._ledger)
        self._arrivals = Arrivals(self._pictures, self._ledger, self._departures, clock, self._tell_listener)

    def close(self) -> None:
        """Close the index. What is called afterwards still works, from memory."""
        self._ledger.close()

    def hold_to(self, bounds: OutboxBounds) -> None:
        """Other bounds from now on; what waits already stays. Does not block."""
        self._ledger.room.hold_to(bounds)

    def tell(self, listener: Callable[[], None] | None) -> None:
        """Call this whenever there is something new to send. From any thread; it must not block, or raise."""
        self._listener = listener

    def _tell_listener(self) -> None:
        listener = self._listener
        if listener is not None:
            listener()

    # -- saving ----------------------------------------------------------------------------------------------------

    def save(self, picture: bytes, metadata: ImageMetadata, *, priority: bool = False) -> str:
        """Keep a picture; return its id as soon as it would survive a power cut.

        Automatic picks make room for it, spread evenly over time. Raises `NoRoom` where a bound is reached all the same,
        `StorageRefused` where the disk fails, `InvalidInput` where the metadata cannot be written as JSON; the picture is
        not kept then.
        """
        [outcome] = self.save_all([NewPicture(picture, metadata, priority)])
        if isinstance(outcome, DetectorApplianceError):
            raise outcome
        return outcome

    def save_all(self, pictures: Sequence[NewPicture]) -> list[str | DetectorApplianceError]:
        """Keep several pictures at once: for each its id, or why it was not kept. See `saving` for what that saves."""
        return self._arrivals.save_all(pictures)

    def save_all_or_none(self, pictures: Sequence[NewPicture]) -> list[str]:
        """Keep all of several pictures, or none of them; their ids. Raises as `save`."""
        return self._arrivals.save_all_or_none(pictures)

    # -- sending ---------------------------------------------------------------------------------------------------

    def take(self, max_items: int, *, suspect: bool = False) -> list[StoredPicture]:
        """The next pictures to send, read from the disk, which are busy until `sent`, `give_back` or `reject`.

        `suspect`: one of those that may make the Loop fail; they are taken by no other way.
        """
        while True:
            entries = self._ledger.take_suspect() if suspect else self._ledger.take(max_items)
            with refusing("read the next pictures of the outbox"):
                try:
                    found = [picture for entry in entries if (picture := self._stored(entry)) is not None]
                except BaseException:
                    self.release(entry.id for entry in entries)
                    raise
            if found or not entries:
                return found

    def has_suspects(self) -> bool:
        """Whether a picture waits that may make the Loop fail."""
        return self._ledger.has_suspects()

    def sent(self, item_ids: Sequence[str]) -> None:
        """The Loop has them: delete them. They stay busy if that fails."""
        self._departures.sent(item_ids)
        self.release(item_ids)

    def release(self, item_ids: Iterable[str]) -> None:
        """They are not being sent any more. Does not block for long: no disk is asked."""
        self._ledger.release(item_ids)

    def give_back(self, item_ids: Sequence[str], reason: str, *, guilty: bool) -> None:
        """The Loop has not taken them; `guilty`: they may be the cause."""
        self._ledger.attempted(item_ids, reason, guilty=guilty)
        self.release(item_ids)

    def reject(self, item_id: str, reason: str, status: int | None) -> None:
        """The Loop does not want this one: keep it aside, with its words. No error if it is gone meanwhile."""
        with refusing(f"set the picture {item_id} aside"), self._ledger.lock:
            entry = self._ledger.find(item_id, QUEUES)
            if entry is not None:
                note = {
                    "reason": reason,
                    "status": status,
                    "queue": entry.folder,
                    "rejected_at": self._now().isoformat(timespec="seconds"),
                }
                if self._pictures.reject(entry.folder, item_id, note):
                    self._ledger.move(entry, "rejected", reason)
                    self._ledger.tally("rejected")
                else:
                    self._ledger.leave(entry.folder, [item_id], "vanished")
        self.release([item_id])

    def retry(self, item_ids: Sequence[str] | None = None) -> int:
        """Have rejected pictures sent once more, all where none are named; how many."""
        return max(self.retrying(item_ids), default=0)

    def retrying(self, item_ids: Sequence[str] | None = None) -> Iterator[int]:
        """The same step by step, each of which blocks for a moment: how many so far."""
        count = 0
        with refusing("put rejected pictures back"):
            for item_id in self._pictures.ids("rejected") if item_ids is None else filter(folders.is_id, item_ids):
                with self._ledger.lock:
                    moved = self._move(item_id, ("rejected",), self._pictures.queue_before(item_id))
                count += moved
                if moved:
                    self._tell_listener()
                yield count

    def prioritise(self, item_id: str) -> bool:
        """Have a waiting picture sent before the others; False if none of this name waits."""
        if not folders.is_id(item_id):
            return False
        with refusing(f"have the picture {item_id} sent first"), self._ledger.lock:
            if self._ledger.find(item_id, ("priority",)) is not None:
                return True
            return self._move(item_id, ("normal",), "priority")

    def _move(self, item_id: str, sources: Sequence[Folder], target: Queue) -> bool:
        entry = self._ledger.find(item_id, sources)
        if entry is None:
            return False
        if not self._pictures.move(entry.folder, target, item_id):
            self._ledger.leave(entry.folder, [item_id], "vanished")
            return False
        self._ledger.move(entry, target)
        return True

    # -- looking ---------------------------------------------------------------------------------------------------

    def stats(self) -> OutboxStats:
        """What lies here, from memory: off by what people have deleted since the last count."""
        # Without the lock, which is held while the disk works: whoever asks may be the event loop.
        return self._ledger.room.stats()

    def tallies(self) -> dict[Tally, int]:
        """What became of all pictures since `began`."""
        return dict(self._ledger.tallies)

    @property
    def began(self) -> str:
        """Since when the tallies count, ISO 8601: since the index was made."""
        return self._ledger.began

    def oldest(self) -> str | None:
        """The id of the picture that has waited longest."""
        return self._ledger.oldest()

    def recount(self) -> OutboxStats:
        """Compare what is known with the files, and correct it; takes a part of a second for 100,000 pictures."""
        with refusing(f"count the pictures in {self._root}"):
            self._arrivals.recount()
        return self.stats()

    def items(self, limit: int, after: str | None = None, among: Sequence[Folder] = QUEUES) -> OutboxPage:
        """Up to `limit` (at least 1) pictures: priority oldest first, then normal and rejected ones newest first.

        `after` is the `next` of the page before; what comes or goes between two pages does no harm. Raises
        `InvalidInput` for any other text.
        """
        first, last_id = (among[0], None) if after is None else folders.parse_place(after)
        if first not in among:
            raise InvalidInput(f"{after!r:.100} is no place in this list; take the `next` of the page before.")
        limit, found = max(1, limit), list[Entry]()
        for folder in among[among.index(first) :]:
            while len(found) <= limit:
                wanted = limit + 1 - len(found)
                page = self._ledger.page(folder, wanted, newest_first=folder != "priority", after=last_id)
                found += [entry for entry in page if self._is_there(entry)]
                last_id = page[-1].id if page else None
                if len(page) < wanted:
                    break
            last_id = None
        if len(found) <= limit:
            return OutboxPage(found, None)
        return OutboxPage(found[:limit], folders.place(found[limit - 1].folder, found[limit - 1].id))

    def ids(self, among: Sequence[Folder] = QUEUES) -> list[str]:
        """Those of all pictures there are now, in the order of `items`; some 80 bytes each. Each once."""
        found: dict[str, None] = {}
        for folder in among:
            there = self._ledger.ids(folder)
            found.update(dict.fromkeys(there if folder == "priority" else reversed(there)))
        return list(found)

    def read(self, item_id: str) -> StoredPicture | None:
        """A picture, waiting or rejected; None if it is not there, or no more."""
        if not folders.is_id(item_id):
            return None
        with refusing(f"read the picture {item_id} of the outbox"):
            entry = self._ledger.find(item_id)
            return None if entry is None else self._stored(entry)

    def _stored(self, entry: Entry) -> StoredPicture | None:
        data = self._pictures.read(entry.folder, entry.id, entry.bytes)
        if data is None:
            self._ledger.leave(entry.folder, [entry.id], "vanished")
            self.release([entry.id])
            return None
        return StoredPicture(entry, *data)

    def _is_there(self, entry: Entry) -> bool:
        if folders.size(f"{self._root}/{entry.folder}/{entry.id}", entry.id) is not None:
            return True
        self._ledger.leave(entry.folder, [entry.id], "vanished")
        return False

    # -- deleting --------------------------------------------------------------------------------------------------

    def remove(self, item_id: str) -> bool:
        """Delete a picture for good; False if it is not there, or no more."""
        return self.remove_all([item_id]) > 0

    def remove_all(self, item_ids: Iterable[str]) -> int:
        """Delete pictures for good, waiting or rejected; how many were there."""
        return self._departures.remove_all(item_ids)

    def clear(self, among: Sequence[Folder] = FOLDERS) -> int:
        """Delete all that lies here for good, incomplete folders too; how many."""
        return max(self.clearing(among), default=0)

    def clearing(self, among: Sequence[Folder] = FOLDERS) -> Iterator[int]:
        """The same step by step, each of which blocks for a moment: how many so far. What comes meanwhile may stay."""
        return self._departures.clearing(among)

    # -- the mode --------------------------------------------------------------------------------------------------

    @property
    def mode(self) -> OutboxMode:
        """Whether pictures are to be sent. Survives a restart."""
        return self._mode

    def set_mode(self, mode: str) -> None:
        """Change the mode, durably. Raises `InvalidInput` for an unknown one; where the disk fails the old one stands."""
        parsed = parse_mode(mode)
        with self._ledger.lock:
            save_mode(self._root / MODE_FILE, parsed, self._files)
            self._mode = parsed

    def _now(self) -> datetime:
        return self._clock().astimezone(timezone.utc)
