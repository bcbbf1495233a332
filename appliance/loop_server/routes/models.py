"""Models: listed, downloaded, uploaded in one of four ways, and taken away."""

from __future__ import annotations

import re
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel

from appliance.api.bodies import MIB
from appliance.api.forms import described
from appliance.loop_server import model_records as records
from appliance.loop_server.downloads import download
from appliance.loop_server.library import ModelLibrary
from appliance.loop_server.open_doors import carried, enter
from appliance.loop_server.receiving import incoming_folder, receive_files
from appliance.loop_server.rights import PROJECT
from appliance.loop_server.services import INCOMING, LoopServices
from models.wire.loop import LoopModel

FORM = described("files", "one zip, or model.json and the weight files", several=True)

EXAMPLE = "curl -F 'files=@model.zip' …"

MAX_NUMBER = 2**31 - 1
"""Of a training: what every database holds."""

UPLOADED: dict[int | str, dict[str, Any]] = {
    404: {"description": "No such project, model or training"},
    413: {"description": "The model is too large, packed or unpacked, or has too many files"},
    422: {"description": "No zip or files that could be a model, or no name of a format"},
    507: {"description": "The disk is full; nothing was kept"},
}


class ModelList(BaseModel):
    """The models of a project."""

    models: list[LoopModel]


def router(services: LoopServices) -> APIRouter:
    """The routes, bound to the services."""
    routes = APIRouter(prefix=PROJECT, tags=["models"])
    database, settings = services.database, services.settings
    library = ModelLibrary.of(services)
    incoming = settings.data_folder / INCOMING

    def listed(record: records.ModelRecord) -> LoopModel:
        return records.listed(record, settings.host)

    @routes.get("/models")
    async def models(organization: str, project: str, format: str | None = None) -> ModelList:
        """The models of a project, the oldest first; with `format` only those that have it.

        curl 'http://localhost:8014/api/shop/projects/parts/models?format=litert'
        """
        found = await database.read(
            lambda db: records.all_models(db, records.project_key(db, organization, project), format)
        )
        return ModelList(models=[listed(record) for record in found])

    @routes.get(
        "/models/{model_id}/{format}/file",
        response_class=Response,
        responses={
            200: {"content": {"application/zip": {}}, "description": "The zip"},
            206: {"content": {"application/zip": {}}, "description": "The part of it that was asked for"},
            404: {"description": "No such model, or not in this format"},
            416: {"description": "The range begins behind the end of the zip"},
        },
    )
    async def file(request: Request, organization: str, project: str, model_id: str, format: str) -> Response:
        """The zip of a model in one format. A download that broke off is resumed with `Range` and `If-Range`.

        curl -OJ http://localhost:8014/api/shop/projects/parts/models/MODEL_ID/litert/file
        """
        enter(services, request)
        found = await database.read(
            lambda db: records.zip_of(db, records.project_key(db, organization, project), model_id, format)
        )
        headers = {"content-disposition": f'attachment; filename="{file_name(found, project)}"'}
        answer = await download(request, services.blobs, found.sha256, found.size, headers, "application/zip")
        carried(services, request, int(answer.headers["content-length"]))
        return answer

    @routes.put("/models/{model_id}/{format}/file", openapi_extra=FORM, responses=UPLOADED)
    async def add_format(request: Request, organization: str, project: str, model_id: str, format: str) -> LoopModel:
        """Add a format to a model, as converters do; one that is there already is replaced.

        curl -X PUT -F 'files=@model.json' -F 'files=@model.tflite' \
        http://localhost:8014/api/shop/projects/parts/models/MODEL_ID/litert/file
        """
        async with incoming_folder(incoming) as folder:
            files = await receive_files(request, folder, settings.max_model_mb * MIB, EXAMPLE)
            return listed(await library.add_format(organization, project, model_id, format, files, folder))

    @routes.put(
        "/trainings/{number}/models/latest/{format}/file",
        openapi_extra=FORM,
        responses={**UPLOADED, 409: {"description": "This format of the best model is stored: `detail.id` is its id"}},
    )
    async def add_of_training(
        request: Request,
        organization: str,
        project: str,
        number: Annotated[int, Path(ge=0, le=MAX_NUMBER)],
        format: str,
    ) -> LoopModel:
        """Upload the best model of a training in one format, with its `model.json`."""
        async with incoming_folder(incoming) as folder:
            files = await receive_files(request, folder, settings.max_model_mb * MIB, EXAMPLE)
            return listed(await library.add_of_training(organization, project, number, format, files, folder))

    @routes.delete(
        "/models/{model_id}",
        responses={404: {"description": "No such model"}, 409: {"description": "It is the deployment target"}},
    )
    async def remove(organization: str, project: str, model_id: str) -> dict[str, str]:
        """Delete a model in all its formats. Its version is not given to another one.

        curl -X DELETE http://localhost:8014/api/shop/projects/parts/models/MODEL_ID
        """
        await library.remove(organization, project, model_id)
        return {"id": model_id}

    return routes


def upload_router(services: LoopServices) -> APIRouter:
    """`POST …/{format}`, which has to come after every other route of a project."""
    routes = APIRouter(prefix=PROJECT, tags=["models"])
    settings = services.settings
    library = ModelLibrary.of(services)

    @routes.post("/{format}", openapi_extra=FORM, responses=UPLOADED)
    async def add(request: Request, organization: str, project: str, format: str) -> LoopModel:
        """Upload a model of one's own: it becomes the next major version. A base model needs no `model.json`.

        curl -F 'files=@model.zip' http://localhost:8014/api/shop/projects/parts/litert
        """
        async with incoming_folder(settings.data_folder / INCOMING) as folder:
            files = await receive_files(request, folder, settings.max_model_mb * MIB, EXAMPLE)
            return records.listed(await library.add(organization, project, format, files, folder), settings.host)

    return routes


def file_name(zip: records.ZipRecord, project: str) -> str:
    """What a download is called: letters, digits, `_`, `-` and `.` alone.

    Upstream's nodes unpack into a folder of this name in /tmp, which two of them on one machine must not share: so no two
    downloads are called the same.
    """
    name = f"{project}-{zip.model.version or 'unpublished'}-{zip.format}"
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}-{uuid4().hex[:12]}.zip"
