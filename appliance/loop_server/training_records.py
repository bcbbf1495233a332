"""Trainings in the database, and what their trainers said of the best model over time."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, select, update

from appliance.loop_server.numbering import TrainedModel, best_of
from appliance.loop_server.tables import model_files, models, training_metrics, trainings
from models.errors import NotInLoop

log = logging.getLogger(__name__)

MAX_METRICS = 2000
"""Best models of one training of which the metrics are kept; the oldest without a model of their own go first."""


@dataclass(frozen=True)
class TrainingRecord:
    """One training. `details` are those that `begin_training` carries; `reason` says why it failed."""

    project: int
    number: int
    state: str
    trainer_id: str | None
    base_model_id: str | None
    details: Mapping[str, Any]
    created: str
    ended: str | None
    reason: str | None


@dataclass(frozen=True)
class MetricsRecord:
    """What a trainer said of one best model, and the model that was made of it, if any."""

    number: int
    received: str
    metrics: Mapping[str, Any]
    model_id: str | None
    version: str | None


def create(
    connection: Connection, project: int, trainer_id: str, base: str | None, details: Mapping[str, Any], now: str
) -> TrainingRecord:
    """A new training; its number, from 1 on, goes into its details as `training_number`."""
    number = (connection.scalar(select(func.max(trainings.c.number)).where(trainings.c.project_id == project)) or 0) + 1
    connection.execute(
        insert(trainings).values(
            project_id=project,
            number=number,
            created=now,
            state="starting",
            trainer_id=trainer_id,
            base_model_id=base,
            details={**details, "training_number": number},
        )
    )
    return training(connection, project, number)


def training(connection: Connection, project: int, number: int) -> TrainingRecord:
    """One training. Raises `NotInLoop`."""
    row = connection.execute(
        select(trainings).where(trainings.c.project_id == project, trainings.c.number == number)
    ).one_or_none()
    if row is None:
        raise NotInLoop(f"There is no training {number} in this project")
    return _record(row)


def all_trainings(connection: Connection, project: int) -> list[TrainingRecord]:
    """The trainings of a project, the newest first."""
    rows = connection.execute(
        select(trainings).where(trainings.c.project_id == project).order_by(trainings.c.number.desc())
    )
    return [_record(row) for row in rows]


def open_training_of(connection: Connection, trainer_id: str) -> TrainingRecord | None:
    """The training that a trainer runs, in whatever project; None if it runs none of this loop's."""
    row = connection.execute(
        select(trainings)
        .where(trainings.c.trainer_id == trainer_id, trainings.c.ended.is_(None))
        .order_by(trainings.c.created.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _record(row)


def last_training_of(connection: Connection, project: int, trainer_id: str) -> TrainingRecord:
    """The training of a project that a trainer runs, or ran last. Raises `NotInLoop`."""
    row = connection.execute(
        select(trainings)
        .where(trainings.c.project_id == project, trainings.c.trainer_id == trainer_id, trainings.c.state != "refused")
        .order_by(trainings.c.number.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        raise NotInLoop("This trainer was given no training of this project")
    return _record(row)


def set_state(
    connection: Connection, record: TrainingRecord, state: str, *, ended: str | None = None, reason: str | None = None
) -> bool:
    """What has become of a training, if it has not become something else meanwhile; returns whether it has."""
    done = connection.execute(
        update(trainings)
        .where(
            trainings.c.project_id == record.project,
            trainings.c.number == record.number,
            trainings.c.state == record.state,
        )
        .values(state=state, ended=ended, reason=reason)
    )
    return bool(done.rowcount)


def add_metrics(connection: Connection, record: TrainingRecord, metrics: Mapping[str, Any], now: str) -> None:
    """A trainer has told its best model; what it told before is not written twice."""
    where = _of(record.project, record.number)
    last = connection.execute(
        select(training_metrics).where(where).order_by(training_metrics.c.key.desc()).limit(1)
    ).one_or_none()
    if last is not None and best_of(last.metrics) == best_of(metrics):
        connection.execute(
            update(training_metrics).where(training_metrics.c.key == last.key).values(metrics=dict(metrics))
        )
        return
    _append(connection, record.project, record.number, metrics, now)
    count = connection.scalar(select(func.count()).select_from(training_metrics).where(where)) or 0
    if count > MAX_METRICS:
        oldest = connection.scalars(
            select(training_metrics.c.key)
            .where(where, training_metrics.c.model_id.is_(None))
            .order_by(training_metrics.c.key)
            .limit(count - MAX_METRICS)
        ).all()
        connection.execute(delete(training_metrics).where(training_metrics.c.key.in_(oldest)))
        log.warning("training %d has more than %d best models; %d old ones go", record.number, MAX_METRICS, len(oldest))


def has_model(connection: Connection, record: TrainingRecord) -> bool:
    """Whether a training has uploaded anything."""
    where = (_of(record.project, record.number), training_metrics.c.model_id.is_not(None))
    return connection.execute(select(training_metrics.c.key).where(*where).limit(1)).first() is not None


def metrics_of(connection: Connection, project: int, number: int | None = None) -> list[MetricsRecord]:
    """What was told over time in a training, the oldest first.

    Without `number`: in all trainings of a project, of those best models alone that were uploaded.
    """
    query = (
        select(training_metrics, models.c.version)
        .join(
            models,
            and_(models.c.project_id == training_metrics.c.project_id, models.c.id == training_metrics.c.model_id),
            isouter=True,
        )
        .where(training_metrics.c.project_id == project)
        .order_by(training_metrics.c.key)
    )
    if number is None:
        query = query.where(training_metrics.c.model_id.is_not(None))
    else:
        query = query.where(training_metrics.c.number == number)
    return [
        MetricsRecord(row.number, row.received, row.metrics, row.model_id, row.version)
        for row in connection.execute(query)
    ]


def standing(connection: Connection, project: int, number: int) -> tuple[str, TrainedModel | None]:
    """What the best model of a training is now (see `numbering.best_of`), and the last one that it uploaded."""
    newest_first = select(training_metrics).where(_of(project, number)).order_by(training_metrics.c.key.desc()).limit(1)
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
    key = connection.scalar(
        select(training_metrics.c.key).where(_of(project, number)).order_by(training_metrics.c.key.desc()).limit(1)
    )
    if key is None:  # a trainer that never told any metrics
        _append(connection, project, number, {}, now, model_id)
    else:
        connection.execute(update(training_metrics).where(training_metrics.c.key == key).values(model_id=model_id))


def _of(project: int, number: int) -> Any:
    return and_(training_metrics.c.project_id == project, training_metrics.c.number == number)


def _append(
    connection: Connection, project: int, number: int, metrics: Mapping[str, Any], now: str, model_id: str | None = None
) -> None:
    connection.execute(
        insert(training_metrics).values(
            project_id=project, number=number, received=now, model_id=model_id, metrics=dict(metrics)
        )
    )


def _record(row: Any) -> TrainingRecord:
    return TrainingRecord(
        row.project_id,
        row.number,
        row.state,
        row.trainer_id,
        row.base_model_id,
        row.details,
        row.created,
        row.ended,
        row.reason,
    )
