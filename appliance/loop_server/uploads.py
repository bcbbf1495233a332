"""Receives forms of pictures and stores them: the whole batch or nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from sqlalchemy import Connection
from starlette.requests import Request

from appliance.api.bodies import ENVELOPE, MIB, Reservation, chunks, declared_size
from appliance.api.forms import FormFiles
from appliance.loop_server import image_records
from appliance.loop_server.blobs import Blob, Keeper
from appliance.loop_server.image_forms import FormFile, Incoming, read_form
from appliance.loop_server.image_records import Stored
from appliance.loop_server.projects import project_key
from appliance.loop_server.references import forget
from appliance.loop_server.services import LoopServices
from appliance.loop_server.tables import written
from models.errors import InputTooLarge, InvalidInput, LoopRefused
from models.uninterrupted import to_its_end

SYNCED_AT_ONCE = 4

EXAMPLE = "curl -F 'files=@image_1.json' -F 'files=@image_1.jpg' …"


async def receive(services: LoopServices, request: Request, taken: Reservation) -> list[FormFile]:
    """The files of a form.

    Clients drop what is answered with 422, or halve it where there are several pictures: so that is the answer to a form
    that is too large, and must not be that to a connection which broke off (408). Raises `LoopRefused`, `InvalidInput`,
    `Overloaded`.
    """
    limit = services.settings.max_upload_mb * MIB + ENVELOPE
    form = FormFiles(request.headers.get("content-type", ""), "files", EXAMPLE)
    try:
        taken.check(declared_size(request, limit))
        body = chunks(request, limit, taken)
        while (chunk := await _next(body)) is not None:
            form.feed(chunk)
    except InputTooLarge as error:
        raise LoopRefused(f"{error}; send fewer pictures at once", 422) from error
    return [FormFile(file.name, file.take()) for file in form.finish()]


async def _next(body: AsyncGenerator[bytes, None]) -> bytes | None:
    try:
        return await anext(body, None)
    except InputTooLarge:
        raise
    except InvalidInput as error:
        raise LoopRefused(str(error), 408) from error


async def store(services: LoopServices, organization: str, project: str, files: Sequence[FormFile]) -> Stored:
    """Check the pictures of a form and keep them; once begun, this comes to its end even if the caller is cancelled.

    Raises `InvalidInput`, `NotInLoop`, `NoRoom`, `StorageRefused`.
    """
    incoming = await asyncio.to_thread(read_form, files, services.image_limits)
    return await to_its_end(_store(services, organization, project, incoming))


async def _store(services: LoopServices, organization: str, project: str, incoming: Sequence[Incoming]) -> Stored:
    now = written(services.now())
    blobs: list[Blob] = []

    def add(connection: Connection) -> Stored:
        key = project_key(connection, organization, project)
        return image_records.add(connection, key, list(zip(incoming, blobs, strict=True)), now)

    try:
        with services.blobs.keeping() as keeper:
            await _put(services, keeper, incoming, blobs)
            return await services.database.write(add)
    except Exception:
        await forget(services.database, services.blobs, [blob.sha256 for blob in blobs])
        raise


async def _put(services: LoopServices, keeper: Keeper, incoming: Sequence[Incoming], blobs: list[Blob]) -> None:
    """Several at once: a disk syncs a few files in the time of one."""
    await asyncio.to_thread(services.blobs.check_room, sum(len(each.picture) for each in incoming))
    for start in range(0, len(incoming), SYNCED_AT_ONCE):
        some = incoming[start : start + SYNCED_AT_ONCE]
        puts = [asyncio.to_thread(keeper.put, each.picture) for each in some]
        done = await asyncio.gather(*puts, return_exceptions=True)
        blobs.extend(each for each in done if isinstance(each, Blob))
        for each in done:
            if isinstance(each, BaseException):
                raise each
