"""`/api/v1/update…`: where a change of the model stands, and the lease under which none is made; the Loop's condition."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, ValidationError

from appliance.api.bodies import read_text
from appliance.services import Services
from appliance.versions.lock import MAX_SECONDS
from appliance.versions.progress import UpdateStatus
from models.errors import InvalidInput


class Lease(BaseModel):
    """What a robot asks for."""

    seconds: float = Field(strict=True, ge=0, le=MAX_SECONDS, allow_inf_nan=False)


class LockStatus(BaseModel):
    """The update lock as it is."""

    held: bool
    seconds_left: float


LEASE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Lease.model_json_schema(), "example": {"seconds": 600}}},
    }
}

LEASE_ERRORS: dict[int | str, dict[str, Any]] = {
    413: {"description": "That is no lease"},
    422: {"description": "No length, or one that is not given; nothing has changed"},
}


def router(services: Services) -> APIRouter:
    """The routes, bound to the services."""
    made = APIRouter(prefix="/api/v1", tags=["updates"])

    @made.get("/update")
    async def update() -> UpdateStatus:
        """Where the change to the wanted model stands: downloading (with progress), waiting, postponed, failed, …

        curl http://localhost:8004/api/v1/update
        """
        return services.versions.update

    @made.get("/update_lock")
    async def update_lock() -> LockStatus:
        """Whether somebody keeps the box from changing its model, and for how many seconds more.

        curl http://localhost:8004/api/v1/update_lock
        """
        return LockStatus.model_validate(services.update_lock())

    @made.put("/update_lock", openapi_extra=LEASE, responses=LEASE_ERRORS)
    async def hold(request: Request) -> LockStatus:
        """Do not change the model for so many seconds from now on, a day at most; ask again to prolong it.

        The lease ends by itself, and with a restart. Once this is answered no swap happens until its end.

            curl -X PUT -d '{"seconds": 600}' http://localhost:8004/api/v1/update_lock
        """
        services.versions.lock.hold(checked_lease(await read_text(request)))
        return LockStatus.model_validate(services.update_lock())

    @made.delete("/update_lock")
    async def release() -> LockStatus:
        """Let the model be changed again.

        curl -X DELETE http://localhost:8004/api/v1/update_lock
        """
        services.versions.lock.release()
        return LockStatus.model_validate(services.update_lock())

    @made.get("/loop")
    async def loop() -> dict[str, Any]:
        """Whether the Learning Loop answers: connected, away since when and because of what, or standalone.

        curl http://localhost:8004/api/v1/loop
        """
        return services.loop_in_words()

    return made


def checked_lease(text: str) -> float:
    """The seconds in a JSON object `{"seconds": n}`. Raises `InvalidInput`."""
    try:
        return Lease.model_validate_json(text).seconds
    except ValidationError as error:
        raise InvalidInput(
            f'A lease should look like {{"seconds": 600}}, with a number from 0 to {MAX_SECONDS:.0f}: '
            f"{error.errors(include_url=False)[0]['msg']}"
        ) from error
