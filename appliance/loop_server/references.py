"""Which blobs the database still names; the others go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from itertools import islice

from sqlalchemy import Connection, select, union

from appliance.loop_server.blobs import Blobs
from appliance.loop_server.db import Database
from appliance.loop_server.tables import images, kept_pictures, model_files

_AT_ONCE = 500
"""Names asked for in one query, and removed in one transaction."""


def needed(connection: Connection, names: Sequence[str]) -> set[str]:
    """Those of the blobs that a row names."""
    return set(
        connection.scalars(
            union(
                *(
                    select(table.c.sha256).where(table.c.sha256.in_(names))
                    for table in (images, model_files, kept_pictures)
                )
            )
        )
    )


async def forget(database: Database, blobs: Blobs, names: Iterable[str]) -> int:
    """Remove those of the blobs that no row names; returns how many.

    Within a transaction that writes, so that no row can come to name one between the look and the removal.
    """
    left = iter(dict.fromkeys(names))
    removed = 0
    while some := list(islice(left, _AT_ONCE)):

        def act(connection: Connection, some: list[str] = some) -> int:
            unneeded = sorted(set(some) - needed(connection, some))
            for name in unneeded:
                blobs.delete(name)
            return len(unneeded)

        removed += await database.write(act)
    return removed


async def sweep(database: Database, blobs: Blobs) -> int:
    """Remove every blob that no row names: what a power cut, or a crash, has left."""
    return await forget(database, blobs, await asyncio.to_thread(lambda: list(blobs.names())))
