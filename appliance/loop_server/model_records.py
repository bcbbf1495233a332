"""Models in the database: which there are, in which formats, and of which training. Every function is one query or few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, delete, insert, select, update

from appliance.loop_server import projects
from appliance.loop_server.tables import deployment_targets, model_files, models, training_metrics
from models.errors import NotInLoop
from models.wire.loop import LoopModel

project_key = projects.project_key


@dataclass(frozen=True)
class ModelRecord:
    """One model: what holds in every format of it. `version` is None while it is not published."""

    id: str
    version: str | None
    created: str
    comment: str | None
    properties: Mapping[str, Any]
    formats: tuple[str, ...]


@dataclass(frozen=True)
class ZipRecord:
    """One format of a model, and what a file of it should be called."""

    model: ModelRecord
    format: str
    sha256: str
    size: int


def all_models(connection: Connection, project: int, format: str | None = None) -> list[ModelRecord]:
    """The models of a project, the oldest first; only those that have `format`, where one is given."""
    rows = connection.execute(
        select(models)
        .where(models.c.project_id == project, models.c.deleted.is_(None))
        .order_by(models.c.created, models.c.id)
    ).all()
    stored: dict[str, list[str]] = {}
    for model_id, each in connection.execute(
        select(model_files.c.model_id, model_files.c.format)
        .where(model_files.c.project_id == project)
        .order_by(model_files.c.format)
    ):
        stored.setdefault(model_id, []).append(each)
    found = [_record(row, stored.get(row.id, ())) for row in rows]
    return [model for model in found if format is None or format in model.formats]


def model(connection: Connection, project: int, model_id: str) -> ModelRecord:
    """One model. Raises `NotInLoop`."""
    row = connection.execute(
        select(models).where(models.c.project_id == project, models.c.id == model_id, models.c.deleted.is_(None))
    ).one_or_none()
    if row is None:
        raise NotInLoop(f"There is no model {model_id[:60]} in this project")
    formats = connection.scalars(
        select(model_files.c.format)
        .where(model_files.c.project_id == project, model_files.c.model_id == model_id)
        .order_by(model_files.c.format)
    ).all()
    return _record(row, formats)


def model_of_version(connection: Connection, project: int, version: str) -> ModelRecord:
    """One model. Raises `NotInLoop`, which says what versions there are."""
    found = all_models(connection, project)
    for record in found:
        if record.version == version:
            return record
    there = ", ".join(record.version for record in found if record.version) or "none yet"
    raise NotInLoop(f"There is no model version {version[:60]!r} in this project; it has {there}")


def zip_of(connection: Connection, project: int, model_id: str, format: str) -> ZipRecord:
    """One format of a model. Raises `NotInLoop`, which says what formats there are."""
    record = model(connection, project, model_id)
    row = connection.execute(
        select(model_files).where(
            model_files.c.project_id == project, model_files.c.model_id == model_id, model_files.c.format == format
        )
    ).one_or_none()
    if row is None:
        there = ", ".join(record.formats) or "none yet"
        raise NotInLoop(f"Model {record.version} has no format {format[:60]!r}; it has {there}")
    return ZipRecord(record, format, row.sha256, row.size)


def versions(connection: Connection, project: int) -> list[str | None]:
    """Every version that a model of the project has or had: a device may still hold one that was deleted here."""
    return list(connection.scalars(select(models.c.version).where(models.c.project_id == project)))


def add_model(
    connection: Connection,
    project: int,
    model_id: str,
    version: str,
    now: str,
    properties: Mapping[str, Any],
    *,
    training: int | None = None,
    base: str | None = None,
) -> None:
    """A new model, without any format yet; `properties` as `model.json` has them."""
    extras = {key: value for key, value in properties.items() if key not in {"categories", "resolution"}}
    connection.execute(
        insert(models).values(
            project_id=project,
            id=model_id,
            version=version,
            created=now,
            categories=properties.get("categories", []),
            resolution=properties.get("resolution"),
            training_number=training,
            base_model_id=base,
            extras=extras,
        )
    )


def add_zip(
    connection: Connection, project: int, model_id: str, format: str, sha256: str, size: int, now: str
) -> str | None:
    """A format of a model; returns the sha256 of what was stored in its place before."""
    where = and_(
        model_files.c.project_id == project, model_files.c.model_id == model_id, model_files.c.format == format
    )
    before: str | None = connection.scalar(select(model_files.c.sha256).where(where))
    connection.execute(delete(model_files).where(where))
    connection.execute(
        insert(model_files).values(
            project_id=project, model_id=model_id, format=format, sha256=sha256, size=size, created=now
        )
    )
    return before


def remove_model(connection: Connection, project: int, model_id: str, now: str) -> list[str]:
    """Take a model and its formats away; returns the sha256 of its zips. Its number stays taken. Raises `NotInLoop`."""
    model(connection, project, model_id)
    where = and_(model_files.c.project_id == project, model_files.c.model_id == model_id)
    zips = list(connection.scalars(select(model_files.c.sha256).where(where)))
    connection.execute(delete(model_files).where(where))
    connection.execute(
        update(models).where(models.c.project_id == project, models.c.id == model_id).values(deleted=now)
    )
    connection.execute(
        update(training_metrics)
        .where(training_metrics.c.project_id == project, training_metrics.c.model_id == model_id)
        .values(model_id=None)
    )
    return zips


def target(connection: Connection, project: int) -> ModelRecord | None:
    """The model that detectors of the project shall run; None where nobody has said."""
    model_id = connection.scalar(
        select(deployment_targets.c.model_id).where(deployment_targets.c.project_id == project)
    )
    return None if model_id is None else model(connection, project, model_id)


def set_target(connection: Connection, project: int, model_id: str | None, now: str) -> None:
    """Say which model detectors shall run; None: whichever they have."""
    connection.execute(delete(deployment_targets).where(deployment_targets.c.project_id == project))
    if model_id is not None:
        connection.execute(insert(deployment_targets).values(project_id=project, model_id=model_id, since=now))


def version_of(connection: Connection, project: int, model_id: str) -> str | None:
    """The version that a model has or, if it is deleted, had."""
    version: str | None = connection.scalar(
        select(models.c.version).where(models.c.project_id == project, models.c.id == model_id)
    )
    return version


def listed(record: ModelRecord, host: str) -> LoopModel:
    """A model as the list of models has it."""
    return LoopModel(
        id=record.id,
        version=record.version,
        formats=list(record.formats),
        created=record.created,
        comment=record.comment,
        host=host,
    )


def _record(row: Any, formats: Sequence[str]) -> ModelRecord:
    properties = {**row.extras, "categories": row.categories}
    if row.resolution is not None:
        properties["resolution"] = row.resolution
    return ModelRecord(row.id, row.version, row.created, row.comment, properties, tuple(formats))
