"""Brings data sets in and out: a zip of pictures and COCO documents into a project, and a project into such a zip."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection

from appliance.loop_server import categories, coco, image_records
from appliance.loop_server.blobs import Blob, Blobs, Keeper
from appliance.loop_server.coco import CocoId, CocoImage, Kinds, NotCocoError, Reading
from appliance.loop_server.dataset_zips import DatasetZip, opened
from appliance.loop_server.image_forms import MAX_TAGS, Incoming
from appliance.loop_server.projects import project_key
from appliance.loop_server.references import forget
from appliance.loop_server.services import LoopServices
from appliance.loop_server.tables import written
from appliance.zip_stream import ZipStream
from models.errors import ImageUnreadable, InputTooLarge, InvalidInput, NotInLoop
from models.images import ImageHeader, ImageLimits, check_picture
from models.uninterrupted import to_its_end
from models.wire.image_metadata import ImageMetadata
from models.wire.model_information import CategoryType

MIB = 2**20

MAX_DOCUMENT = 128 * MIB
"""Bytes of a COCO document; in memory it takes about ten times as much."""

AT_ONCE = 50
"""Images that are stored in one transaction."""

PAGE = 500


@dataclass
class Imported:
    """What became of an import. `known` images were there before; `left_out` counts annotations, by reason."""

    images: int = 0
    known: int = 0
    annotations: int = 0
    categories: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Ready:
    """An image of the zip that is known to be good: `member` is where its picture lies."""

    reading: Reading
    member: str
    header: ImageHeader


@dataclass(frozen=True)
class _Plan:
    images: list[_Ready]
    new_categories: list[categories.NewCategory]


async def import_zip(
    services: LoopServices, organization: str, project: str, path: Path, otherwise: CategoryType
) -> Imported:
    """Bring a zip in. `otherwise` is what annotations are where neither project nor document says it.

    All of it is looked at before anything is stored. It is then stored in portions, each whole: an import that was cut off
    is simply repeated, for what is there already is not stored twice. Raises `InvalidInput`, `InputTooLarge`, `NotInLoop`,
    `NoRoom`, `StorageRefused`.
    """
    database = services.database
    there = await database.read(lambda connection: _kinds(connection, organization, project))
    plan = await asyncio.to_thread(_examine, path, there, otherwise, services.image_limits)
    done = Imported(categories=[each.name for each in plan.new_categories])

    def make(connection: Connection) -> None:
        categories.add(connection, project_key(connection, organization, project), plan.new_categories)

    await database.write(make)
    for start in range(0, len(plan.images), AT_ONCE):
        portion = plan.images[start : start + AT_ONCE]
        await to_its_end(_store(services, organization, project, path, portion, done))
    return done


def _kinds(connection: Connection, organization: str, project: str) -> dict[str, CategoryType]:
    found = categories.all_categories(connection, project_key(connection, organization, project))
    return {each.name: each.type for each in found}


def _examine(path: Path, there: Kinds, otherwise: CategoryType, limits: ImageLimits) -> _Plan:
    with opened(path) as archive:
        documents = list(_documents(archive))
        kinds = dict(there)
        images: list[_Ready] = []
        new: list[categories.NewCategory] = []
        for name, document in documents:
            new += coco.new_categories(document, kinds, otherwise)
            kinds |= coco.kinds_of(document, kinds, otherwise)
            found = _pictures(archive, name, document.images, limits)
            headers = {key: header for key, (_, header) in found.items()}
            readings = coco.read(document, kinds, headers)
            images += [_Ready(each, found[each.image.id][0], headers[each.image.id]) for each in readings]
    return _Plan(images, new)


def _documents(archive: DatasetZip) -> Iterator[tuple[str, coco.Coco]]:
    names = archive.documents()
    other: list[NotCocoError] = []
    for name in names:
        try:
            yield name, coco.parse(archive.read(name, MAX_DOCUMENT), name)
        except NotCocoError as error:
            other.append(error)
    if len(other) == len(names):
        why = f" ({other[0]})" if other else ""
        raise InvalidInput(f"The zip has no COCO document: a JSON file with images, categories and annotations{why}")


def _pictures(
    archive: DatasetZip, document: str, images: Sequence[CocoImage], limits: ImageLimits
) -> dict[CocoId, tuple[str, ImageHeader]]:
    """Image id -> member of the zip, and what it is."""
    members = {image.id: archive.find(image.file_name) for image in images}
    missing = [image.file_name for image in images if members[image.id] is None]
    if missing:
        raise InvalidInput(
            f"{document[:200]} names {len(missing)} pictures that are not in the zip, or not under one name alone: "
            f"{missing[0][:200]} is the first of them"
        )
    found: dict[CocoId, tuple[str, ImageHeader]] = {}
    for image in images:
        member = members[image.id]
        assert member is not None
        try:
            header = check_picture(archive.read(member, limits.max_bytes), limits)
        except (ImageUnreadable, InputTooLarge) as error:
            raise InvalidInput(f"{image.file_name[:200]}: {error}") from error
        coco.check_size(image, header)
        if len(image.tags) > MAX_TAGS:
            raise InvalidInput(f"{image.file_name[:200]}: {len(image.tags)} tags; up to {MAX_TAGS} are accepted")
        found[image.id] = (member, header)
    return found


async def _store(
    services: LoopServices, organization: str, project: str, path: Path, portion: Sequence[_Ready], done: Imported
) -> None:
    incoming: list[tuple[Incoming, Blob]] = []
    now = written(services.now())

    def add(connection: Connection) -> image_records.Stored:
        return image_records.add(connection, project_key(connection, organization, project), incoming, now)

    try:
        with services.blobs.keeping() as keeper:
            await asyncio.to_thread(_load, services, keeper, path, portion, incoming)
            stored = await services.database.write(add)
    except Exception:
        await forget(services.database, services.blobs, [blob.sha256 for _, blob in incoming])
        raise
    done.images += len(stored.new)
    done.known += stored.known
    for ready in portion:
        done.left_out += ready.reading.left_out
        done.annotations += len(ready.reading.annotations)


def _load(
    services: LoopServices,
    keeper: Keeper,
    path: Path,
    portion: Sequence[_Ready],
    incoming: list[tuple[Incoming, Blob]],
) -> None:
    with opened(path) as archive:
        for ready in portion:
            picture = archive.read(ready.member, services.image_limits.max_bytes)
            services.blobs.check_room(len(picture))
            blob = keeper.put(picture)
            image = ready.reading.image
            metadata = ImageMetadata(
                tags=image.tags, source=image.source, created=_date(image), state=ready.reading.state
            )
            incoming.append(
                (
                    Incoming(
                        ready.reading.name,
                        b"",
                        ready.header,
                        metadata,
                        drawn=ready.reading.annotations,
                        id=_uuid(image.loop_id),
                    ),
                    blob,
                )
            )


def _date(image: CocoImage) -> str | None:
    return image.created or (image.date_captured if isinstance(image.date_captured, str) else None)


def _uuid(text: str | None) -> str | None:
    try:
        return None if text is None else str(UUID(text))
    except ValueError:
        return None


async def export_zip(services: LoopServices, organization: str, project: str, states: Sequence[str]) -> Iterator[bytes]:
    """The images of a project in these states, as the bytes of a zip: the document, then the pictures.

    Iterating reads the disk. A picture that is deleted meanwhile is left out. Raises `NotInLoop`.
    """
    database = services.database
    key, known = await database.read(
        lambda db: (
            project_key(db, organization, project),
            categories.all_categories(db, project_key(db, organization, project)),
        )
    )
    writer = coco.Writer(known)
    pictures: list[tuple[str, str]] = []
    after: int | None = 0
    while after is not None:

        def turn(connection: Connection, after: int = after) -> tuple[list[dict[str, object]], int | None]:
            return image_records.page(connection, key, states, after, PAGE)

        found, after = await database.read(turn)
        for image in found:
            pictures.append((writer.add(image), str(image["sha256"])))
    document = writer.document(f"{organization}/{project.lower()}, states {', '.join(states)}")
    return iter(ZipStream(_members(services.blobs, document, pictures)))


def _members(
    blobs: Blobs, document: dict[str, object], pictures: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, bytes]]:
    yield coco.DOCUMENT, json.dumps(document, ensure_ascii=False).encode()
    for name, sha256 in pictures:
        try:
            yield f"images/{name}", blobs.read(sha256)
        except NotInLoop:
            continue
