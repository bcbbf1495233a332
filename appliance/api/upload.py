"""`POST /upload`: pictures for the Loop, on disk before they are acknowledged."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request

from appliance.api.bodies import ENVELOPE, MIB, files_of
from appliance.api.detect import utf8
from appliance.api.forms import described
from appliance.inference.supervisor import Picture
from appliance.services import Services
from models.errors import InvalidInput
from models.wire.image_metadata import ImageMetadata
from models.wire.times import checked_date

FORM = described("files", "JPEG, PNG or WebP", several=True)

ERRORS: dict[int | str, dict[str, object]] = {
    413: {"description": "More bytes or pixels than this box accepts"},
    422: {"description": "Something that is no picture; nothing of the request was kept"},
    503: {"description": "Too much under way; `Retry-After` says when to try again"},
    507: {"description": "The outbox or the disk is full; nothing was kept"},
}

PICTURES_A_REQUEST = 4
"""So many pictures of the largest size may come in one request, or more of smaller ones."""


def router(services: Services) -> APIRouter:
    """The route, bound to the services."""
    made = APIRouter(tags=["upload"])
    limit = PICTURES_A_REQUEST * services.settings.max_image_mb * MIB + ENVELOPE

    @made.post("/upload", responses=ERRORS, openapi_extra=FORM)
    async def upload(
        request: Request,
        source: Annotated[str | None, Query(description="where the pictures come from")] = None,
        creation_date: Annotated[str | None, Query(description="ISO 8601, or YYYY-MM-DD_hh:mm:ss.mmm")] = None,
        upload_priority: Annotated[str | None, Query(description="true: send these before all others")] = None,
        source_header: Annotated[str | None, Header(alias="source", include_in_schema=False)] = None,
        date_header: Annotated[str | None, Header(alias="creation-date", include_in_schema=False)] = None,
        date_header_too: Annotated[str | None, Header(alias="creation_date", include_in_schema=False)] = None,
        priority_header: Annotated[str | None, Header(alias="upload-priority", include_in_schema=False)] = None,
        priority_header_too: Annotated[str | None, Header(alias="upload_priority", include_in_schema=False)] = None,
    ) -> tuple[int, str]:
        """Keep pictures for the Loop; they are tagged `picked_by_system`.

            curl -F 'files=@photo.jpg' 'http://localhost:8004/upload?source=test&upload_priority=true'

        When this answers 200 the pictures are on the disk and survive a power cut.
        """
        date = creation_date or utf8("creation-date", date_header or date_header_too)
        metadata = ImageMetadata(source=source or utf8("source", source_header), created=checked_date(date))
        priority = checked_bool("upload_priority", upload_priority or priority_header or priority_header_too)
        async with files_of(request, "files", limit, services.budget) as files:
            await services.detecting.upload([Picture(file) for file in files], metadata, priority=priority)
        return 200, "OK"

    return made


def checked_bool(name: str, value: object) -> bool:
    """Text or a JSON value as yes or no; null is no. Raises `InvalidInput`."""
    if isinstance(value, bool):
        return value
    word = "" if value is None else str(value).strip().lower()
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off", ""):
        return False
    raise InvalidInput(f"{name} is {str(value)[:60]!r}; it should be true or false")
