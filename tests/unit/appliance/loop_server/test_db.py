"""Transactions of the embedded loop: whole or not at all, one writer after the other, in a bounded line."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, update

from appliance.loop_server import db
from appliance.loop_server.db import Database
from appliance.loop_server.tables import SenderText, image_annotations, images, projects, users
from models.errors import InvalidInput, NoRoom, Overloaded, SettingsInvalid, StorageRefused
from tests.unit.appliance.loop_server.conftest import Story


def add_project(connection: Connection, name: str) -> None:
    connection.execute(insert(projects), {"organization": "acme", "project": name, "created": "0"})


def names(connection: Connection) -> list[str]:
    return sorted(connection.scalars(select(projects.c.project)))


def test_what_raises_leaves_nothing_behind(with_database: Story[None]) -> None:
    async def story(database: Database) -> None:
        def half(connection: Connection) -> None:
            add_project(connection, "one")
            raise RuntimeError("in the middle")

        with pytest.raises(RuntimeError, match="in the middle"):
            await database.write(half)
        assert await database.read(names) == []

    with_database(story)


def test_writers_do_not_step_on_each_other(with_database: Story[None]) -> None:
    async def story(database: Database) -> None:
        await database.write(lambda connection: add_project(connection, "0"))

        def count_up(connection: Connection) -> None:
            [before] = names(connection)
            connection.execute(update(projects).values(project=str(int(before) + 1)))

        await asyncio.gather(*(database.write(count_up) for _ in range(100)))
        assert await database.read(names) == ["100"]

    with_database(story)


def test_readers_see_the_last_state_while_somebody_writes(with_database: Story[None]) -> None:
    async def story(database: Database) -> None:
        written, go_on = threading.Event(), threading.Event()

        def slowly(connection: Connection) -> None:
            add_project(connection, "one")
            written.set()
            assert go_on.wait(30)

        writing = asyncio.create_task(database.write(slowly))
        assert await asyncio.to_thread(written.wait, 30)
        assert await database.read(names) == []
        go_on.set()
        await writing
        assert await database.read(names) == ["one"]

    with_database(story)


def test_a_write_comes_to_its_end_even_if_nobody_waits_for_it(with_database: Story[None]) -> None:
    async def story(database: Database) -> None:
        begun, go_on = threading.Event(), threading.Event()

        def slowly(connection: Connection) -> None:
            begun.set()
            assert go_on.wait(30)
            add_project(connection, "one")

        writing = asyncio.create_task(database.write(slowly))
        assert await asyncio.to_thread(begun.wait, 30)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        go_on.set()
        await database.write(lambda connection: None)
        assert await database.read(names) == ["one"]

    with_database(story)


def test_a_commit_is_synced_and_rows_that_belong_to_nothing_are_refused(with_database: Story[None]) -> None:
    async def story(database: Database) -> None:
        def pragmas(connection: Connection) -> list[object]:
            asked = ("journal_mode", "synchronous", "foreign_keys")
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in asked]

        assert await database.write(pragmas) == ["wal", 2, 1]
        assert await database.read(pragmas) == ["wal", 2, 1]
        orphan = {"image_key": 7, "id": "x", "kind": "box", "position": 0, "category_name": "x", "geometry": {}}
        with pytest.raises(StorageRefused, match="FOREIGN KEY"):
            await database.write(lambda connection: connection.execute(insert(image_annotations), orphan))

    with_database(story)


def test_a_full_disk_is_told_apart_and_goes_on_afterwards(with_database: Story[None]) -> None:
    async def story(database: Database) -> None:
        def fill(connection: Connection) -> None:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            try:
                add_project(connection, "x" * 100_000)
            finally:
                connection.exec_driver_sql("PRAGMA max_page_count = 1000000")

        with pytest.raises(NoRoom, match="disk of the loop's database is full"):
            await database.write(fill)
        await database.write(lambda connection: add_project(connection, "one"))
        assert await database.read(names) == ["one"]

    with_database(story)


def test_a_database_that_another_process_holds_is_waited_for_then_refused(
    with_database: Story[None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "BUSY_SECONDS", 0)

    async def story(database: Database) -> None:
        backup = sqlite3.connect(tmp_path / "loop.db", isolation_level=None)
        try:
            backup.execute("BEGIN IMMEDIATE")
            with pytest.raises(Overloaded, match="held by another process"):
                await database.write(lambda connection: add_project(connection, "one"))
            backup.execute("ROLLBACK")
        finally:
            backup.close()
        await database.write(lambda connection: add_project(connection, "one"))

    with_database(story)


def test_a_writer_that_reads_first_is_not_overtaken(with_database: Story[None], tmp_path: Path) -> None:
    async def story(database: Database) -> None:
        def count(connection: Connection) -> None:
            before = names(connection)
            with sqlite3.connect(tmp_path / "loop.db", timeout=0) as other, pytest.raises(sqlite3.OperationalError):
                other.execute("DELETE FROM projects")
            other.close()
            add_project(connection, f"after {len(before)}")

        await database.write(count)
        assert await database.read(names) == ["after 0"]

    with_database(story)


def test_the_line_is_bounded(with_database: Story[None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "MAX_WAITING", 3)

    async def story(database: Database) -> None:
        results = await asyncio.gather(*(database.write(names) for _ in range(5)), return_exceptions=True)
        assert [isinstance(each, Overloaded) for each in results] == [False, False, False, True, True]
        assert database.waiting == 0

    with_database(story)


def test_what_no_database_holds_is_the_senders_fault(with_database: Story[None]) -> None:
    async def story(database: Database) -> None:
        row = {
            "project_id": 1,
            "id": "x",
            "name": "a\0b",
            "sha256": "",
            "size": 1,
            "format": "jpeg",
            "width": 1,
            "height": 1,
            "state": "inbox",
            "set": "train",
            "received": "0",
            "tags": [],
            "extras": {},
        }
        await database.write(lambda connection: add_project(connection, "one"))
        with pytest.raises(InvalidInput, match="no database holds"):
            await database.write(
                lambda connection: connection.execute(insert(images), {**row, "extras": {"x": float("nan")}})
            )
        for odd in ({**row, "width": 2**70}, {**row, "state": "\ud800"}):
            adding = insert(images).values(odd)
            with pytest.raises(InvalidInput, match="no database holds"):
                await database.write(partial(Connection.execute, statement=adding))
        await database.write(lambda connection: connection.execute(insert(images), row))
        assert await database.read(lambda connection: connection.scalars(select(images.c.name)).one()) == "ab"
        assert isinstance(images.c.source.type, SenderText)

    with_database(story)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql+pymysql://x/y", "SQLite or PostgreSQL"),
        ("nonsense", "The database URL cannot be used"),
        ("postgresql+nosuch://x/y", "The database URL cannot be used"),
    ],
)
def test_other_databases_are_refused_in_words(url: str, words: str) -> None:
    with pytest.raises(SettingsInvalid, match=words):
        Database(url)


def test_a_name_is_taken_once(with_database: Story[None]) -> None:
    async def story(database: Database) -> None:
        row = {"name": "ann", "password_hash": "x", "role": "admin", "created": "0"}
        await database.write(lambda connection: connection.execute(insert(users), row))
        with pytest.raises(StorageRefused, match="UNIQUE"):
            await database.write(lambda connection: connection.execute(insert(users), row))

    with_database(story)
