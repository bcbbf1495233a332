"""Sessions: log in, log out."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from access import caller_in
from appliance.api.bodies import read_text
from appliance.loop_server.logins import COOKIE, SESSION_SECONDS
from appliance.loop_server.services import LoopServices
from models.errors import InvalidInput

_FIELD = {"type": "string", "default": ""}
_FORM = {
    "requestBody": {
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "properties": {"username": _FIELD, "password": _FIELD | {"format": "password"}},
                }
            }
        }
    }
}


def router(services: LoopServices) -> APIRouter:
    """`POST /api/login` and `/api/logout`, as upstream's nodes call them."""
    routes = APIRouter(tags=["login"])

    @routes.post("/api/login", openapi_extra=_FORM)
    async def login(request: Request) -> JSONResponse:
        """Open a session. Neither name nor password: a detector's, which may read target and models, and tell its status."""
        name, password = _credentials(await read_text(request))
        cookie = await services.logins.log_in(name, password, caller_in(request.scope).address)
        answer = JSONResponse({"username": name})
        answer.set_cookie(
            COOKIE,
            cookie,
            max_age=SESSION_SECONDS,
            path="/",
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return answer

    @routes.post("/api/logout")
    async def logout(request: Request) -> JSONResponse:
        """Close it: the cookie is taken back."""
        answer = JSONResponse({})
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax", secure=request.url.scheme == "https")
        return answer

    return routes


def _credentials(form: str) -> tuple[str, str]:
    """User name and password of an urlencoded form; empty text where one is missing. Raises `InvalidInput`."""
    try:
        fields = parse_qs(form, keep_blank_values=True, strict_parsing=bool(form), max_num_fields=10)
    except ValueError as error:
        raise InvalidInput("The body should be like username=NAME&password=PASSWORD, as forms send it") from error
    return fields.get("username", [""])[0], fields.get("password", [""])[0]
