"""`/api/v1/models`: the models on this box."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from appliance.api.bodies import MIB, chunks, declared_size
from appliance.api.forms import FormFiles, described
from appliance.outbox.room import MEGABYTE
from appliance.services import Services
from appliance.versions.reference import ModelReference
from appliance.versions.service import failures_in_words
from models.errors import InvalidInput, NoRoom
from models.files import FILE_SYSTEM, refusal
from models.store import StoredModel
from models.uninterrupted import in_thread

MAX_ZIP = 512 * MIB
"""Bytes of a model that is sent to the box; what it may unpack to is bounded on its own."""

EXAMPLE = "curl -F 'file=@model.zip' …"

FORM = described("file", "a zip")


class ServicePeriod(BaseModel):
    """From when to when a model served, ISO 8601; null where the clock of the box was not set, or it serves still."""

    since: datetime | None
    until: datetime | None


class ModelItem(BaseModel):
    """One model on this box. `served`: the latest first; where it is `current`, the first of these goes on."""

    model_config = ConfigDict(protected_namespaces=())

    organization: str
    project: str
    format: str
    version: str
    id: str
    size_bytes: int
    read_only: bool
    current: bool
    selectable: bool
    served: list[ServicePeriod]


class ModelList(BaseModel):
    """All models, folders that should be models and are none, and models that failed.

    `foreign` are those that learning-loop-node has left here and this box cannot run.
    """

    models: list[ModelItem]
    broken: list[dict[str, str]]
    failures: list[dict[str, str]]
    foreign: list[dict[str, str]]


def router(services: Services) -> APIRouter:
    """The routes, bound to the services."""
    made = APIRouter(prefix="/api/v1/models", tags=["models"])

    def item(model: StoredModel) -> ModelItem:
        current = services.versions.current
        serves = current is not None and model.identity == (
            current.organization,
            current.project,
            current.format,
            current.version,
        )
        return ModelItem(
            **model.identity._asdict(),
            id=model.id,
            size_bytes=model.size_bytes,
            read_only=model.read_only,
            current=serves,
            selectable=services.versions.scope.holds(model),
            served=[
                ServicePeriod(since=each.since, until=each.until)
                for each in services.versions.state.periods_of(ModelReference.of(model))
            ],
        )

    @made.get("")
    async def models() -> ModelList:
        """Every model on this box.

        curl http://localhost:8004/api/v1/models
        """
        found, broken = await services.versions.list()
        return ModelList(
            models=[item(model) for model in found],
            broken=[{"folder": str(folder), "reason": reason} for folder, reason in broken],
            failures=failures_in_words(services.versions.state.failures),
            foreign=services.adopted.foreign(),
        )

    responses: dict[int | str, dict[str, Any]] = {
        409: {"description": "The same version with other bytes is here already"},
        413: {"description": "The zip is too large, packed or unpacked"},
        422: {"description": "No zip, or no model in it that this box understands"},
        507: {"description": "The disk is full; nothing was kept"},
    }

    @made.post("", status_code=201, openapi_extra=FORM, responses=responses)
    async def add(request: Request) -> ModelItem:
        """Add a model as a zip of model.json and its weights.

        curl -F 'file=@model.zip' http://localhost:8004/api/v1/models
        """
        declared_size(request, MAX_ZIP)
        with services.incoming() as folder:
            path = folder / "model.zip"
            await _receive(request, path, services.settings.min_free_disk_mb * MEGABYTE)
            return item(await services.versions.add(path))

    @made.delete(
        "/{version}",
        responses={
            400: {"description": "No such version here"},
            409: {"description": "It serves, or ships with the box"},
        },
    )
    async def remove(
        version: str, organization: str | None = None, project: str | None = None, format: str | None = None
    ) -> ModelItem:
        """Remove a model from the disk.

        curl -X DELETE http://localhost:8004/api/v1/models/1.3
        """
        wanted = "/".join(part for part in (organization, project, format, version) if part)
        return item(await services.versions.remove(wanted))

    return made


async def _receive(request: Request, path: Path, free_space_floor: int) -> None:
    """The form's file, straight to the disk on which it will live: /tmp may be small, or memory."""
    form = FormFiles(request.headers.get("content-type", ""), "file", EXAMPLE)
    try:
        target = await asyncio.to_thread(path.open, "wb")
        try:
            async for chunk in chunks(request, MAX_ZIP):
                form.feed(chunk)
                if len(form.files) > 1:
                    raise InvalidInput(f"The form has several files in the field 'file'; send one model: {EXAMPLE}")
                if form.files and (data := form.files[0].take()):
                    await in_thread(_write, target, data, path.parent, free_space_floor)
        finally:
            await in_thread(target.close)
    except OSError as error:
        raise refusal(error, "store the model") from error
    form.finish()


def _write(target: BinaryIO, data: bytes, folder: Path, free_space_floor: int) -> None:
    if FILE_SYSTEM.free_bytes(folder) - len(data) < free_space_floor:
        raise NoRoom("The disk is nearly full: remove models or pictures that are not needed")
    target.write(data)
