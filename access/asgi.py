"""What the middleware sees of a connection, as ASGI has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


def method_of(scope: Mapping[str, Any]) -> str:
    """As the table calls it."""
    return str(scope["method"]) if scope["type"] == "http" else "WEBSOCKET"
