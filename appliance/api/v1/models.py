"""`/api/v1/models`: the models on this box."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from appliance.api.bodies import MIB, check_is_form, chunks, declared_size
from appliance.outbox.room import MEGABYTE
from appliance.services import Services
from appliance.versions.updater import failures_in_words
from models.errors import InvalidInput, NoRoom
from models.files import FILE_SYSTEM, refusal
from models.store import StoredModel

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_ZIP = 512 * MIB
"""Bytes of a model that is sent to the box; what it may unpack to is bounded on its own."""

EXAMPLE = "curl -F 'file=@model.zip' …"

FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary", "description": "a zip"}},
                }
            }
        },
    }
}


class ModelItem(BaseModel):
    """One model on this box."""

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


class ModelList(BaseModel):
    """All models, folders that should be models and are none, and models that failed."""

    models: list[ModelItem]
    broken: list[dict[str, str]]
    failures: list[dict[str, str]]


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
    check_is_form(request, EXAMPLE)
    _, options = parse_options_header(request.headers["content-type"])
    part = _FilePart()
    target = await asyncio.to_thread(path.open, "wb")
    try:
        parser = MultipartParser(options.get(b"boundary", b""), part.callbacks())
        async for chunk in chunks(request, MAX_ZIP):
            parser.write(chunk)
            if data := part.taken():
                await asyncio.to_thread(_write, target, data, path.parent, free_space_floor)
    except FormParserError as error:
        raise InvalidInput(f"The multipart form cannot be read ({error}): {EXAMPLE}") from error
    except OSError as error:
        raise refusal(error, "store the model") from error
    finally:
        await asyncio.to_thread(target.close)
    if part.files != 1 or not part.complete:
        raise InvalidInput(f"The form should have one whole file in the field 'file': {EXAMPLE}")


def _write(target: BinaryIO, data: bytes, folder: Path, free_space_floor: int) -> None:
    if FILE_SYSTEM.free_bytes(folder) - len(data) < free_space_floor:
        raise NoRoom("The disk is nearly full: remove models or pictures that are not needed")
    target.write(data)


class _FilePart:
    """Collects what belongs to the file in the field `file`, as python-multipart finds it."""

    def __init__(self) -> None:
        self.files = 0
        self.complete = False
        self._ours = False
        self._header, self._value, self._disposition = b"", b"", b""
        self._data = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        """For the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_data,
            "on_part_end": self._end,
        }

    def taken(self) -> bytes:
        """What has come of the file since the last call."""
        data = bytes(self._data)
        self._data.clear()
        return data

    def _begin(self) -> None:
        self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._ours = options.get(b"name") == b"file" and b"filename" in options and self.files == 0
        self.files += options.get(b"name") == b"file"

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._ours:
            self._data += data[start:end]

    def _end(self) -> None:
        self.complete = self.complete or self._ours
