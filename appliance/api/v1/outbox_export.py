"""`/api/v1/outbox/export`: pictures of the outbox as a zip, made while it is sent."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import StringConstraints

from appliance.api.streaming import Stream, Turns
from appliance.outbox import folders
from appliance.outbox.export import SELECTIONS, Selection, packed
from appliance.services import Services

MOST_NAMED = 500
"""Pictures that one address can name."""

EXPORTS_AT_ONCE = 2
"""Each has one picture in memory, and the names of all."""

Folder = Annotated[Selection, Query(description="`waiting`: those that go first and the others")]
Named = Annotated[
    list[Annotated[str, StringConstraints(pattern=folders.ID_PATTERN)]] | None,
    Query(alias="id", max_length=MOST_NAMED, description="only these, whatever folder they are in; may be repeated"),
]


def router(services: Services) -> APIRouter:
    """The route, bound to the services."""
    made = APIRouter(prefix="/api/v1/outbox", tags=["outbox"])
    outbox, turns = services.outbox, Turns(EXPORTS_AT_ONCE)

    @made.get(
        "/export",
        response_class=Response,
        responses={
            200: {
                "content": {"application/zip": {}},
                "description": "Pictures, metadata, and manifest.json at the end",
            },
            503: {"description": "Others are fetching pictures now"},
        },
    )
    async def export(folder: Folder = "waiting", named: Named = None) -> Response:
        """A zip of pictures as they came, each with its metadata, made while it is sent; nothing is deleted.

        What is sent or deleted meanwhile is left out, and named in manifest.json, the last file; without that the zip
        was cut off.

        curl -o pictures.zip 'http://localhost:8004/api/v1/outbox/export?folder=all'
        """
        turns.take()
        try:
            ids = (
                await asyncio.to_thread(outbox.ids, SELECTIONS[folder]) if named is None else list(dict.fromkeys(named))
            )
            box = re.sub(r"[^A-Za-z0-9_.-]", "_", services.settings.node_name)
            what = folder if named is None else "picked"
            headers = {
                "content-disposition": f'attachment; filename="pictures-{box}-{what}.zip"',
                "cache-control": "no-store",
            }
            return Stream(packed(ids, outbox.read), turns, headers, "application/zip")
        except BaseException:
            turns.give_back()
            raise

    return made
