"""The database: every reading and every writing is one transaction, in a thread, and waits for its turn in a bounded line.

One thread writes, so that a transaction sees what all before it have done; several read beside it. SQLite writes ahead
(WAL), so readers and the writer do not wait for each other, and a commit is on the disk when it returns.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import sqlalchemy
from sqlalchemy import Connection, Engine, event, func, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from appliance.loop_server import migrations
from models.errors import DetectorApplianceError, InvalidInput, NoRoom, Overloaded, SettingsInvalid, StorageRefused

T = TypeVar("T")

READERS = 4
MAX_WAITING = 1000
"""Transactions that may wait for a thread; then requests are refused."""

_DATA_EXCEPTION = "22"  # class of SQLSTATE codes: a value that its type cannot have

_CLAIM = 0x6C6F6F70  # "loop"
_CLAIMS = 20
_CLAIM_PAUSE = 0.25  # seconds

BUSY_SECONDS = 10
"""How long a connection waits for another process that writes (a backup, say)."""


class Database:
    """Connections and threads. `url` is SQLAlchemy's: `sqlite:///…` or `postgresql+pg8000://…`."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._writing = self._engine.execution_options(writes=True)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="loop-writer")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="loop-reader")
        self._waiting = 0
        self._claiming: Connection | None = None

    @property
    def waiting(self) -> int:
        """Transactions that wait or run now."""
        return self._waiting

    async def start(self) -> None:
        """Make sure that no other loop uses the database, and bring its schema up to date.

        The steps are taken all or none. Raises `SettingsInvalid`.
        """
        await asyncio.get_running_loop().run_in_executor(self._writer, self._claim)
        await self.write(migrations.upgrade)

    def _claim(self) -> None:
        """PostgreSQL is reached from many machines; a file of SQLite lies in the data folder, which has a lock."""
        if self._engine.dialect.name != "postgresql" or self._claiming is not None:
            return
        try:
            self._claiming = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            for _ in range(_CLAIMS):
                if self._claiming.execute(select(func.pg_try_advisory_lock(_CLAIM))).scalar_one():
                    return
                time.sleep(_CLAIM_PAUSE)  # one that has just ended may still be connected
        except SQLAlchemyError as error:
            raise SettingsInvalid(f"The database cannot be used: {_cause(error)}") from error
        raise SettingsInvalid("Another loop uses this database. Stop that one first, or name another one.")

    async def read(self, ask: Callable[[Connection], T]) -> T:
        """Run `ask` in a transaction that sees one state of things. Raises what it raises, `Overloaded`, `StorageRefused`."""
        return await self._run(self._readers, self._engine, ask)

    async def write(self, act: Callable[[Connection], T]) -> T:
        """Run `act` in a transaction that is committed, on the disk too, when this returns; nothing of it if it raises.

        Once begun it runs to its end, even if the caller is cancelled. Raises as `read`, `NoRoom` too.
        """
        return await self._run(self._writer, self._writing, act)

    async def close(self) -> None:
        """End the threads and connections; what was begun comes to its end."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
        if self._claiming is not None:
            self._claiming.invalidate()  # not given back to the pool: it may be dead
            self._claiming.close()
        self._engine.dispose()

    async def _run(self, pool: ThreadPoolExecutor, engine: Engine, act: Callable[[Connection], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise Overloaded("The loop's database has too much to do already; try again soon", 5)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, _transaction, engine, act)
        finally:
            self._waiting -= 1


def _cause(error: SQLAlchemyError) -> object:
    return (error.orig if isinstance(error, DBAPIError) else None) or error


def _transaction(engine: Engine, act: Callable[[Connection], T]) -> T:
    try:
        with engine.begin() as connection:
            return act(connection)
    except SQLAlchemyError as error:
        raise _ours(error) from error
    except (OverflowError, UnicodeEncodeError) as error:  # what SQLite's driver says of such values
        raise InvalidInput(f"There is something in it that no database holds: {error}") from error


def _ours(error: SQLAlchemyError) -> DetectorApplianceError:
    cause = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(cause, sqlite3.OperationalError):
        text = str(cause)  # its error code has a name only since Python 3.11
        if "disk is full" in text:
            return NoRoom("The disk of the loop's database is full; make room and try again")
        if "locked" in text:
            return Overloaded("The loop's database is held by another process; try again soon", 5)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return Overloaded("The loop's database cannot be reached; try again soon", 5)
    if isinstance(error, StatementError) and isinstance(error.orig, ValueError | OverflowError):
        return InvalidInput(f"There is something in it that no database holds: {error.orig}")
    told = cause.args[0] if cause is not None and cause.args else None
    if isinstance(told, dict) and str(told.get("C")).startswith(_DATA_EXCEPTION):  # as pg8000 tells it
        return InvalidInput(f"There is something in it that no database holds: {told.get('M')}")
    return StorageRefused(f"The loop's database refused: {_cause(error)}")


def _engine(url: str) -> Engine:
    try:
        parsed = sqlalchemy.make_url(url)
        if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
            raise SettingsInvalid(
                f"A loop's database is SQLite or PostgreSQL (postgresql+pg8000://…), not {parsed.drivername}"
            )
        engine = sqlalchemy.create_engine(
            parsed,
            pool_size=READERS + 2,  # a thread each, and the claim
            max_overflow=0,
            pool_pre_ping=True,
            json_serializer=partial(json.dumps, allow_nan=False),  # NaN is no JSON: PostgreSQL refuses it, so do we
        )
    except (SQLAlchemyError, ImportError) as error:
        raise SettingsInvalid(f"The database URL cannot be used: {error}") from error
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    return engine


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver shall begin nothing on its own: `_begin` does
        for pragma in (
            f"busy_timeout = {BUSY_SECONDS * 1000}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and writes later would fail at once if another has written in between.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
