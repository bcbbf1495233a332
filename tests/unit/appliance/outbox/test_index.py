"""The index is only an index: lost, cut off, overwritten, of another program or out of step, it comes anew from the files."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from appliance.outbox import folders
from appliance.outbox.index import INDEX_FILE, SUSPICIOUS_ATTEMPTS, Entry, Index, open_index
from appliance.outbox.queue import Outbox
from appliance.outbox.room import Count, OutboxBounds
from models.files import FILE_SYSTEM
from models.wire.image_metadata import ImageMetadata
from tests.unit.appliance.outbox.fake_loop import ASKED_FOR, fill

PICKED = ImageMetadata(tags=["uncertain"])
WIDE = OutboxBounds(100_000, 10**12, 0)


def opened(root: Path, bounds: OutboxBounds = WIDE) -> Outbox:
    return Outbox(root, bounds, lambda: datetime.now(timezone.utc), FILE_SYSTEM)


def filled(root: Path) -> list[Entry]:
    """Uploads, picks, one that goes first, one that was rejected; closed again. What the index knew of them."""
    outbox = opened(root)
    fill(outbox, 4)
    fill(outbox, 3, metadata=PICKED)
    outbox.save(b"first", ASKED_FOR, priority=True)
    outbox.reject(outbox.save(b"bad", ASKED_FOR), "not wanted", 422)
    known = everything(outbox)
    outbox.close()
    return known


def everything(outbox: Outbox) -> list[Entry]:
    return outbox.items(1000, among=folders.FOLDERS).items


def delete(index: Path) -> None:
    for path in index.parent.glob(f"{INDEX_FILE}*"):
        path.unlink()


def cut_off(index: Path) -> None:
    index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])


def empty(index: Path) -> None:
    index.write_bytes(b"")


def overwrite_all(index: Path) -> None:
    index.write_bytes(random.Random(1).randbytes(40_000))


def overwrite_a_page(index: Path) -> None:
    data = bytearray(index.read_bytes())
    data[4096:8192] = random.Random(2).randbytes(4096)
    index.write_bytes(data)


def overwrite_the_rest(index: Path) -> None:
    data = bytearray(index.read_bytes())
    data[100:] = random.Random(3).randbytes(len(data) - 100)
    index.write_bytes(data)


def another_database(index: Path) -> None:
    delete(index)
    with sqlite3.connect(index) as other:
        other.execute("CREATE TABLE pictures (name TEXT)")
    other.close()


def of_a_newer_program(index: Path) -> None:
    with sqlite3.connect(index) as newer:
        newer.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('outbox', 'from the future', '')"
        )
    newer.close()


def spoiled_log(index: Path) -> None:
    index.with_name(f"{INDEX_FILE}-wal").write_bytes(random.Random(4).randbytes(10_000))


def rows_gone(index: Path) -> None:
    with sqlite3.connect(index) as database:
        database.execute("DELETE FROM pictures")
    database.close()


def rows_of_nothing(index: Path) -> None:
    with sqlite3.connect(index) as database:
        database.execute("INSERT INTO pictures VALUES ('normal', '2000-01-01_00-00-00.000000', 5, 0, '[]', 0, NULL)")
        database.execute("INSERT INTO pictures VALUES ('rejected', '2999-01-01_00-00-00.000000', 5, 0, '[]', 0, NULL)")
    database.close()


@pytest.mark.parametrize(
    "spoil",
    [
        delete, cut_off, empty, overwrite_all, overwrite_a_page, overwrite_the_rest, another_database,
        of_a_newer_program, spoiled_log, rows_gone, rows_of_nothing,
    ],
)  # fmt: skip
def test_a_spoiled_index_is_made_anew(root: Path, spoil: Callable[[Path], None]) -> None:
    known = filled(root)
    spoil(root / INDEX_FILE)
    outbox = opened(root)
    stats = outbox.stats()
    assert everything(outbox) == known
    assert (stats.priority.items, stats.normal.items, stats.rejected.items, stats.automatic.items) == (1, 7, 1, 3)
    assert stats.total + stats.rejected == Count(9, sum(entry.bytes for entry in known))
    outbox.save(b"and goes on", ASKED_FOR)
    outbox.close()
    index = Index(root / INDEX_FILE)
    assert index.census().total.items == 10, "it is a file again"
    index.close()


def test_any_page_of_it_may_be_spoiled(root: Path) -> None:
    outbox = opened(root)
    fill(outbox, 250)
    known = everything(outbox)
    outbox.close()
    sound = (root / INDEX_FILE).read_bytes()
    for page in range(len(sound) // 4096):
        spoiled = bytearray(sound)
        spoiled[page * 4096 : (page + 1) * 4096] = random.Random(page).randbytes(4096)
        (root / INDEX_FILE).write_bytes(spoiled)
        outbox = opened(root)
        assert everything(outbox) == known, page
        outbox.close()
        again = Index(root / INDEX_FILE)
        assert again.census().total.items == len(known), f"page {page}: it is a file again"
        again.close()


def test_an_index_that_is_as_it_was_keeps_its_tallies_and_attempts(root: Path) -> None:
    filled(root)
    outbox = opened(root)
    [first] = outbox.items(1).items
    outbox.give_back([first.id], "internal server error", guilty=True)
    outbox.remove(outbox.items(10).items[-1].id)
    began = outbox.began
    outbox.close()
    again = opened(root)
    assert (again.tallies()["deleted"], again.tallies()["rejected"], again.began) == (1, 1, began)
    assert (again.items(1).items[0].attempts, again.items(1).items[0].reason) == (1, "internal server error")
    again.close()


def test_a_folder_where_no_index_can_be_made_has_one_in_memory(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(root)
    delete(root / INDEX_FILE)
    (root / INDEX_FILE).mkdir()
    outbox = opened(root)
    assert len(everything(outbox)) == 9
    outbox.save(b"still works", ASKED_FOR)
    assert outbox.stats().total.items == 9
    assert "in memory until the next start" in caplog.text
    outbox.close()


def test_an_index_that_another_process_holds_is_not_deleted(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(root)
    other = sqlite3.connect(root / INDEX_FILE, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    try:
        index = open_index(root / INDEX_FILE, busy_seconds=0.01)
        assert index.census().total.items == 0, "it is in memory"
        index.close()
    finally:
        other.execute("ROLLBACK")
        other.close()
    outbox = opened(root)
    assert outbox.tallies()["rejected"] == 1
    outbox.close()


def test_an_index_that_fails_while_it_runs_is_replaced_and_nobody_notices(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known = filled(root)
    outbox = opened(root)

    def full(_index: Index, _entries: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as broken:
        add = Index.add
        calls = iter([True])
        broken.setattr(
            Index, "add", lambda index, entries: full(index, entries) if next(calls, False) else add(index, entries)
        )
        saved = outbox.save(b"kept all the same", ASKED_FOR)
    assert {entry.id for entry in everything(outbox)} == {entry.id for entry in known} | {saved}
    assert outbox.stats().total.items == 9
    assert "disk is full" in caplog.text
    outbox.save(b"the next", ASKED_FOR)
    outbox.close()
    again = opened(root)
    assert again.stats().total.items == 10
    assert again.stats().rejected.items == 1
    again.close()


def test_the_files_have_the_last_word_on_what_is_a_promise(root: Path) -> None:
    outbox = opened(root)
    uploads = fill(outbox, 3)
    outbox.close()
    with sqlite3.connect(root / INDEX_FILE) as database:
        database.execute("UPDATE pictures SET asked_for = 0")
    database.close()
    misled = opened(root, OutboxBounds(3, 10**9, 0))
    assert misled.stats().automatic.items == 3
    with pytest.raises(Exception, match="The outbox is full"):
        misled.save(b"one more", ASKED_FOR)
    assert {entry.id for entry in everything(misled)} == set(uploads)
    assert misled.stats().automatic.items == 0, "and the index is put right"
    misled.close()


# -- what is asked of it ----------------------------------------------------------------------------------------------


@pytest.fixture
def index() -> Index:
    return Index(None)


def entry(number: int, folder: folders.Folder = "normal", **known: object) -> Entry:
    return Entry(folder, f"2024-01-01_00-00-00.{number:06}", 100, True, **known)  # type: ignore[arg-type]


def test_pages_go_both_ways_and_leave_out_suspicious_ones(index: Index) -> None:
    entries = [entry(number, attempts=SUSPICIOUS_ATTEMPTS if number == 2 else 0) for number in range(6)]
    index.add(entries)
    assert index.page("normal", 3) == entries[:3]
    assert index.page("normal", 3, newest_first=True) == entries[:2:-1]
    assert index.page("normal", 10, after=entries[3].id) == entries[4:]
    assert index.page("normal", 10, newest_first=True, after=entries[3].id) == entries[2::-1]
    assert index.page("normal", 3, all_of_it=False) == [entries[0], entries[1], entries[3]]
    assert index.suspects(5) == [entries[2]]
    assert index.page("priority", 10) == []


def test_no_question_that_is_asked_for_each_batch_looks_at_everything(index: Index) -> None:
    """SQLite says how it will answer: by searching, never by going through the table or sorting."""
    index.add(entry(number) for number in range(100))
    plans: list[str] = []
    connection = index._connection

    def explain(statement: str) -> None:
        if statement.startswith("SELECT folder, id"):
            plans.extend(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))

    connection.set_trace_callback(explain)
    index.page("normal", 10, newest_first=True, all_of_it=False)
    index.page("normal", 10, after="2024", all_of_it=True)
    index.suspects(1)
    index.find(entry(5).id)
    index.oldest()
    connection.set_trace_callback(None)
    assert plans
    assert all(plan.startswith("SEARCH pictures USING") for plan in plans), plans


def test_what_fails_within_a_transaction_leaves_nothing(index: Index) -> None:
    with pytest.raises(ZeroDivisionError), index.transaction():
        index.add([entry(1)])
        index.tally("sent", 5)
        raise ZeroDivisionError
    assert index.find(entry(1).id) is None
    assert index.tallies()["sent"] == 0


def test_comparing_tells_what_is_new_and_what_is_gone(index: Index) -> None:
    index.add([entry(number) for number in (1, 3, 5)])
    names = [entry(number).id for number in (0, 1, 2, 5, 6)]
    unknown, gone = index.compare("normal", names)
    assert unknown == [entry(number).id for number in (0, 2, 6)]
    assert gone == [entry(3).id]
    assert index.compare("normal", []) == ([], [entry(number).id for number in (1, 3, 5)])
    assert index.compare("priority", names) == (names, [])


def test_closing_happens_even_where_it_was_forgotten(root: Path) -> None:
    root.mkdir()
    forgotten = Index(root / "x.sqlite")
    connection = forgotten._connection
    del forgotten
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_an_index_moved_to_another_folder_with_its_pictures_is_still_right(root: Path, tmp_path: Path) -> None:
    known = filled(root)
    shutil.copytree(root, tmp_path / "elsewhere")
    outbox = opened(tmp_path / "elsewhere")
    assert everything(outbox) == known
    outbox.close()
