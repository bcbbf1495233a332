"""What the loop says no with: the errors that a Loop's client raises, seen from the other side of the wire.

`NotInLoop` 404, `AlreadyInLoop` 409 (with the id, where there is one), `LoopRefused` 422, `LoopBusy` 429, `LoginFailed` 401;
all others as on a device, but for a disk that refuses: 503, since 409 has a meaning of its own here.
"""

from __future__ import annotations

import math

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from appliance.api import errors as api_errors
from models.errors import (
    AlreadyInLoop,
    LoginFailed,
    LoopBusy,
    LoopError,
    LoopRefused,
    NoRoom,
    NotInLoop,
    StorageRefused,
)

STATUS: dict[type[LoopError], int] = {
    NotInLoop: 404,
    AlreadyInLoop: 409,
    LoopRefused: 422,
    LoopBusy: 429,
    LoginFailed: 401,
}


def response_to(error: LoopError) -> JSONResponse:
    """The answer: `{"detail": sentence}`, or `{"detail": {"id": …, "message": sentence}}` where clients go on with the id."""
    headers = {}
    detail: object = str(error)
    if isinstance(error, LoopBusy):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after or 1)))
    if isinstance(error, AlreadyInLoop) and error.id is not None:
        detail = {"id": error.id, "message": str(error)}
    return JSONResponse({"detail": detail}, error.status or STATUS.get(type(error), 500), headers)


def install(app: FastAPI) -> None:
    """Have every error answered in this one form."""
    api_errors.install(app)

    @app.exception_handler(LoopError)
    async def _loop(_request: Request, error: LoopError) -> JSONResponse:
        return response_to(error)

    @app.exception_handler(StorageRefused)
    async def _storage(_request: Request, error: StorageRefused) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 507 if isinstance(error, NoRoom) else 503)
