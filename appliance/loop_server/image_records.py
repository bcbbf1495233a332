"""Images in the database: stored once, found by state and id, moved, annotated, removed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, delete, insert, select, update

from appliance.loop_server.blobs import Blob
from appliance.loop_server.categories import Resolver
from appliance.loop_server.findings import Annotations, annotation_rows, annotations_out, by_model, merged
from appliance.loop_server.image_forms import Incoming
from appliance.loop_server.projects import project_key
from appliance.loop_server.tables import STATES, image_annotations, image_detections, images, projects
from models.errors import InvalidInput, NotInLoop
from models.wire.detections import ImageDetections
from models.wire.image_metadata import SegmentationAnnotation

TEST_SHARE = 0.2
"""Share of the images that models are tested on and never trained with."""

_AT_ONCE = 500
"""Ids in one query; SQLite and PostgreSQL bound them."""


@dataclass(frozen=True)
class Stored:
    """What became of an upload: the ids of new images, and how many were here before."""

    new: tuple[str, ...]
    known: int


def set_of(image_id: str) -> str:
    """`test` for a fifth of all ids, else `train`: by chance, but for one id always the same."""
    share = int(hashlib.sha256(image_id.encode()).hexdigest()[:8], 16) / 16**8
    return "test" if share < TEST_SHARE else "train"


def add(connection: Connection, project: int, incoming: Sequence[tuple[Incoming, Blob]], now: str) -> Stored:
    """Store images that the project does not have yet: one of the same name with the same bytes is the same image."""
    resolver = Resolver.of(connection, project)
    there = _known(connection, project, [each.name for each, _ in incoming])
    taken = set(_keys(connection, project, [each.id for each, _ in incoming if each.id is not None]))
    new: list[tuple[Incoming, dict[str, Any]]] = []
    for each, blob in incoming:
        if (each.name, blob.sha256) in there:
            continue
        there.add((each.name, blob.sha256))
        image_id = each.id if each.id is not None and each.id not in taken else str(uuid4())
        taken.add(image_id)
        new.append((each, _row(project, each, blob, now, image_id)))
    if new:
        statement = insert(images).returning(images.c.key, images.c.id)
        keys = {row.id: row.key for row in connection.execute(statement, [row for _, row in new])}
        found = [
            {"image_key": keys[row["id"]], "model_version": version, "found": lists, "received": now}
            for each, row in new
            for version, lists in by_model(each.metadata, resolver).items()
        ]
        _insert(connection, image_detections, found)
        drawn: list[dict[str, Any]] = []
        for each, row in new:
            drawn += annotation_rows(keys[row["id"]], each.annotations, resolver, strict=False)
        _insert(connection, image_annotations, drawn)
    return Stored(tuple(row["id"] for _, row in new), len(incoming) - len(new))


def _row(project: int, each: Incoming, blob: Blob, now: str, image_id: str) -> dict[str, Any]:
    return {
        "project_id": project,
        "id": image_id,
        "name": each.name,
        "sha256": blob.sha256,
        "size": blob.size,
        "format": each.header.format,
        "width": each.header.width,
        "height": each.header.height,
        "state": each.state,
        "set": set_of(image_id),
        "created": each.metadata.created,
        "received": now,
        "source": each.metadata.source,
        "tags": each.metadata.tags,
        "extras": each.extras,
    }


def _known(connection: Connection, project: int, names: Sequence[str]) -> set[tuple[str, str]]:
    known: set[tuple[str, str]] = set()
    for some in _portions(list(dict.fromkeys(names))):
        rows = connection.execute(
            select(images.c.name, images.c.sha256).where(images.c.project_id == project, images.c.name.in_(some))
        )
        known.update((row.name, row.sha256) for row in rows)
    return known


def checked_states(text: str | None) -> tuple[str, ...]:
    """States, comma separated; none given: all but the trash. Raises `InvalidInput`."""
    if text is None or not text.strip():
        return tuple(state for state in STATES if state != "trash")
    states = tuple(part.strip() for part in text.split(","))
    for state in states:
        if state not in STATES:
            raise InvalidInput(f"{state[:60]!r} is no state of images; there are {', '.join(STATES)}")
    return states


def ids(connection: Connection, project: int, states: Sequence[str]) -> list[str]:
    """The ids of all images in these states, the oldest first."""
    return list(
        connection.scalars(
            select(images.c.id).where(images.c.project_id == project, images.c.state.in_(states)).order_by(images.c.key)
        )
    )


def page(
    connection: Connection,
    project: int,
    states: Sequence[str],
    after: int,
    limit: int,
    model_version: str | None = None,
) -> tuple[list[dict[str, Any]], int | None]:
    """Up to `limit` images in these states, the oldest first, and where the next page begins (None: it was the last)."""
    rows = connection.execute(
        select(images)
        .where(images.c.project_id == project, images.c.state.in_(states), images.c.key > after)
        .order_by(images.c.key)
        .limit(limit + 1)
    ).all()
    following = rows[limit - 1].key if len(rows) > limit else None
    return _described(connection, project, rows[:limit], model_version), following


def described(
    connection: Connection, project: int, image_ids: Sequence[str], model_version: str | None = None
) -> list[dict[str, Any]]:
    """These images with their annotations and detections, in this order; what the project does not have is left out.

    With `model_version` only what that model has found.
    """
    rows: dict[str, Row[Any]] = {}
    for some in _portions(image_ids):
        found = connection.execute(select(images).where(images.c.project_id == project, images.c.id.in_(some)))
        rows.update((row.id, row) for row in found)
    return _described(connection, project, [rows[each] for each in image_ids if each in rows], model_version)


def _described(
    connection: Connection, project: int, rows: Sequence[Row[Any]], model_version: str | None
) -> list[dict[str, Any]]:
    resolver = Resolver.of(connection, project)
    found: dict[int, list[Any]] = {}
    drawn: dict[int, list[Row[Any]]] = {}
    for some in _portions([row.key for row in rows]):
        query = select(image_detections).where(image_detections.c.image_key.in_(some))
        if model_version is not None:
            query = query.where(image_detections.c.model_version == model_version)
        for row in connection.execute(query.order_by(image_detections.c.received, image_detections.c.model_version)):
            found.setdefault(row.image_key, []).append(row.found)
        query = select(image_annotations).where(image_annotations.c.image_key.in_(some))
        for row in connection.execute(query.order_by(image_annotations.c.position)):
            drawn.setdefault(row.image_key, []).append(row)
    return [
        {
            "id": row.id,
            "name": row.name,
            "set": row.set,
            "state": row.state,
            "width": row.width,
            "height": row.height,
            "format": row.format,
            "size": row.size,
            "sha256": row.sha256,
            "tags": row.tags,
            "source": row.source,
            "created": row.created,
            "received": row.received,
            "novelty_score": row.novelty_score,
            "extras": row.extras,
            **annotations_out(drawn.get(row.key, ()), resolver),
            **merged(found.get(row.key, ()), resolver),
        }
        for row in rows
    ]


def find(connection: Connection, project: int, image_id: str) -> Row[Any]:
    """The row of one image. Raises `NotInLoop`."""
    row = connection.execute(
        select(images).where(images.c.project_id == project, images.c.id == image_id)
    ).one_or_none()
    if row is None:
        raise NotInLoop(f"There is no image {image_id[:60]!r} in this project")
    return row


def picture(connection: Connection, organization: str, project: str, image_id: str) -> tuple[str, int, str]:
    """sha256, bytes and format of one image, in one query: trainers ask for all of them. Raises `NotInLoop`."""
    row = connection.execute(
        select(images.c.sha256, images.c.size, images.c.format)
        .join(projects, projects.c.id == images.c.project_id)
        .where(
            projects.c.organization == organization,
            projects.c.project == project.lower(),
            images.c.id == image_id,
        )
    ).one_or_none()
    if row is None:  # which of the two is missing
        missing = find(connection, project_key(connection, organization, project), image_id)
        return missing.sha256, missing.size, missing.format
    return row.sha256, row.size, row.format


def _keys(connection: Connection, project: int, image_ids: Iterable[str]) -> dict[str, int]:
    keys: dict[str, int] = {}
    for some in _portions(list(dict.fromkeys(image_ids))):
        rows = connection.execute(
            select(images.c.id, images.c.key).where(images.c.project_id == project, images.c.id.in_(some))
        )
        keys.update((row.id, row.key) for row in rows)
    return keys


def move(connection: Connection, project: int, image_ids: Sequence[str], state: str) -> list[str]:
    """Put images into a state. Returns the ids that the project does not have."""
    keys = _keys(connection, project, image_ids)
    for some in _portions(list(keys.values())):
        connection.execute(update(images).where(images.c.key.in_(some)).values(state=state))
    return [each for each in image_ids if each not in keys]


def score(connection: Connection, project: int, scores: Mapping[str, float]) -> list[str]:
    """Note how new images look to a model. Returns the ids that the project does not have."""
    keys = _keys(connection, project, scores)
    for image_id, key in keys.items():
        connection.execute(update(images).where(images.c.key == key).values(novelty_score=scores[image_id]))
    return [each for each in scores if each not in keys]


def detected(connection: Connection, project: int, found: Sequence[ImageDetections], now: str) -> list[str]:
    """Note what models have found; it replaces what the same model version had found in the same image.

    Returns the ids of images that the project does not have: they were deleted while a trainer was at work.
    """
    resolver = Resolver.of(connection, project)
    keys = _keys(connection, project, [each.image_id or "" for each in found])
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    for each in found:
        key = keys.get(each.image_id or "")
        if key is None:
            continue
        for version, lists in by_model(each, resolver).items():
            rows[key, version] = {"image_key": key, "model_version": version, "found": lists, "received": now}
    for key, version in rows:
        connection.execute(
            delete(image_detections).where(
                image_detections.c.image_key == key, image_detections.c.model_version == version
            )
        )
    _insert(connection, image_detections, list(rows.values()))
    return [each.image_id or "" for each in found if (each.image_id or "") not in keys]


def annotate(connection: Connection, project: int, image_id: str, given: Annotations) -> None:
    """Replace the annotations of an image. Raises `NotInLoop`, and `InvalidInput` for an unknown category."""
    key = find(connection, project, image_id).key
    rows = annotation_rows(key, given, Resolver.of(connection, project), strict=True)
    connection.execute(delete(image_annotations).where(image_annotations.c.image_key == key))
    _insert(connection, image_annotations, rows)


def annotate_segmentation(connection: Connection, project: int, given: SegmentationAnnotation) -> None:
    """Add a polygon, or replace the one of that id. Raises `NotInLoop`, and `InvalidInput` for an unknown category."""
    key = find(connection, project, given.image_id).key
    polygon = {"id": given.id, "category_id": given.category_id, "shape": given.shape}
    annotations = Annotations.model_validate({"segmentation_annotations": [polygon]})
    [row] = annotation_rows(key, annotations, Resolver.of(connection, project), strict=True)
    here = (image_annotations.c.image_key == key, image_annotations.c.id == row["id"])
    before = connection.execute(select(image_annotations.c.position).where(*here)).first()
    positions = select(image_annotations.c.position).where(image_annotations.c.image_key == key)
    row["position"] = before.position if before else max(connection.scalars(positions), default=-1) + 1
    connection.execute(delete(image_annotations).where(*here))
    connection.execute(insert(image_annotations), row)


def remove(connection: Connection, project: int, image_id: str) -> str:
    """Delete an image with all that belongs to it. Returns the sha256 of its picture. Raises `NotInLoop`."""
    row = find(connection, project, image_id)
    connection.execute(delete(images).where(images.c.key == row.key))
    return str(row.sha256)


def _insert(connection: Connection, table: Any, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _portions(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))
