"""What stands in front of everything that a server offers, over HTTP and WebSocket alike."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from access.asgi import ASGIApp, Receive, Scope, Send, method_of
from access.callers import Caller, Kind
from access.evidence import Evidence
from access.gate import Access
from access.refusals import Refusal
from access.table import Right

LOOK_AGAIN = 1.0
"""Seconds between two looks at who is at the other end of what stays open."""


class AccessMiddleware:
    """Lets through what the policy allows, with the caller in the scope (see `caller_in`), and answers the rest itself.

    Has to be the outermost application, so that nothing is served around it. `prepare` is awaited, with the evidence and
    the address, before a caller is refused for want of credentials: the policy never waits, but a password takes its
    time to check. The policy then judges once more. `entrance` says where a page is that lets in whoever is refused, if
    this request is a browser's that would show it; None: the refusal is answered in words.

    What stays open, a WebSocket or a question that waits for its answer, is looked at again with each message and every
    `look_again` seconds: once a session has ended, or a network is trusted no more, nothing passes in either direction, and
    it is closed.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        prepare: Callable[[Evidence, str], Awaitable[None]] | None = None,
        entrance: Callable[[Scope], str | None] | None = None,
        look_again: float = LOOK_AGAIN,
    ) -> None:
        self._app = app
        self._access = access
        self._prepare = prepare
        self._entrance = entrance
        self._look_again = look_again

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        caller, refusal = self._access.policy.judge(scope)
        if refusal is not None and refusal.status == 401 and self._prepare is not None:
            await self._prepare(Evidence.of(scope), caller.address)
            caller, refusal = self._access.policy.judge(scope)
        if refusal is None:
            scope["caller"] = caller
            if not self._may_end(caller, scope):
                await self._app(scope, receive, send)
                return
            watched = _Watched(self._app, self._access, scope, self._look_again)
            if scope["type"] == "websocket":
                await watched.talk(receive, send)
            else:
                await watched.answer(receive, send)
            return
        entrance = self._entrance(scope) if refusal.status == 401 and self._entrance is not None else None
        if entrance is not None:  # who asks for a page is no robot that was turned away
            await _redirect(send, entrance)
            return
        self._access.refused(caller, refusal, f"{scope.get('method', 'WEBSOCKET')} {scope['path']}")
        await answer(scope, send, refusal, self._access.policy.way_in.scheme)

    def _may_end(self, caller: Caller, scope: Scope) -> bool:
        """Whether what is asked for can stay open, and whether the caller's right to it can end meanwhile."""
        stays = scope["type"] == "websocket" or scope["method"] in {"GET", "HEAD"}
        passing = caller.kind not in {Kind.LOOPBACK, Kind.STRANGER}
        return (
            stays and passing and self._access.policy.table.right_to(method_of(scope), scope["path"]) is not Right.OPEN
        )


class _Watched:
    """A connection whose caller is looked at again whenever something passes, and every few seconds."""

    def __init__(self, app: ASGIApp, access: Access, scope: Scope, look_again: float) -> None:
        self._app = app
        self._access = access
        self._scope = scope
        self._evidence = Evidence.of(scope)
        self._right = access.policy.table.right_to(method_of(scope), scope["path"])
        self._look_again = look_again
        self._over = False

    def _ended(self) -> bool:
        policy = self._access.policy
        return not policy.permits(policy.caller(self._evidence), self._right)

    async def talk(self, receive: Receive, send: Send) -> None:
        """Over a WebSocket."""

        async def close() -> None:
            if not self._over:
                self._over = True
                await send({"type": "websocket.close", "code": 1008, "reason": ""})

        async def guarded_receive() -> MutableMapping[str, Any]:
            arriving = asyncio.ensure_future(receive())
            try:
                while not self._over and not await self._done(arriving):
                    if self._ended():
                        await close()
            finally:
                arriving.cancel()  # which does nothing to what has arrived
            if not self._over and arriving.result()["type"] == "websocket.receive" and self._ended():
                await close()
            if self._over:
                return {"type": "websocket.disconnect", "code": 1008, "reason": ""}
            return arriving.result()

        async def guarded_send(message: MutableMapping[str, Any]) -> None:
            if not self._over and message["type"] == "websocket.send" and self._ended():
                await close()
            if not self._over:
                await send(message)

        await self._app(self._scope, guarded_receive, guarded_send)

    async def answer(self, receive: Receive, send: Send) -> None:
        """A question, which may be open for long, as those are with which pages poll."""
        begun = False

        async def guarded_send(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if not begun and self._ended():
                await self._refuse(send)
            begun = True
            if not self._over:
                await send(message)

        answering = asyncio.ensure_future(self._app(self._scope, receive, guarded_send))
        try:
            while not await self._done(answering):
                if not begun and self._ended():
                    await self._refuse(send)
                    return
            answering.result()
        finally:
            if not answering.done():
                answering.cancel()
                await asyncio.wait({answering})

    async def _done(self, task: asyncio.Future[Any]) -> bool:
        """Wait for it, but not for long."""
        await asyncio.wait({task}, timeout=self._look_again)
        return task.done()

    async def _refuse(self, send: Send) -> None:
        self._over = True
        policy = self._access.policy
        await answer(self._scope, send, policy.refusal(policy.caller(self._evidence)), policy.way_in.scheme)


async def _redirect(send: Send, place: str) -> None:
    headers = [(b"location", place.encode()), (b"cache-control", b"no-store"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def answer(scope: Scope, send: Send, refusal: Refusal, scheme: str | None) -> None:
    """Answer a request, or a handshake for a WebSocket, with a refusal; `scheme` as in `WayIn`."""
    websocket = scope["type"] == "websocket"
    if websocket and "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    body = json.dumps({"detail": refusal.sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    status = refusal.status if scheme is not None or refusal.status != 401 else 403
    if scheme is not None and status == 401:
        headers.append((b"www-authenticate", scheme.encode()))
    if status == 429:
        headers.append((b"retry-after", b"60"))
    kind = "websocket.http.response" if websocket else "http.response"
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
