"""Trainings in the database, and what their trainers said of the best model over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from appliance.loop_server.numbering import TrainedModel, best_of
from appliance.loop_server.tables import model_files, training_metrics


def standing(connection: Connection, project: int, number: int) -> tuple[str, TrainedModel | None]:
    """What the best model of a training is now (see `numbering.best_of`), and the last one that it uploaded."""
    where = and_(training_metrics.c.project_id == project, training_metrics.c.number == number)
    newest_first = select(training_metrics).where(where).order_by(training_metrics.c.key.desc()).limit(1)
    now = connection.execute(newest_first).one_or_none()
    last = connection.execute(newest_first.where(training_metrics.c.model_id.is_not(None))).one_or_none()
    best = best_of(now.metrics) if now is not None else best_of({})
    if last is None:
        return best, None
    formats = connection.scalars(
        select(model_files.c.format).where(model_files.c.project_id == project, model_files.c.model_id == last.model_id)
    )
    return best, TrainedModel(last.model_id, best_of(last.metrics), frozenset(formats))


def uploaded(connection: Connection, project: int, number: int, model_id: str, now: str) -> None:
    """The best model of a training is in the loop as `model_id`."""
    where = and_(training_metrics.c.project_id == project, training_metrics.c.number == number)
    key = connection.scalar(
        select(training_metrics.c.key).where(where).order_by(training_metrics.c.key.desc()).limit(1)
    )
    if key is None:  # a trainer that never told any metrics
        _append(connection, project, number, {}, now, model_id)
    else:
        connection.execute(update(training_metrics).where(training_metrics.c.key == key).values(model_id=model_id))


def _append(
    connection: Connection, project: int, number: int, metrics: Mapping[str, Any], now: str, model_id: str | None = None
) -> None:
    connection.execute(
        insert(training_metrics).values(
            project_id=project, number=number, received=now, model_id=model_id, metrics=dict(metrics)
        )
    )
