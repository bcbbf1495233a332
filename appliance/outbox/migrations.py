"""The steps by which the index of the outbox got its form; each and its record are one transaction.

Steps are added at the end and never changed. A database that has steps unknown here was written by a newer program; it is
only an index, and is built anew.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from sqlite_utils import Migrations
from sqlite_utils.db import Database

MIGRATIONS = Migrations("outbox")


@MIGRATIONS(name="pictures and tallies")
def _pictures_and_tallies(db: Database) -> None:
    # The key is the order in which pictures are sent and listed: no list of them is ever sorted.
    db.execute(
        """CREATE TABLE pictures (
            folder TEXT NOT NULL, id TEXT NOT NULL, bytes INTEGER NOT NULL, asked_for INTEGER NOT NULL,
            tags TEXT, attempts INTEGER NOT NULL DEFAULT 0, reason TEXT,
            PRIMARY KEY (folder, id)
        ) WITHOUT ROWID"""
    )
    db.execute("CREATE INDEX suspicious ON pictures (attempts, id) WHERE attempts >= 5")
    db.execute("CREATE TABLE tallies (name TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID")
    db.execute("CREATE TABLE origin (began TEXT NOT NULL)")


def _known() -> frozenset[str]:
    with closing(sqlite3.connect(":memory:")) as nothing:
        return frozenset(step.name for step in MIGRATIONS.pending(Database(nothing, execute_plugins=False)))


STEPS = _known()
"""The names of all steps."""
