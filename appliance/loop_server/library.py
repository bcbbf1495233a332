"""Models as they are added to the loop: numbered, told whose they are, packed and kept.

The number of a model stands in its zip, and packing takes its time: so the number is chosen first, and looked at again
in the transaction that takes it. Where another upload was faster, the zip is packed once more with the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection

from appliance.loop_server import model_records as records
from appliance.loop_server import training_records
from appliance.loop_server.blobs import Blob, Blobs, Keeper
from appliance.loop_server.db import Database
from appliance.loop_server.model_zips import (
    Belonging,
    ReceivedFile,
    document_of,
    properties_of,
    unpack_upload,
    write_zip,
)
from appliance.loop_server.numbering import (
    AlreadyStored,
    FurtherFormat,
    checked_format,
    next_major,
    next_minor,
    upload_of_training,
)
from appliance.loop_server.references import forget
from appliance.loop_server.services import LoopServices
from appliance.loop_server.tables import written
from models.errors import AlreadyInLoop, LoopBusy, LoopRefused
from models.uninterrupted import in_thread, to_its_end

log = logging.getLogger(__name__)

TRIES = 5
"""Times that a number is chosen before the uploader is asked to come again."""

_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Place:
    """Where an upload goes: a model that is there, or a new one of that version."""

    model_id: str
    version: str
    is_new: bool
    training: int | None = None
    base: str | None = None


Choice = Callable[[Connection, int], Place]
"""Chooses the place within a transaction, given the key of the project."""


class ModelLibrary:
    """Adds and removes models. `host` is what every `model.json` says of where it comes from."""

    def __init__(self, database: Database, blobs: Blobs, host: str, now: Callable[[], datetime]) -> None:
        self._database = database
        self._blobs = blobs
        self._host = host
        self._now = now

    @classmethod
    def of(cls, services: LoopServices) -> ModelLibrary:
        """That of a loop."""
        return cls(services.database, services.blobs, services.settings.host, services.now)

    async def add(
        self, organization: str, project: str, format: str, files: Sequence[ReceivedFile], folder: Path
    ) -> records.ModelRecord:
        """A model that somebody brings: the next major version. It need not have a `model.json`: a base model has none.

        `folder` is for what is made of the files, which may be moved there. Raises what `unpack_upload` does, `NotInLoop`
        for the project, `InvalidInput` for the format.
        """
        model_id = str(uuid4())

        def place(connection: Connection, key: int) -> Place:
            return Place(model_id, next_major(records.versions(connection, key)), is_new=True)

        return await self._store(organization, project, format, files, folder, place, otherwise={})

    async def add_format(
        self, organization: str, project: str, model_id: str, format: str, files: Sequence[ReceivedFile], folder: Path
    ) -> records.ModelRecord:
        """A format of a model that is there; one that is stored already is replaced. Raises as `add`.

        Without a `model.json` it has the categories and the resolution that its other formats have.
        """
        known = await self._model(organization, project, model_id)

        def place(connection: Connection, key: int) -> Place:
            found = records.model(connection, key, model_id)
            if found.version is None:
                raise LoopRefused(f"Model {model_id[:60]} is not published: it has no version", 409)
            return Place(model_id, found.version, is_new=False)

        return await self._store(organization, project, format, files, folder, place, otherwise=known.properties)

    async def add_of_training(
        self, organization: str, project: str, number: int, format: str, files: Sequence[ReceivedFile], folder: Path
    ) -> records.ModelRecord:
        """A format of the best model that the training `number` has found so far. Raises as `add`.

        Raises `AlreadyInLoop` with the model's id where this format of it is stored, `NotInLoop` for the training,
        `BundleError` where no `model.json` came.
        """
        model_id = str(uuid4())

        def place(connection: Connection, key: int) -> Place:
            base = training_records.training(connection, key, number).base_model_id
            best, last = training_records.standing(connection, key, number)
            match upload_of_training(last, best, format):
                case AlreadyStored(id=stored):
                    raise AlreadyInLoop(f"Training {number} has stored its best model as {format} already", id=stored)
                case FurtherFormat(id=stored):
                    found = records.version_of(connection, key, stored)
                    return Place(stored, found or "", is_new=False, training=number)
            begun = records.version_of(connection, key, base) if base else None
            version = next_minor(records.versions(connection, key), begun)
            return Place(model_id, version, is_new=True, training=number, base=base)

        # Before the files are looked at: a trainer that asks again shall hear so whatever it sends.
        await self._database.read(lambda db: place(db, records.project_key(db, organization, project)))
        return await self._store(organization, project, format, files, folder, place, otherwise=None)

    async def add_given(
        self,
        organization: str,
        project: str,
        model_id: str,
        version: str,
        training: int | None,
        format: str,
        files: Sequence[ReceivedFile],
        folder: Path,
    ) -> records.ModelRecord:
        """A format of a model whose id and version are given; the model is made if it is not there. Raises as `add`."""

        def place(connection: Connection, key: int) -> Place:
            is_new = records.version_of(connection, key, model_id) is None
            return Place(model_id, version, is_new, training)

        return await self._store(organization, project, format, files, folder, place, otherwise={})

    async def remove(self, organization: str, project: str, model_id: str) -> None:
        """Take a model away. Raises `NotInLoop`; `LoopRefused` where detectors shall run it."""

        def remove(connection: Connection) -> list[str]:
            key = records.project_key(connection, organization, project)
            deployed = records.target(connection, key)
            if deployed is not None and deployed.id == model_id:
                raise LoopRefused(
                    f"Model {deployed.version} is the deployment target: deploy another one, or none, and then delete it",
                    409,
                )
            return records.remove_model(connection, key, model_id, written(self._now()))

        await forget(self._database, self._blobs, await self._database.write(remove))

    async def _store(
        self,
        organization: str,
        project: str,
        format: str,
        files: Sequence[ReceivedFile],
        folder: Path,
        choose: Choice,
        otherwise: Mapping[str, Any] | None,
    ) -> records.ModelRecord:
        checked_format(format)
        model_folder, packed = folder / "model", folder / "packed.zip"
        place = await self._database.read(lambda db: choose(db, records.project_key(db, organization, project)))
        await in_thread(unpack_upload, files, model_folder)
        document = await asyncio.to_thread(document_of, model_folder, otherwise)
        for _ in range(TRIES):
            belonging = Belonging(place.model_id, self._host, organization, project.lower(), place.version, format)
            await in_thread(write_zip, model_folder, document, belonging, packed)
            try:
                entry = _Entry(organization, project, format, properties_of(document), place, choose)
                await to_its_end(self._keep(packed, entry))
            except _OutrunError as outrun:
                place = outrun.place
                continue
            return await self._model(organization, project, place.model_id)
        raise LoopBusy("Other models came in faster; try again", retry_after=2)

    async def _keep(self, packed: Path, entry: _Entry) -> None:
        """Zip and rows, both or neither. Raises `_OutrunError` where the place is not the right one any more."""
        touched: set[str] = set()
        try:
            with self._blobs.keeping() as keeper:
                blob = await asyncio.to_thread(_put, keeper, packed)
                touched.add(blob.sha256)
                replaced = await self._database.write(lambda db: entry.commit(db, blob, written(self._now())))
                touched |= {replaced} if replaced is not None else set()
        finally:
            await forget(self._database, self._blobs, touched)

    async def _model(self, organization: str, project: str, model_id: str) -> records.ModelRecord:
        return await self._database.read(
            lambda db: records.model(db, records.project_key(db, organization, project), model_id)
        )


class _OutrunError(Exception):
    """Another upload has taken the number; `place` is what is right now."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.place = place


@dataclass(frozen=True)
class _Entry:
    """What is written down of an upload, in one transaction."""

    organization: str
    project: str
    format: str
    properties: Mapping[str, Any]
    place: Place
    choose: Choice

    def commit(self, connection: Connection, blob: Blob, now: str) -> str | None:
        """Returns the sha256 of the zip that this one replaces."""
        key = records.project_key(connection, self.organization, self.project)
        place = self.choose(connection, key)
        if place != self.place:
            raise _OutrunError(place)
        if place.is_new:
            records.add_model(
                connection,
                key,
                place.model_id,
                place.version,
                now,
                self.properties,
                training=place.training,
                base=place.base,
            )
        replaced = records.add_zip(connection, key, place.model_id, self.format, blob.sha256, blob.size, now)
        if place.training is not None:
            training_records.uploaded(connection, key, place.training, place.model_id, now)
        return replaced


def _put(keeper: Keeper, path: Path) -> Blob:
    with path.open("rb") as file:
        return keeper.put_chunks(iter(lambda: file.read(_CHUNK), b""))
