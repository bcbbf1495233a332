"""`/api/v1/login`, `/logout`, `/claim`, `/sessions`, `/password`: who people are, and the password of the box."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from access import Evidence, Kind, caller_in
from appliance.api.bodies import read_text
from appliance.logins import Logins
from appliance.sessions import COOKIE, LONGEST_SECONDS, Session
from models.errors import InvalidInput


class LogIn(BaseModel):
    """What opens a session."""

    password: str


class Claim(BaseModel):
    """What sets the first password; `code` is not needed on the box itself and in trusted networks."""

    password: str
    code: str = ""


class NewPassword(BaseModel):
    """What sets another one; `current` is not needed on the box itself."""

    password: str
    current: str = ""


class Current(BaseModel):
    """What takes the password away; `current` is not needed on the box itself."""

    current: str = ""


class Standing(BaseModel):
    """How who asks is known here: loopback, trusted, key, administrator (logged in) or stranger."""

    kind: Kind
    claimed: bool


class SessionReport(BaseModel):
    """A login. Times are ISO 8601 in UTC; `current` is the session that asks."""

    id: str
    opened: str
    used: str
    address: str
    agent: str
    current: bool


B = TypeVar("B", bound=BaseModel)

SessionId = Annotated[str, Path(pattern="^[0-9a-f]{12}$", description="as the list gives it")]

WRONG: dict[int | str, dict[str, Any]] = {
    401: {"description": "That is not the password, or not the code"},
    403: {"description": "Not as things stand: the sentence says why"},
    422: {"description": "No password, or one that is too short or too long"},
    429: {"description": "Too many wrong ones came from there lately; `Retry-After` says when to come back"},
}


def _json(kind: type[BaseModel], example: dict[str, str]) -> dict[str, Any]:
    content = {"application/json": {"schema": kind.model_json_schema(), "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def router(logins: Logins) -> APIRouter:
    """The routes, bound to the logins."""
    made = APIRouter(prefix="/api/v1", tags=["logins"])

    @made.post("/login", openapi_extra=_json(LogIn, {"password": "…"}), responses=WRONG)
    async def login(request: Request) -> JSONResponse:
        """Open a session with the password of the box; the answer sets its cookie.

        curl -c jar -d '{"password": "…"}' http://DEVICE:8004/api/v1/login && curl -b jar http://DEVICE:8004/api/v1/outbox
        """
        body = await _body(request, LogIn)
        return _opened(request, await logins.log_in(body.password, caller_in(request.scope), _agent(request)))

    @made.get("/login")
    async def standing(request: Request) -> Standing:
        """How you are known here, and whether the box has a password.

        curl http://DEVICE:8004/api/v1/login
        """
        return Standing(kind=caller_in(request.scope).kind, claimed=logins.claimed)

    @made.post("/logout")
    async def logout(request: Request) -> JSONResponse:
        """End the session whose cookie comes along.

        curl -b jar -X POST http://DEVICE:8004/api/v1/logout
        """
        asking = asking_session(request)
        if asking is not None:
            await logins.sessions.end(asking)
        answer = JSONResponse({"status": "OK"})
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict", secure=_is_secure(request))
        return answer

    @made.post("/claim", openapi_extra=_json(Claim, {"password": "…", "code": "k7qf-m2xr"}), responses=WRONG)
    async def claim(request: Request) -> JSONResponse:
        """Set the first password of a box that has none, with the code that its first start said; opens a session, too.

        curl -d '{"password": "…", "code": "k7qf-m2xr"}' http://DEVICE:8004/api/v1/claim
        """
        body = await _body(request, Claim)
        caller = caller_in(request.scope)
        return _opened(request, await logins.claim(body.password, body.code, caller, _agent(request)))

    @made.get("/sessions")
    async def sessions(request: Request) -> list[SessionReport]:
        """Who has logged in and may still come, the one who was here last first.

        curl http://localhost:8004/api/v1/sessions
        """
        asking = asking_session(request)
        return [_report(each, asking) for each in logins.sessions.list()]

    @made.delete("/sessions")
    async def end_all(request: Request, others: bool = False) -> dict[str, int]:
        """End every session: everybody has to log in again. With `others` the one that asks is left.

        curl -X DELETE http://localhost:8004/api/v1/sessions
        """
        return {"count": await logins.sessions.end_all(but=asking_session(request) if others else None)}

    @made.delete("/sessions/{session_id}", responses={404: {"description": "No such session, or no more"}})
    async def end(session_id: SessionId) -> dict[str, int]:
        """End one session; its open pages are told nothing more.

        curl -X DELETE http://localhost:8004/api/v1/sessions/0123456789ab
        """
        if not await logins.sessions.end(session_id):
            raise HTTPException(404, f"There is no session {session_id}; it may have ended")
        return {"count": 1}

    @made.put("/password", openapi_extra=_json(NewPassword, {"password": "…", "current": "…"}), responses=WRONG)
    async def change(request: Request) -> dict[str, str | int]:
        """Set another password. Every session ends but the one that asks; `ended` counts them. On the box itself the
        current one is not needed.

        curl -X PUT -d '{"password": "…"}' http://localhost:8004/api/v1/password
        """
        body = await _body(request, NewPassword)
        ended = await logins.change(body.password, body.current, caller_in(request.scope), asking_session(request))
        return {"status": "OK", "ended": ended}

    @made.delete("/password", openapi_extra=_json(Current, {"current": "…"}), responses=WRONG)
    async def clear(request: Request) -> dict[str, str]:
        """Take the password away: every session ends, and the box is claimed anew with the code that is answered.

        curl -X DELETE http://localhost:8004/api/v1/password
        """
        body = await _body(request, Current, empty="{}")
        return {"code": await logins.clear(body.current, caller_in(request.scope))}

    def asking_session(request: Request) -> str | None:
        """The id of the session whose cookie comes along."""
        session = logins.sessions.find(Evidence.of(request.scope))
        return session.id if session is not None else None

    return made


async def _body(request: Request, kind: type[B], empty: str = "") -> B:
    """The body as JSON, whatever content type it claims. Raises `InvalidInput`, which says nothing of what was sent."""
    try:
        return kind.model_validate_json(await read_text(request) or empty)
    except ValidationError as error:
        wanted = ", ".join(f'"{name}": "…"' for name in kind.model_fields)
        raise InvalidInput(f"The body should look like {{{wanted}}}") from error


def _agent(request: Request) -> str:
    return request.headers.get("user-agent", "")


def _opened(request: Request, cookie: str) -> JSONResponse:
    answer = JSONResponse({"status": "OK"}, headers={"Cache-Control": "no-store"})
    answer.set_cookie(
        COOKIE,
        cookie,
        max_age=int(LONGEST_SECONDS),
        path="/",
        httponly=True,
        samesite="strict",
        secure=_is_secure(request),
    )
    return answer


def _is_secure(request: Request) -> bool:
    """Whether the browser came over https; TLS may end at a proxy, but the page's origin names it."""
    return request.url.scheme == "https" or request.headers.get("origin", "").lower().startswith("https://")


def _report(session: Session, asking: str | None) -> SessionReport:
    return SessionReport(
        id=session.id,
        opened=_written(session.opened),
        used=_written(session.used),
        address=session.address,
        agent=session.agent,
        current=session.id == asking,
    )


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=timezone.utc).isoformat(timespec="seconds")
