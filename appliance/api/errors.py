"""What an error looks like over HTTP: one table. The body is always `{"detail": sentence}`."""

from __future__ import annotations

import logging
import math

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from models import errors
from models.errors import DetectionUnavailable, DetectorApplianceError, TooManyTries

log = logging.getLogger(__name__)

STATUS: dict[type[DetectorApplianceError], int] = {
    errors.InvalidInput: 422,
    errors.InputTooLarge: 413,
    errors.BundleError: 422,
    errors.NotApplicable: 422,
    errors.ModelFailed: 503,
    errors.UnknownVersion: 400,
    errors.DetectionUnavailable: 503,
    errors.StorageRefused: 409,
    errors.NoRoom: 507,
    errors.LoopError: 502,
    errors.AccessDenied: 403,
    errors.WrongPassword: 401,
    errors.TooManyTries: 429,
    errors.SettingsInvalid: 422,
}
"""The nearest ancestor in the table counts. Upstream answers 400 to a version that it does not know."""


def status_of(error: DetectorApplianceError) -> int:
    """HTTP status of an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def response_to(error: DetectorApplianceError) -> JSONResponse:
    """The answer; with `Retry-After` (whole seconds) where trying again may help."""
    headers = {}
    if isinstance(error, DetectionUnavailable | TooManyTries):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    return JSONResponse({"detail": str(error)}, status_of(error), headers)


def in_words(error: RequestValidationError) -> str:
    """FastAPI's list of complaints as a sentence."""
    complaints = [f"{' '.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors()]
    return "; ".join(complaints)


def install(app: FastAPI) -> None:
    """Have every error answered in this one form."""

    @app.exception_handler(DetectorApplianceError)
    async def _ours(_request: Request, error: DetectorApplianceError) -> JSONResponse:
        return response_to(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": in_words(error)}, 422)

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
        # Supervises every route: a bug in one must not look like silence, and its traceback belongs into the log.
        log.error("unforeseen error in %s %s", request.method, request.url.path, exc_info=error)
        return JSONResponse(
            {"detail": f"Unforeseen error ({type(error).__name__}); the log of the box tells more"}, 500
        )
