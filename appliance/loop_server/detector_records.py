"""Detectors of a project, as they said of themselves last."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from appliance.loop_server.plain import plain
from appliance.loop_server.tables import detectors, written
from models.wire.loop import DetectorStatus

OFFLINE_AFTER = timedelta(seconds=90)
"""Without a word; detectors speak every 30 s."""

OFFLINE = "offline"
"""State of a detector whose connection has ended."""

MAX_STATUS = 64 * 1024
"""Bytes."""

MAX_DETECTORS = 10_000
"""Of one project; those that were not seen for the longest time are forgotten first."""


def seen(connection: Connection, project: int, status: DetectorStatus, now: datetime) -> None:
    """A detector has told its status. Raises `InvalidInput`, `InputTooLarge`."""
    document = plain(status.model_dump(mode="json"), MAX_STATUS, "the status")
    values = {"name": document["name"][:255], "status": document, "seen": written(now)}
    uuid = document["uuid"][:64]
    here = (detectors.c.project_id == project, detectors.c.uuid == uuid)
    if connection.execute(update(detectors).where(*here).values(**values)).rowcount:
        return
    connection.execute(insert(detectors).values(project_id=project, uuid=uuid, **values))
    count = connection.scalar(select(func.count()).where(detectors.c.project_id == project)) or 0
    if count > MAX_DETECTORS:
        oldest = connection.scalars(
            select(detectors.c.uuid)
            .where(detectors.c.project_id == project)
            .order_by(detectors.c.seen)
            .limit(count - MAX_DETECTORS)
        ).all()
        connection.execute(delete(detectors).where(detectors.c.project_id == project, detectors.c.uuid.in_(oldest)))


def gone(connection: Connection, project: int, uuid: str) -> None:
    """The connection of a detector has ended: it is offline until it speaks again."""
    here = (detectors.c.project_id == project, detectors.c.uuid == uuid[:64])
    status = connection.scalar(select(detectors.c.status).where(*here))
    if status is not None:
        connection.execute(update(detectors).where(*here).values(status={**status, "state": OFFLINE}))


def known(connection: Connection, project: int, now: datetime) -> list[dict[str, Any]]:
    """All detectors of a project by name: their status, with `online` and when they were `seen` last."""
    rows = connection.execute(
        select(detectors).where(detectors.c.project_id == project).order_by(detectors.c.name, detectors.c.uuid)
    ).all()
    since = written(now - OFFLINE_AFTER)
    return [
        {**row.status, "online": row.seen >= since and row.status["state"] != OFFLINE, "seen": row.seen} for row in rows
    ]
