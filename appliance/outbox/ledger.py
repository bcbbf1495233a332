"""What lies in the outbox, as index and running counts, kept in step with the files and corrected from them."""

from __future__ import annotations

import logging
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import TypeVar

from appliance.outbox import batching, folders, reasons
from appliance.outbox.files import PictureFiles
from appliance.outbox.folders import FOLDERS, REJECTED, Folder
from appliance.outbox.index import TALLIES, Entry, Index, Tally, open_index
from appliance.outbox.room import Count, OutboxBounds, Room
from appliance.outbox.thinning import Pick, to_thin

log = logging.getLogger(__name__)

T = TypeVar("T")


class Ledger:
    """Holds `lock` in every method but those that say otherwise; who changes files and books together holds it, too.

    The index only saves time: where SQLite fails, one in memory takes its place, made from the files. Raises OSError
    where the files cannot be listed.
    """

    def __init__(self, path: Path, files: PictureFiles, bounds: OutboxBounds) -> None:
        self.lock = RLock()
        self.room = Room(bounds, files.free_bytes)
        self.tallies: dict[Tally, int] = dict.fromkeys(TALLIES, 0)
        self._files = files
        self._busy: set[str] = set()
        self._index = open_index(path)
        self.correct()
        self.began = self._ask(lambda index: index.began())
        self.tallies = self._ask(lambda index: index.tallies())

    def close(self) -> None:
        """Close the index."""
        with self.lock:
            self._index.close()

    # -- in step with the files ------------------------------------------------------------------------------------

    def correct(self) -> int:
        """Compare with the names on the disk, and correct what is wrong; how many pictures had gone without a word.

        A picture that is known is not looked into: that it lacks a file is found when it is read.
        """
        with self.lock:
            gone = self._ask(self._compare)
            self.room.set(self._ask(lambda index: index.census()))
            return gone

    def _compare(self, index: Index) -> int:
        gone = 0
        with index.transaction():
            for folder in FOLDERS:
                unknown, missing = index.compare(folder, self._files.ids(folder))
                index.add(self._entries(folder, unknown))
                gone += len(index.drop(folder, missing))
        return gone

    def _entries(self, folder: Folder, item_ids: Iterable[str]) -> Iterator[Entry]:
        return (entry for item_id in item_ids if (entry := entry_of(self._files, folder, item_id)) is not None)

    def _ask(self, work: Callable[[Index], T]) -> T:
        try:
            return work(self._index)
        except sqlite3.Error as error:
            log.error("The index of the outbox failed (%s): it is in memory until the next start.", error)
            with suppress(sqlite3.Error):
                self._index.close()
            self._index = Index(None)
            self._compare(self._index)
            return work(self._index)

    # -- what comes, changes and goes ------------------------------------------------------------------------------

    def arrive(self, entry: Entry) -> None:
        """A picture is there."""
        with self.lock:
            self._ask(lambda index: index.add([entry]))
            self.room.arrive(entry.folder, entry.size, asked_for=entry.asked_for)

    def leave(self, folder: Folder, item_ids: Iterable[str], tally: Tally | None = None) -> list[Entry]:
        """Pictures are gone; those that were known."""
        listed = list(item_ids)
        with self.lock:
            left = self._ask(lambda index: index.drop(folder, listed, tally))
            for entry in left:
                self.room.leave(folder, entry.size, asked_for=entry.asked_for)
            if tally is not None:
                self.tallies[tally] += len(left)
                if tally == "sent":
                    self.tallies["sent_bytes"] += sum(entry.bytes for entry in left)
            return left

    def move(self, entry: Entry, folder: Folder, reason: str | None = None) -> None:
        """A picture is in another folder now."""
        with self.lock:
            self.leave(folder, [entry.id])  # left there by a power cut
            self._ask(lambda index: index.move(entry, folder, reason))
            self.room.leave(entry.folder, entry.size, asked_for=entry.asked_for)
            self.room.arrive(folder, entry.size, asked_for=entry.asked_for)

    def attempted(self, item_ids: Iterable[str], reason: str, *, guilty: bool) -> None:
        """See `Index.attempted`."""
        listed = list(item_ids)
        with self.lock:
            self._ask(lambda index: index.attempted(listed, reason, guilty=guilty))

    def tally(self, name: Tally, count: int = 1) -> None:
        """Count what became of pictures."""
        with self.lock:
            self.tallies[name] += count
            self._ask(lambda index: index.tally(name, count))

    # -- what is sent and what is thinned --------------------------------------------------------------------------

    def take(self, max_items: int) -> list[Entry]:
        """The next batch; its pictures are busy from now on. Suspicious ones are left out."""
        with self.lock:
            limit = max_items + len(self._busy)

            def waiting(folder: Folder, *, newest_first: bool = False) -> Iterator[Entry]:
                yield from self._idle(
                    self._ask(
                        lambda index: index.page(folder, limit, newest_first=newest_first, all_of_it=False),
                    )
                )

            batch = batching.compose(
                waiting("priority"), waiting("normal", newest_first=True), waiting("normal"), max_items=max_items
            )
            self.keep_busy(entry.id for entry in batch)
            return batch

    def take_suspect(self) -> list[Entry]:
        """One suspicious picture, if there is one; it is busy from now on."""
        with self.lock:
            found = list(self._idle(self._ask(lambda index: index.suspects(1 + len(self._busy)))))[:1]
            self.keep_busy(entry.id for entry in found)
            return found

    def keep_busy(self, item_ids: Iterable[str]) -> None:
        """These are neither taken nor thinned."""
        with self.lock:
            self._busy.update(item_ids)

    def release(self, item_ids: Iterable[str]) -> None:
        """They may be taken and thinned again."""
        with self.lock:
            self._busy.difference_update(item_ids)

    def to_thin(self, lacking: Count) -> dict[Folder, list[str]]:
        """Automatic picks that should go to make room; none where all of them are not enough.

        The files have the last word on what is automatic: an index may be wrong, and uploads are a promise.
        """
        with self.lock:
            while True:
                chosen = self._to_thin(lacking)
                wrong = [(folder, item_id) for folder, item_id in chosen if self._is_promise(folder, item_id)]
                if not wrong:
                    break
                for folder, item_id in wrong:
                    self._enter_anew(folder, item_id)
            by_folder: dict[Folder, list[str]] = defaultdict(list)
            for folder, item_id in chosen:
                by_folder[folder].append(item_id)
            return by_folder

    def _to_thin(self, lacking: Count) -> list[tuple[Folder, str]]:
        found = [
            (folder, item_id, Pick(moment, size))
            for folder, item_id, size in self._ask(lambda index: index.automatic())
            if item_id not in self._busy and (moment := folders.moment_of(item_id)) is not None
        ]
        return [found[number][:2] for number in to_thin([pick for _, _, pick in found], lacking)]

    def _is_promise(self, folder: Folder, item_id: str) -> bool:
        facts = self._files.facts(folder, item_id)
        return facts is not None and reasons.was_asked_for(facts.tags)

    def _enter_anew(self, folder: Folder, item_id: str) -> None:
        self.leave(folder, [item_id])
        for entry in self._entries(folder, [item_id]):
            self.arrive(entry)

    # -- reading ---------------------------------------------------------------------------------------------------

    def find(self, item_id: str, among: Sequence[Folder] = FOLDERS) -> Entry | None:
        """See `Index.find`."""
        with self.lock:
            return self._ask(lambda index: index.find(item_id, among))

    def page(self, folder: Folder, limit: int, *, newest_first: bool = False, after: str | None = None) -> list[Entry]:
        """See `Index.page`."""
        with self.lock:
            return self._ask(lambda index: index.page(folder, limit, newest_first=newest_first, after=after))

    def ids(self, folder: Folder) -> list[str]:
        """See `Index.ids`."""
        with self.lock:
            return self._ask(lambda index: index.ids(folder))

    def unknown(self, folder: Folder) -> list[str]:
        """What lies there and was never entered: put there by hand, or incomplete."""
        with self.lock:
            return self._ask(lambda index: index.compare(folder, self._files.ids(folder))[0])

    def these(self, item_ids: Iterable[str], among: Sequence[Folder]) -> list[Entry]:
        """See `Index.these`."""
        listed = list(item_ids)
        with self.lock:
            return self._ask(lambda index: index.these(listed, among))

    def oldest(self) -> str | None:
        """The id of the picture that has waited longest."""
        with self.lock:
            return self._ask(lambda index: index.oldest())

    def has_suspects(self) -> bool:
        """Whether any waits."""
        with self.lock:
            return bool(list(self._idle(self._ask(lambda index: index.suspects(1 + len(self._busy))))))

    def _idle(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        return (entry for entry in entries if entry.id not in self._busy)


def entry_of(files: PictureFiles, folder: Folder, item_id: str) -> Entry | None:
    """What the disk says of a picture, as the index has it; None where its files are not both there."""
    facts = files.facts(folder, item_id)
    if facts is None:
        return None
    reason = files.note(folder, item_id).get("reason") if folder == REJECTED else None
    asked_for, tags = reasons.was_asked_for(facts.tags), reasons.shown(facts.tags)
    return Entry(folder, item_id, facts.bytes, asked_for, tags, 0, reason if isinstance(reason, str) else None)
