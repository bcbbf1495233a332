"""`/login` and `/claim`: the two pages that strangers see, and the way to them from all others.

They are plain HTML: a stranger gets no socket, no scripts of the dashboard's library, and nothing is kept in memory for them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from access import Reason, caller_in
from appliance.logins import Logins
from ui.pages import login

_LET_IN = "From where you are the box can be used without a password all the same."

_PAGE = re.compile(r"/[a-z]*")
"""What can be a page of the dashboard, and nothing that leads elsewhere."""


def entrance(logins: Logins, scope: Mapping[str, Any]) -> str | None:
    """Where a browser that asks for a page without being let in has to go; None where this is no such request."""
    if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"} or not _PAGE.fullmatch(scope["path"]):
        return None
    accepts = b",".join(value for name, value in scope["headers"] if name == b"accept")
    return _with_next(_door(logins), scope["path"]) if b"text/html" in accepts else None


def router(logins: Logins, name: str) -> APIRouter:
    """The pages; `name` is the box's."""
    made = APIRouter(tags=["logins"], include_in_schema=False)

    @made.get("/login")
    async def login_page(request: Request) -> Response:
        """Where one logs in; who need not is sent on."""
        wanted, caller, left = _wanted(request), caller_in(request.scope), request.query_params.get("left", "")
        nonce = secrets.token_urlsafe(16)
        if not logins.claimed:
            return _go(_with_next("/claim", wanted))
        if not caller.is_stranger:
            return _html(login.left_page(name, nonce, _LET_IN), nonce) if left == "out" else _go(wanted)
        if caller.reason is Reason.LOGIN:  # whose cookie came along, but opens nothing any more
            left = left or "over"
        return _html(login.login_page(name, wanted, nonce, left), nonce)

    @made.get("/claim")
    async def claim_page(request: Request) -> Response:
        """Where a box that has no password gets its first."""
        wanted = _wanted(request)
        if logins.claimed:
            return _go(_with_next("/login", wanted))
        nonce = secrets.token_urlsafe(16)
        return _html(login.claim_page(name, wanted, nonce, logins.needs_code(caller_in(request.scope))), nonce)

    return made


def _door(logins: Logins) -> str:
    return "/login" if logins.claimed else "/claim"


def _wanted(request: Request) -> str:
    wanted = request.query_params.get("next", "/")
    return wanted if _PAGE.fullmatch(wanted) and wanted not in {"/login", "/claim"} else "/"


def _with_next(door: str, wanted: str) -> str:
    return door if wanted == "/" else f"{door}?{urlencode({'next': wanted})}"


def _go(place: str) -> Response:
    return RedirectResponse(place, 303, {"Cache-Control": "no-store"})


def _html(page: str, nonce: str) -> Response:
    """Nothing but what stands in the page itself is run, and no other page can frame it."""
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
    return HTMLResponse(page, headers=headers)
