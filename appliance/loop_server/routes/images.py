"""Images: uploaded by detectors, read by trainers, sorted and annotated by people."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, FiniteFloat
from sqlalchemy import Connection

from appliance.api.forms import described as form
from appliance.loop_server import categories, image_records, open_doors
from appliance.loop_server.downloads import download
from appliance.loop_server.findings import Annotations
from appliance.loop_server.projects import project_key
from appliance.loop_server.references import forget
from appliance.loop_server.rights import PROJECT
from appliance.loop_server.routes.bodies import WholeBody
from appliance.loop_server.services import LoopServices
from appliance.loop_server.tables import written
from appliance.loop_server.uploads import receive, store
from models.errors import InvalidInput
from models.wire.detections import (
    BoxDetection,
    ClassificationDetection,
    ImageDetections,
    PointDetection,
    SegmentationDetection,
)
from models.wire.model_information import Category

MAX_IDS = 1000
"""Images that one request may ask for, in bounds that an address line has room for."""

MAX_MOVED = 100_000
MAX_DETECTED = 1000

State = Literal["backlog", "inbox", "annotate", "review", "complete", "trash"]

NOT_THERE: dict[int | str, dict[str, Any]] = {404: {"description": "No such project or image"}}


class ProjectData(BaseModel):
    """What a trainer asks first: which images there are, and the categories."""

    image_ids: list[str]
    categories: list[Category]


class BoxOut(BaseModel):
    """A box that a person drew; pixels, top left. `category_id` is null where the project has no such category."""

    id: str
    category_id: str | None
    category_name: str
    x: int
    y: int
    width: int
    height: int


class PointOut(BaseModel):
    """A point that a person set; pixels."""

    id: str
    category_id: str | None
    category_name: str
    x: float
    y: float


class SegmentationOut(BaseModel):
    """A polygon that a person drew: `shape.points`, each with x and y in pixels."""

    id: str
    category_id: str | None
    category_name: str
    shape: dict[str, list[dict[str, float]]]


class ClassificationOut(BaseModel):
    """What a person says of the whole image."""

    id: str
    category_id: str | None
    category_name: str


class ImageData(BaseModel):
    """An image with all that is known of it; width and height in pixels as displayed, size in bytes."""

    id: str
    name: str
    set: Literal["train", "test", "val"]
    state: State
    width: int
    height: int
    format: Literal["jpeg", "png", "webp"]
    size: int
    sha256: str
    tags: list[str]
    source: str | None
    created: str | None
    received: str
    novelty_score: float | None
    extras: dict[str, Any]
    box_annotations: list[BoxOut]
    point_annotations: list[PointOut]
    segmentation_annotations: list[SegmentationOut]
    classification_annotation: ClassificationOut | None
    box_detections: list[BoxDetection]
    point_detections: list[PointDetection]
    segmentation_detections: list[SegmentationDetection]
    classification_detections: list[ClassificationDetection]


class ImagesAnswer(BaseModel):
    """Images; `next` (only when asked by state) is where the next page begins, null at the end."""

    images: list[ImageData]
    next: int | None = None


class UploadAnswer(BaseModel):
    """What became of an upload. `known` images were here before, and were not stored twice."""

    image_ids: list[str]
    known: int


class Move(BaseModel):
    """Body of `PUT …/images/state`."""

    ids: Annotated[list[str], Field(max_length=MAX_MOVED)]
    state: State


class Unknown(BaseModel):
    """The ids that the project does not have; everything else was done."""

    unknown: list[str]


def router(services: LoopServices) -> APIRouter:
    """Everything below `…/images` and `…/data`, and `POST …/detections`."""
    routes = APIRouter(prefix=PROJECT, tags=["images"], route_class=WholeBody)
    database = services.database

    @routes.get("/data", responses=NOT_THERE)
    async def data(organization: str, project: str, state: str | None = None) -> ProjectData:
        """The ids of all images (with `state`, comma separated, only those; else all but the trash) and the categories."""
        states = image_records.checked_states(state)

        def ask(connection: Connection) -> tuple[list[str], list[Category]]:
            key = project_key(connection, organization, project)
            return image_records.ids(connection, key, states), categories.all_categories(connection, key)

        image_ids, found = await database.read(ask)
        return ProjectData(image_ids=image_ids, categories=found)

    @routes.get("/images", responses={**NOT_THERE, 200: {"model": ImagesAnswer}})
    async def images(
        organization: str,
        project: str,
        ids: str | None = None,
        model_version: str | None = None,
        state: str | None = None,
        after: Annotated[int, Query(ge=0, le=2**53)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_IDS)] = 100,
    ) -> JSONResponse:
        """Images by `ids` (comma separated, up to 1000), or in pages by `state`.

        With `model_version`, the detections are those of that model alone. The answer to a page says in `next` what to
        give as `after` for the following one.
        """
        if ids is None:
            states = image_records.checked_states(state)

            def turn(connection: Connection) -> dict[str, Any]:
                key = project_key(connection, organization, project)
                found, following = image_records.page(connection, key, states, after, limit, model_version)
                return {"images": found, "next": following}

            return JSONResponse(await database.read(turn))
        wanted = [each for each in (part.strip() for part in ids.split(",")) if each]
        if len(wanted) > MAX_IDS:
            raise InvalidInput(f"{len(wanted)} ids; ask for up to {MAX_IDS} at once")

        def ask(connection: Connection) -> dict[str, Any]:
            key = project_key(connection, organization, project)
            return {"images": image_records.described(connection, key, wanted, model_version)}

        return JSONResponse(await database.read(ask))

    @routes.get(
        "/images/{image_id}/main",
        response_class=Response,
        responses={**NOT_THERE, 200: {"content": {"image/jpeg": {}}, "description": "The picture, byte for byte"}},
    )
    async def picture(request: Request, organization: str, project: str, image_id: str) -> Response:
        """The picture as it was uploaded."""
        sha256, size, kind = await database.read(lambda db: image_records.picture(db, organization, project, image_id))
        return await download(request, services.blobs, sha256, size, {}, f"image/{kind}")

    @routes.put("/images/{image_id}/annotations", responses=NOT_THERE)
    async def annotate(organization: str, project: str, image_id: str, body: Annotations) -> dict[str, str]:
        """Replace all annotations of an image. Categories are named by id or by name, and have to exist."""

        def act(connection: Connection) -> None:
            image_records.annotate(connection, project_key(connection, organization, project), image_id, body)

        await database.write(act)
        return {"id": image_id}

    @routes.put("/images/state", responses=NOT_THERE)
    async def move(organization: str, project: str, body: Move) -> Unknown:
        """Put images into a state."""

        def act(connection: Connection) -> list[str]:
            return image_records.move(connection, project_key(connection, organization, project), body.ids, body.state)

        return Unknown(unknown=await database.write(act))

    @routes.put("/images/novelty_scores", responses=NOT_THERE)
    async def score(organization: str, project: str, body: dict[str, FiniteFloat]) -> Unknown:
        """Note how new images look: id -> score."""

        def act(connection: Connection) -> list[str]:
            return image_records.score(connection, project_key(connection, organization, project), body)

        return Unknown(unknown=await database.write(act))

    @routes.delete("/images/{image_id}", responses=NOT_THERE)
    async def remove(organization: str, project: str, image_id: str) -> dict[str, str]:
        """Delete an image for good; to be able to get it back, move it to `trash` instead."""

        def act(connection: Connection) -> str:
            return image_records.remove(connection, project_key(connection, organization, project), image_id)

        await forget(database, services.blobs, [await database.write(act)])
        return {"id": image_id}

    @routes.post("/detections", responses=NOT_THERE)
    async def detected(
        organization: str, project: str, body: Annotated[list[ImageDetections], Field(max_length=MAX_DETECTED)]
    ) -> Unknown:
        """Note what a model has found in images of the loop; it replaces what the same version had found in them before."""
        now = written(services.now())

        def act(connection: Connection) -> list[str]:
            return image_records.detected(connection, project_key(connection, organization, project), body, now)

        return Unknown(unknown=await database.write(act))

    return routes


def upload_router(services: LoopServices) -> APIRouter:
    """`POST …/images`, whose body is read as it comes."""
    routes = APIRouter(prefix=PROJECT, tags=["images"])

    @routes.post(
        "/images",
        openapi_extra=form("files", "image_<id>.json and image_<id>.jpg, any number of such pairs", several=True),
        responses={
            404: {"description": "No such project"},
            408: {"description": "The connection broke off; send it again"},
            422: {"description": "Something is wrong with a picture or its JSON; nothing of the form was stored"},
            429: {"description": "Too much without a login; `Retry-After` says when to go on"},
            507: {"description": "The disk is full; nothing was stored"},
        },
    )
    async def upload(request: Request, organization: str, project: str) -> UploadAnswer:
        """Pictures with their metadata, as detectors send them: all are stored, or none.

        An image that is here already, under the same name and with the same bytes, is not stored twice.

        curl -F 'files=@image_1.json' -F 'files=@image_1.jpg' http://localhost:8014/api/acme/projects/bolts/images
        """
        open_doors.enter(services, request)
        await services.database.read(lambda db: project_key(db, organization, project))
        with services.budget.reserve() as taken:
            files = await receive(services, request, taken)
            open_doors.carried(services, request, taken.size)
            stored = await store(services, organization, project, files)
        return UploadAnswer(image_ids=list(stored.new), known=stored.known)

    return routes
