"""`/api/v1/outbox…`: what waits for the Loop, picture by picture, and what the Loop did not want."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from appliance.outbox import folders
from appliance.outbox.folders import QUEUES, REJECTED, Folder
from appliance.outbox.queue import StoredPicture
from appliance.outbox.report import ItemReport, OutboxReport, item
from appliance.services import Services
from models.errors import InvalidInput
from models.image_headers import read_header
from models.wire.image_metadata import ImageMetadata

MOST_ITEMS = 1000

ItemId = Annotated[str, Path(pattern=folders.ID_PATTERN, description="as lists give it")]

NOT_HERE: dict[int | str, dict[str, Any]] = {404: {"description": "No such picture here, or no more"}}

Limit = Annotated[int, Query(ge=1, le=MOST_ITEMS, description="pictures in one answer")]
After = Annotated[str | None, Query(description="`next` of the answer before")]


class ItemPage(BaseModel):
    """Some pictures, and what to pass as `after` for those behind them; null where there are no more."""

    items: list[ItemReport]
    next: str | None


class WholeItem(ItemReport):
    """One picture with all that was stored with it."""

    metadata: ImageMetadata


class Done(BaseModel):
    """How many pictures it was done to."""

    count: int


def router(services: Services) -> APIRouter:
    """The routes, bound to the services."""
    made = APIRouter(prefix="/api/v1/outbox", tags=["outbox"])
    outbox = services.outbox

    async def page(limit: int, after: str | None, among: tuple[Folder, ...]) -> ItemPage:
        found = await asyncio.to_thread(outbox.items, limit, after, among)
        return ItemPage(items=[item(entry) for entry in found.items], next=found.next)

    async def stored(item_id: str) -> StoredPicture:
        found = await asyncio.to_thread(outbox.read, item_id)
        if found is None:
            raise not_here(item_id)
        return found

    @made.get("")
    async def how_it_is() -> OutboxReport:
        """What waits, what became of the rest, and how sending goes.

        curl http://localhost:8004/api/v1/outbox
        """
        return await services.outbox_report()

    @made.get("/items", responses={422: {"description": "A place that no answer gave"}})
    async def items(limit: Limit = 100, after: After = None) -> ItemPage:
        """What waits: those to be sent first, the oldest of them first; then the others, the newest first.

        curl 'http://localhost:8004/api/v1/outbox/items?limit=10'
        """
        return await page(limit, after, QUEUES)

    @made.delete("/items")
    async def clear() -> Done:
        """Delete all that waits. It is gone for good.

        curl -X DELETE http://localhost:8004/api/v1/outbox/items
        """
        return Done(count=await asyncio.to_thread(outbox.clear, QUEUES))

    @made.get("/items/{item_id}", responses=NOT_HERE)
    async def show(item_id: ItemId) -> WholeItem:
        """One picture, waiting or rejected, with what was found in it and why it is here.

        curl http://localhost:8004/api/v1/outbox/items/2024-01-31_12-34-56.789000
        """
        found = await stored(item_id)
        return WholeItem(**item(found.entry).model_dump(), metadata=found.metadata)

    @made.get(
        "/items/{item_id}/picture",
        response_class=Response,
        responses={200: {"content": {"image/*": {}}, "description": "The picture as it came"}, **NOT_HERE},
    )
    async def picture(item_id: ItemId) -> Response:
        """The picture, byte for byte as it came.

        curl -o photo.jpg http://localhost:8004/api/v1/outbox/items/2024-01-31_12-34-56.789000/picture
        """
        found = await stored(item_id)
        return Response(
            found.picture, media_type=media_type(found.picture), headers={"x-content-type-options": "nosniff"}
        )

    @made.delete("/items/{item_id}", responses=NOT_HERE)
    async def delete(item_id: ItemId) -> Done:
        """Delete one picture, waiting or rejected. It is gone for good.

        curl -X DELETE http://localhost:8004/api/v1/outbox/items/2024-01-31_12-34-56.789000
        """
        if not await asyncio.to_thread(outbox.remove, item_id):
            raise not_here(item_id)
        return Done(count=1)

    @made.post("/items/{item_id}/prioritise", responses=NOT_HERE)
    async def prioritise(item_id: ItemId) -> Done:
        """Have a waiting picture sent before the others.

        curl -X POST http://localhost:8004/api/v1/outbox/items/2024-01-31_12-34-56.789000/prioritise
        """
        if not await asyncio.to_thread(outbox.prioritise, item_id):
            raise not_here(item_id)
        return Done(count=1)

    @made.post("/items/{item_id}/retry", responses=NOT_HERE)
    async def retry_one(item_id: ItemId) -> Done:
        """Have a rejected picture sent once more.

        curl -X POST http://localhost:8004/api/v1/outbox/items/2024-01-31_12-34-56.789000/retry
        """
        if not await asyncio.to_thread(outbox.retry, [item_id]):
            raise not_here(item_id)
        return Done(count=1)

    @made.post("/retry")
    async def retry() -> Done:
        """Have all rejected pictures sent once more, and do not wait for the next try.

        curl -X POST http://localhost:8004/api/v1/outbox/retry
        """
        count = await asyncio.to_thread(outbox.retry)
        if services.uploader is not None:
            services.uploader.retry_now()
        return Done(count=count)

    @made.get("/rejected", responses={422: {"description": "A place that no answer gave"}})
    async def rejected(limit: Limit = 100, after: After = None) -> ItemPage:
        """What the Loop did not want, with its words, the newest first.

        curl http://localhost:8004/api/v1/outbox/rejected
        """
        return await page(limit, after, (REJECTED,))

    @made.delete("/rejected")
    async def clear_rejected() -> Done:
        """Delete all rejected pictures. They are gone for good.

        curl -X DELETE http://localhost:8004/api/v1/outbox/rejected
        """
        return Done(count=await asyncio.to_thread(outbox.clear, (REJECTED,)))

    return made


def not_here(item_id: str) -> HTTPException:
    """The answer to whoever asks for a picture that is not here."""
    return HTTPException(404, f"There is no picture {item_id} in the outbox; it may have been sent, or deleted")


def media_type(picture: bytes) -> str:
    """What kind of picture it is, for browsers."""
    try:
        return f"image/{read_header(picture).format.lower()}"
    except InvalidInput:
        return "application/octet-stream"
