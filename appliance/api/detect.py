"""`POST /detect`: one picture in, what is in it out."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import cast, get_args

from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers

from access import caller_in, effective_autoupload
from appliance.api.bodies import ENVELOPE, MIB, files_of
from appliance.api.forms import described
from appliance.detecting import Wish
from appliance.inference.supervisor import Picture
from appliance.services import Services
from models.errors import InvalidInput
from models.wire.image_metadata import ImageMetadata
from models.wire.node_status import Autoupload
from models.wire.times import checked_date

FORM = described("file", "JPEG, PNG or WebP")

HEADERS = [
    {"in": "header", "name": name, "required": False, "description": description, "schema": {"type": "string"}}
    for name, description in (
        ("camera-id", "which camera took the picture"),
        ("tags", "comma separated, for the Loop"),
        ("source", "where the picture comes from, for the Loop"),
        ("autoupload", "filtered (the default), all or disabled: whether the Loop gets the picture"),
        ("creation-date", "ISO 8601, or YYYY-MM-DD_hh:mm:ss.mmm"),
    )
]
"""As documented. FastAPI would read them one by one at several times the cost, and knows no second spelling."""

ERRORS: dict[int | str, dict[str, object]] = {
    413: {"description": "More bytes or pixels than this box accepts"},
    422: {"description": "No picture that can be read, or a header that cannot be understood"},
    503: {"description": "No model, or too much to do; `Retry-After` says when to try again"},
}


def utf8(name: str, value: str | None) -> str | None:
    """A header's value as people typed it: HTTP hands over bytes as Latin-1, curl sends UTF-8. Empty is None."""
    if not value:
        return None
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The header {name} is no UTF-8 text") from error


def checked_autoupload(value: object) -> Autoupload:
    """`filtered`, `all` or `disabled`; null and empty mean `filtered`. Raises `InvalidInput`."""
    if value is None or value == "":
        return "filtered"
    if value not in get_args(Autoupload):
        raise InvalidInput(f"autoupload is {str(value)[:60]!r}; it should be one of {', '.join(get_args(Autoupload))}")
    return cast(Autoupload, value)


def split_tags(text: str | None) -> tuple[str, ...]:
    """Comma separated tags."""
    return tuple(tag.strip() for tag in (text or "").split(",") if tag.strip())


def wish_of_headers(headers: Headers) -> Wish:
    """What the headers of a detection say, in every spelling that upstream's documentation ever had.

    Raises `InvalidInput`.
    """

    def text(*names: str) -> str | None:
        return next((value for name in names if (value := utf8(name, headers.get(name)))), None)

    return Wish(
        camera_id=text("camera-id", "camera_id", "mac"),
        tags=split_tags(text("tags")),
        source=text("source"),
        created=checked_date(text("creation-date", "creation_date")),
        autoupload=checked_autoupload(text("autoupload")),
    )


def server_timing(timings: dict[str, float], total: float) -> str:
    """The `server-timing` header: milliseconds per stage, as browsers show them."""
    stages = [f"{name};dur={milliseconds:.2f}" for name, milliseconds in timings.items()]
    return ", ".join([*stages, f"total;dur={total:.2f}"])


def router(services: Services) -> APIRouter:
    """The route, bound to the services."""
    made = APIRouter(tags=["detect"])
    limit = services.settings.max_image_mb * MIB + ENVELOPE

    @made.post("/detect", response_model=ImageMetadata, responses=ERRORS, openapi_extra={**FORM, "parameters": HEADERS})
    async def detect(request: Request) -> Response:
        """What is in a picture.

            curl -F 'file=@photo.jpg' http://localhost:8004/detect -H 'camera-id: front' -H 'autoupload: disabled'

        Boxes are top-left x, y, width and height, points are centres, all in pixels of the picture as displayed. The header
        `server-timing` says where the milliseconds went, `x-upload-reasons` why the picture was picked for the Loop,
        `x-upload-dropped` why it was not kept all the same.
        """
        started = time.perf_counter()
        wish = wish_of_headers(request.headers)
        wish = replace(
            wish,
            autoupload=effective_autoupload(caller_in(request.scope), wish.autoupload),
            max_wait=services.settings.max_wait_rest_s,
        )
        with services.metrics.detection("rest"):
            async with files_of(request, "file", limit, services.budget) as files:
                if len(files) > 1:
                    raise InvalidInput(
                        f"The form has {len(files)} files in the field 'file'; send one picture a request"
                    )
                detected = await services.detecting.detect(Picture(files[0]), wish)
        headers = {"server-timing": server_timing(detected.timings, 1e3 * (time.perf_counter() - started))}
        if detected.reasons:
            headers["x-upload-reasons"] = ",".join(detected.reasons)
        if detected.not_kept is not None:
            headers["x-upload-dropped"] = detected.not_kept
        services.metrics.stages(detected.timings)
        return Response(detected.metadata.model_dump_json(), media_type="application/json", headers=headers)

    return made
