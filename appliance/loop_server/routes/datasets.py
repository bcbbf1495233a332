"""Data sets as people have them: a project in and out as COCO."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from appliance.api.bodies import MIB
from appliance.api.forms import described
from appliance.loop_server import image_records
from appliance.loop_server.coco_transfer import export_zip, import_zip
from appliance.loop_server.projects import project_key
from appliance.loop_server.receiving import incoming_folder, receive_files
from appliance.loop_server.rights import PROJECT
from appliance.loop_server.services import INCOMING, LoopServices
from models.errors import InvalidInput
from models.wire.model_information import CategoryType

EXAMPLE = "curl -F 'files=@dataset.zip' …"


class ImportAnswer(BaseModel):
    """What became of an import. `known` images were there before; `left_out` counts annotations, by reason."""

    images: int
    known: int
    annotations: int
    categories: list[str]
    left_out: dict[str, int]


def router(services: LoopServices) -> APIRouter:
    """`…/export/coco` and `…/import/coco`."""
    routes = APIRouter(prefix=PROJECT, tags=["data sets"])

    @routes.get(
        "/export/coco",
        response_class=Response,
        responses={
            200: {"content": {"application/zip": {}}, "description": "annotations.json, and the pictures in images/"},
            404: {"description": "No such project"},
        },
    )
    async def export(organization: str, project: str, state: str | None = None) -> StreamingResponse:
        """All images (with `state`, comma separated, only those; else all but the trash) with their annotations as COCO.

        curl -o bolts.zip http://localhost:8014/api/acme/projects/bolts/export/coco
        """
        chunks = await export_zip(services, organization, project, image_records.checked_states(state))
        headers = {"content-disposition": f'attachment; filename="{project.lower()}-coco.zip"'}
        return StreamingResponse(chunks, media_type="application/zip", headers=headers)

    @routes.post(
        "/import/coco",
        openapi_extra=described("files", "a zip of COCO documents (JSON) and the pictures that they name"),
        responses={
            404: {"description": "No such project"},
            413: {"description": "Too large"},
            422: {"description": "Something is wrong with the data set; nothing was imported"},
            507: {"description": "The disk is full"},
        },
    )
    async def import_(request: Request, organization: str, project: str, type: CategoryType = "box") -> ImportAnswer:
        """Bring a data set in: categories that the project lacks are made, images that it has are not stored twice.

        `type` says what annotations are to become where neither the project nor the document says it. Annotated images are
        filed as `complete`, the others as `inbox`, unless the document was exported here and says better. An import that
        broke off may be repeated.

        curl -F 'files=@bolts.zip' http://localhost:8014/api/acme/projects/bolts/import/coco
        """
        await services.database.read(lambda db: project_key(db, organization, project))
        async with incoming_folder(services.settings.data_folder / INCOMING) as folder:
            files = await receive_files(request, folder, services.settings.max_model_mb * MIB, EXAMPLE)
            if len(files) != 1:
                raise InvalidInput(f"{len(files)} files; send one zip with the documents and the pictures in it")
            done = await import_zip(services, organization, project, files[0].path, type)
        return ImportAnswer(
            images=done.images,
            known=done.known,
            annotations=done.annotations,
            categories=done.categories,
            left_out=dict(done.left_out),
        )

    return routes
