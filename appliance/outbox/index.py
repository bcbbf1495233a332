"""The index of the outbox: order, size, attempts, reasons, and what became of all the pictures so far. SQLite.

It knows nothing that cannot be found out again from the files but attempts and tallies; whoever opens it compares it with
the names on the disk (`Comparison`) and corrects it. It is synced when SQLite thinks fit, not at each picture.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from threading import RLock
from typing import Any, Literal, NamedTuple, get_args

from sqlite_utils import Database

from appliance.outbox.folders import FOLDERS, Folder
from appliance.outbox.migrations import MIGRATIONS, STEPS
from appliance.outbox.room import Census, Count

log = logging.getLogger(__name__)

INDEX_FILE = "index.sqlite"
"""In the folder of the outbox, with SQLite's own files beside it."""

Tally = Literal["sent", "sent_bytes", "thinned", "refused", "rejected", "vanished", "deleted"]
"""What becomes of pictures: sent; thinned (automatic picks, for want of room); refused (uploads, for want of room); rejected
by the Loop; vanished (a person deleted files); deleted (through this program)."""

TALLIES: tuple[Tally, ...] = get_args(Tally)

SUSPICIOUS_ATTEMPTS = 5
"""A picture whose batch made the Loop fail so often may be the cause: from then on it is sent alone. Known to the schema."""

_COLUMNS = "folder, id, bytes, asked_for, tags, attempts, reason"
_BUSY_SECONDS = 5.0
_ASKED_AT_ONCE = 500
"""SQLite takes no more than about a thousand values in one statement, on old systems."""

_SELECT = f"SELECT {_COLUMNS} FROM pictures "  # noqa: S608 (constants)
_INSERT = f"INSERT OR REPLACE INTO pictures ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 (constants)


class Entry(NamedTuple):
    """What the index knows of one picture: a row of it. `reason` is the Loop's words on the last try.

    `tags_text` is JSON, read only where somebody wants to see it; None where the metadata is damaged.
    """

    folder: Folder
    id: str
    bytes: int
    asked_for: bool
    tags_text: str | None = "[]"
    attempts: int = 0
    reason: str | None = None

    @property
    def tags(self) -> tuple[str, ...] | None:
        """None where the metadata is damaged."""
        try:
            return None if self.tags_text is None else tuple(map(str, json.loads(self.tags_text)))
        except (ValueError, TypeError):  # the index is damaged, which makes a promise of the picture, too
            return None

    @property
    def size(self) -> Count:
        """As one picture of its size."""
        return Count(1, self.bytes)


class Index:
    """One connection, which any thread may use; each method is one transaction. All raise sqlite3.Error."""

    def __init__(self, path: Path | None, busy_seconds: float = _BUSY_SECONDS) -> None:
        """`path` None: in memory. Another process is waited for `busy_seconds`."""
        self._lock = RLock()
        self._connection = sqlite3.connect(
            ":memory:" if path is None else path,
            timeout=busy_seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        # Whoever forgets to close it leaves no file open; and so does an opening that fails.
        self._close = weakref.finalize(self, self._connection.close)
        self._prepare()

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        execute("PRAGMA cache_size = -4096")
        [(verdict,)] = execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"it is damaged: {verdict}")
        db = Database(self._connection, execute_plugins=False)
        newer = {step.name for step in MIGRATIONS.applied(db)} - STEPS
        if newer:
            raise sqlite3.DatabaseError(f"a newer program wrote it: {', '.join(sorted(newer))}")
        MIGRATIONS.apply(db)
        execute(f"{_SELECT} LIMIT 1")
        if execute("SELECT count(*) FROM origin").fetchone() == (0,):
            execute("INSERT INTO origin VALUES (?)", (datetime.now(timezone.utc).isoformat(timespec="seconds"),))

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is changed within is changed together, or not at all."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    # -- changing --------------------------------------------------------------------------------------------------

    def add(self, entries: Iterable[Entry]) -> None:
        """Enter pictures, or correct what is known of them."""
        with self.transaction():
            self._connection.executemany(
                _INSERT,
                entries,
            )

    def drop(self, folder: Folder, item_ids: Iterable[str], tally: Tally | None = None) -> list[Entry]:
        """Strike pictures off; those that were there. They are counted under `tally`."""
        with self.transaction():
            dropped = self.these(item_ids, (folder,))
            self._connection.executemany(
                "DELETE FROM pictures WHERE folder = ? AND id = ?", [(folder, entry.id) for entry in dropped]
            )
            if tally is not None:
                self.tally(tally, len(dropped))
                if tally == "sent":
                    self.tally("sent_bytes", sum(entry.bytes for entry in dropped))
        return dropped

    def move(self, entry: Entry, folder: Folder, reason: str | None) -> None:
        """Enter a picture in another folder, with no attempts so far."""
        with self.transaction():
            self.drop(entry.folder, [entry.id])
            self.add([entry._replace(folder=folder, attempts=0, reason=reason)])

    def attempted(self, item_ids: Iterable[str], reason: str, *, guilty: bool) -> None:
        """An attempt to send waiting pictures failed; `guilty`: they may be the reason."""
        with self.transaction():
            for folder in ("priority", "normal"):
                self._connection.executemany(
                    "UPDATE pictures SET attempts = attempts + ?, reason = ? WHERE folder = ? AND id = ?",
                    [(guilty, reason, folder, item_id) for item_id in item_ids],
                )

    def tally(self, name: Tally, count: int = 1) -> None:
        """Count what became of pictures."""
        if count:
            with self.transaction():
                self._connection.execute(
                    "INSERT INTO tallies VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET count = count + excluded.count",
                    (name, count),
                )

    # -- reading ---------------------------------------------------------------------------------------------------

    def find(self, item_id: str, among: Sequence[Folder] = FOLDERS) -> Entry | None:
        """A picture, in the first of these folders that has it: after a power cut it may be in two."""
        found = {entry.folder: entry for entry in self.these([item_id], among)}
        return next((found[folder] for folder in among if folder in found), None)

    def these(self, item_ids: Iterable[str], among: Sequence[Folder] = FOLDERS) -> list[Entry]:
        """All that is known of these pictures in these folders."""
        listed, found = list(item_ids), list[Entry]()
        where = "WHERE folder IN ({}) AND id IN ({})"
        for start in range(0, len(listed), _ASKED_AT_ONCE):
            some = listed[start : start + _ASKED_AT_ONCE]
            found += self._entries(where.format(_marks(among), _marks(some)), [*among, *some])
        return found

    def page(
        self,
        folder: Folder,
        limit: int,
        *,
        newest_first: bool = False,
        after: str | None = None,
        all_of_it: bool = True,
    ) -> list[Entry]:
        """Pictures in the order of time, behind `after`; suspicious ones only where all are wanted."""
        beyond, order = ("<", "DESC") if newest_first else (">", "ASC")
        where = "" if after is None else f" AND id {beyond} :after"
        where += "" if all_of_it else f" AND attempts < {SUSPICIOUS_ATTEMPTS}"
        return self._entries(
            f"WHERE folder = :folder{where} ORDER BY id {order} LIMIT :limit",
            {"folder": folder, "after": after, "limit": limit},
        )

    def ids(self, folder: Folder) -> list[str]:
        """All ids in a folder, sorted."""
        with self._lock:
            rows = self._connection.execute("SELECT id FROM pictures WHERE folder = ? ORDER BY id", (folder,))
            return [item_id for (item_id,) in rows]

    def suspects(self, limit: int) -> list[Entry]:
        """Waiting pictures that may make the Loop fail, those tried least often first."""
        return self._entries(
            f"WHERE attempts >= {SUSPICIOUS_ATTEMPTS} ORDER BY attempts, id LIMIT :limit", {"limit": limit}
        )

    def automatic(self) -> list[tuple[Folder, str, int]]:
        """All automatic picks: folder, id, bytes; sorted by id."""
        with self._lock:
            return self._connection.execute(
                "SELECT folder, id, bytes FROM pictures WHERE NOT asked_for ORDER BY id"
            ).fetchall()

    def oldest(self) -> str | None:
        """The id of the picture that has waited longest."""
        found = [entry.id for queue in ("priority", "normal") for entry in self.page(queue, 1)]
        return min(found, default=None)

    def census(self) -> Census:
        """What lies here, counted."""
        census = Census()
        with self._lock:
            rows = self._connection.execute(
                "SELECT folder, asked_for, count(*), sum(bytes) FROM pictures GROUP BY folder, asked_for"
            ).fetchall()
        for folder, asked_for, items, size in rows:
            census.folders[folder] += Count(items, size)
            if not asked_for:
                census.automatic += Count(items, size)
        return census

    def compare(self, folder: Folder, names: Sequence[str]) -> tuple[list[str], list[str]]:
        """Of these names, which must be sorted, those that the index does not know; and those that only it knows."""
        unknown: list[str] = []
        gone: list[str] = []
        position = 0
        with self._lock:
            for (known,) in self._connection.execute("SELECT id FROM pictures WHERE folder = ? ORDER BY id", (folder,)):
                while position < len(names) and names[position] < known:
                    unknown.append(names[position])
                    position += 1
                if position < len(names) and names[position] == known:
                    position += 1
                else:
                    gone.append(known)
        return unknown + list(names[position:]), gone

    def tallies(self) -> dict[Tally, int]:
        """What became of all pictures since `began`."""
        with self._lock:
            found = dict(self._connection.execute("SELECT name, count FROM tallies").fetchall())
        return {name: found.get(name, 0) for name in TALLIES}

    def began(self) -> str:
        """Since when the tallies count, ISO 8601."""
        with self._lock:
            [(began,)] = self._connection.execute("SELECT began FROM origin LIMIT 1").fetchall()
        return str(began)

    def _entries(self, where: str, values: dict[str, Any] | list[Any]) -> list[Entry]:
        with self._lock:
            return [Entry._make(row) for row in self._connection.execute(_SELECT + where, values)]


def open_index(path: Path, busy_seconds: float = _BUSY_SECONDS) -> Index:
    """The index in this file; a new one where there is none, or one that cannot be read; one in memory at the worst.

    Raises nothing but sqlite3.Error where not even memory can be had.
    """
    for attempt in range(2):
        try:
            return Index(path, busy_seconds)
        except sqlite3.Error as error:
            if attempt or "locked" in str(error) or not _remove(path):
                log.error("The index %s cannot be kept (%s): it is in memory until the next start.", path, error)
                break
            log.warning("The index %s cannot be read (%s): it is built anew from the files.", path, error)
    return Index(None)


def _remove(path: Path) -> bool:
    try:
        for end in ("", "-wal", "-shm", "-journal"):
            path.with_name(path.name + end).unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _marks(values: Sequence[object]) -> str:
    """A place for each value in a statement."""
    return ", ".join("?" * len(values))
