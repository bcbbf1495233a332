"""Bodies of requests that are read whole before a route sees them: bounded in size, and in how long they may take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from appliance.api.bodies import MIB, chunks, declared_size

MAX_BODY = 32 * MIB
"""The largest are detections of a hundred images."""


class WholeBody(APIRoute):
    """A route whose body is a piece of JSON or a short form: `APIRouter(route_class=WholeBody)`."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """See FastAPI. Raises `InputTooLarge`, `InvalidInput`."""
        handle = super().get_route_handler()

        async def with_body(request: Request) -> Response:
            declared_size(request, MAX_BODY)
            body = b"".join([chunk async for chunk in chunks(request, MAX_BODY)])

            async def receive() -> MutableMapping[str, Any]:
                return {"type": "http.request", "body": body, "more_body": False}

            return await handle(Request(request.scope, receive))

        return with_body
