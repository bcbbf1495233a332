"""What a connection says of who asks, of which nothing is believed yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Headers = Mapping[bytes, Sequence[bytes]]


_ABOUT_THE_PAGE = frozenset({b"host", b"origin", b"sec-fetch-site", b"access-control-request-method"})
_ABOUT_KEYS = frozenset({b"authorization", b"x-api-key", b"cookie"})
_FORWARDING = frozenset({b"forwarded", b"x-real-ip"})
_RELEVANT = _ABOUT_THE_PAGE | _ABOUT_KEYS | _FORWARDING
_FORWARDING_PREFIX = b"x-forwarded-"


@dataclass(frozen=True)
class Evidence:
    """What a connection says of who asks: the address at its other end, its headers, and the key of Socket.IO."""

    peer: str | None
    headers: Headers
    socket_key: str | None = None

    @staticmethod
    def of(scope: Mapping[str, Any], auth: object = None) -> Evidence:
        """From an ASGI scope; `auth` is what a Socket.IO client sends when it connects."""
        found: dict[bytes, list[bytes]] = {}
        for name, value in scope.get("headers", ()):
            if name in _RELEVANT or name.startswith(_FORWARDING_PREFIX):
                found.setdefault(name, []).append(value)
        client = scope.get("client")
        key = auth.get("api_key") if isinstance(auth, Mapping) else None
        return Evidence(client[0] if client else None, found, key if isinstance(key, str) else None)

    @property
    def is_forwarded(self) -> bool:
        return any(name in _FORWARDING or name.startswith(_FORWARDING_PREFIX) for name in self.headers)

    def texts(self, name: bytes) -> list[str]:
        """The values of a header; bytes that are no ASCII stay what they are and match nothing."""
        return [value.decode("latin-1") for value in self.headers.get(name, ())]

    def presented_keys(self) -> list[str]:
        """The API keys that are presented, the first of each place."""
        bearers = [text[7:].strip() for text in self.texts(b"authorization") if text[:7].lower() == "bearer "]
        found = [*bearers[:1], *self.texts(b"x-api-key")[:1]]
        return found if self.socket_key is None else [*found, self.socket_key]
