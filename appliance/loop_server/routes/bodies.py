"""Bodies of requests that are read whole before a route sees them: bounded in size, and in how long they may take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from access import Kind, caller_in
from appliance.api.bodies import MIB, Budget, chunks, declared_size

MAX_BODY = 32 * MIB
"""The largest are detections of a hundred images."""

MAX_BODY_OF_ANYBODY = MIB // 4
"""Of those who have logged in without a name: the status of a detector."""


class WholeBody(APIRoute):
    """A route whose body is a piece of JSON or a short form: `APIRouter(route_class=WholeBody)`.

    Bodies that are in memory count against the budget of the application's state.
    """

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """See FastAPI. Raises `InputTooLarge`, `InvalidInput`, `Overloaded`."""
        handle = super().get_route_handler()

        async def with_body(request: Request) -> Response:
            known = caller_in(request.scope).kind not in {Kind.NODE, Kind.STRANGER}
            limit = MAX_BODY if known else MAX_BODY_OF_ANYBODY
            budget: Budget = request.app.state.budget
            budget.check(declared_size(request, limit))
            with budget.reserve() as taken:
                body = b"".join([chunk async for chunk in chunks(request, limit, taken)])

                async def receive() -> MutableMapping[str, Any]:
                    return {"type": "http.request", "body": body, "more_body": False}

                return await handle(Request(request.scope, receive))

        return with_body
