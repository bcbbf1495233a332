"""How much may be open by Socket.IO at once, and how much of that strangers may have open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from access.asgi import ASGIApp, Receive, Scope, Send, method_of
from access.callers import Caller, Kind, Reason, caller_in
from access.gate import Access
from access.hosts import counted_as
from access.middleware import answer
from access.refusals import Refusal

REQUESTS = 8
"""Requests of one session that may be open at once: a poll, a message and the change to WebSocket are what clients need."""


@dataclass(frozen=True)
class Places:
    """How many sessions of Engine.IO may be open at once: of all, of strangers among them, of strangers at one address.

    Strangers should get no more than a part of all: then they cannot keep out those who are trusted. Nodes without a name
    count as strangers here, for whoever asks becomes one.
    """

    all: int
    strangers: int
    address: int


class SocketPlaces:
    """Lets as many in at `path`, where a Socket.IO server is, as there are places; answers the rest itself, with 429.

    A session holds its place until it ends, be it by the time-out of its pings; so does a request of no session while it
    is open, above all the one that begins one. `sessions` is the server's `environ`, which holds what is open by id.
    Belongs behind `AccessMiddleware`, which finds out who asks.
    """

    def __init__(
        self, app: ASGIApp, access: Access, path: str, sessions: Mapping[str, Mapping[str, Any]], places: Places
    ) -> None:
        self._app = app
        self._access = access
        self._path = f"/{path.strip('/')}/"
        self._sessions = sessions
        self._places = places
        self._without_session: dict[int, Scope] = {}
        self._requests: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in {"http", "websocket"} or not f"{scope['path']}/".startswith(self._path):
            await self._app(scope, receive, send)
            return
        caller, session = caller_in(scope), self._session_of(scope)
        sentence = self._none_left(caller) if session is None else self._too_much(session)
        if sentence is None:
            with self._held(scope, session):
                await self._app(scope, receive, send)
            return
        policy = self._access.policy
        refusal = Refusal(Reason.CONNECTIONS, policy.with_way_in(sentence) if _is_anybody(caller) else sentence)
        self._access.refused(caller, refusal, f"{method_of(scope)} {scope['path']}")
        await answer(scope, send, refusal, policy.way_in.scheme)

    def _session_of(self, scope: Scope) -> str | None:
        """The open session that this request belongs to, read as Engine.IO does."""
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        sid = query.get("sid", [""])[0]
        return sid if sid in self._sessions else None

    @contextmanager
    def _held(self, scope: Scope, session: str | None) -> Iterator[None]:
        if session is None:
            self._without_session[id(scope)] = scope
            try:
                yield
            finally:
                del self._without_session[id(scope)]
            return
        self._requests[session] += 1
        try:
            yield
        finally:
            self._requests[session] -= 1
            if not self._requests[session]:
                del self._requests[session]

    def _too_much(self, session: str) -> str | None:
        if self._requests[session] < REQUESTS:
            return None
        return f"{REQUESTS} requests of this Socket.IO session are open already; one more is taken when one has ended."

    def _none_left(self, caller: Caller) -> str | None:
        """Why there is no place, None if there is one. A WebSocket is request and session at once, and counts once."""
        begun = {id(scope): scope for scope in (each["asgi.scope"] for each in self._sessions.values())}
        callers = [caller_in(scope) for scope in {**begun, **self._without_session}.values()]
        if len(callers) >= self._places.all:
            return f"{len(callers)} Socket.IO connections are open here, as many as may be; try again in a minute."
        if not _is_anybody(caller):
            return None
        strangers = Counter(counted_as(each.address) for each in callers if _is_anybody(each))
        here = strangers[counted_as(caller.address)]
        if here >= self._places.address:
            return (
                f"{here} Socket.IO connections are open from {caller.address}, as many as strangers may have from one "
                "address; close one of them first."
            )
        if strangers.total() >= self._places.strangers:
            return (
                f"{strangers.total()} Socket.IO connections of strangers are open here, as many as may be; try again in "
                "a minute."
            )
        return None


def _is_anybody(caller: Caller) -> bool:
    return caller.kind in {Kind.STRANGER, Kind.NODE}
