"""Who may do what with a companion: this machine and trusted networks everything, all others may look at its status.

Whoever asks, a request must name this machine as its Host (else a name of somebody else's could be made to point here:
DNS rebinding), and must not come from a page of another origin. A request that was forwarded by a proxy comes from
nobody known. Nothing here reads a body or knows a web framework.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Address = IPv4Address | IPv6Address

OPEN = frozenset({"/healthz"})
"""What strangers may read: whether the node lives, and in what state it is. Pages show pictures, so they are not among it."""

_HOST = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9_.-]{1,253}))(?::([0-9]{1,5}))?", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def own_names() -> frozenset[str]:
    """The names under which this machine is reached: as it calls itself, without its domain, and over mDNS."""
    full = socket.gethostname().strip().removesuffix(".").lower()
    short = full.partition(".")[0]
    return frozenset(name for name in ("localhost", full, short, f"{short}.local") if name)


@dataclass(frozen=True)
class Policy:
    """The decision. Pure. `names` are those that a Host header may have beside addresses, lower case."""

    names: frozenset[str]
    trusted: Sequence[IPv4Network | IPv6Network] = ()

    def refusal(self, method: str, path: str, peer: str | None, headers: Mapping[bytes, Sequence[bytes]]) -> str | None:
        """Why a request is refused, as a sentence with the way out; None if it may pass. Header names in lower case."""
        hosts = headers.get(b"host", ())
        host = _parsed(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if host is None:
            return "A request has to name this machine in one Host header."
        if _address(host[0]) is None and host[0] not in self.names:
            return (
                f"This machine is not known as {host[0]!r}: ask it by its address, by its own name or as localhost, or add "
                "that name to ALLOWED_HOSTS."
            )
        if not self._same_origin(host, headers) or (
            method == "OPTIONS" and b"access-control-request-method" in headers
        ):
            return "A page of another origin may not use this node: open the node's own page instead."
        sites = headers.get(b"sec-fetch-site", ())
        if method not in {"GET", "HEAD"} and any(site not in {b"same-origin", b"none"} for site in sites):
            return "A page of another site may not use this node: open the node's own page instead."
        if self.knows(peer, headers) or (method in {"GET", "HEAD"} and path in OPEN):
            return None
        return (
            f"{peer or 'Nobody known'} is in no trusted network: set TRUSTED_NETWORKS, or ask from this machine (a tunnel, "
            "ssh -L, does)."
        )

    def knows(self, peer: str | None, headers: Mapping[bytes, Sequence[bytes]]) -> bool:
        """Whether this is loopback or a trusted network; a proxy in between makes anybody a stranger."""
        forwarded = any(name in (b"forwarded", b"x-real-ip") or name.startswith(b"x-forwarded-") for name in headers)
        address = None if peer is None or forwarded else _address(peer)
        return address is not None and (address.is_loopback or any(address in network for network in self.trusted))

    def _same_origin(self, host: tuple[str, int | None], headers: Mapping[bytes, Sequence[bytes]]) -> bool:
        origins = headers.get(b"origin", ())
        if not origins:
            return True
        scheme, separator, rest = origins[0].decode("latin-1").partition("://")
        default, origin = _DEFAULT_PORTS.get(scheme.lower()), _parsed(rest)
        if len(origins) != 1 or not separator or default is None or origin is None:
            return False
        return origin[0] == host[0] and (origin[1] or default) == (host[1] or default)


def policy(trusted: Sequence[IPv4Network | IPv6Network], allowed_hosts: Iterable[str]) -> Policy:
    """For this machine."""
    return Policy(own_names() | frozenset(allowed_hosts), trusted)


class AccessMiddleware:
    """Lets through what the policy allows and answers the rest itself, with 403. Has to be the outermost application."""

    def __init__(self, app: ASGIApp, policy: Policy) -> None:
        self._app = app
        self._policy = policy
        self.refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope.get("headers", ()):
            headers.setdefault(name, []).append(value)
        client = scope.get("client")
        method = scope["method"] if scope["type"] == "http" else "WEBSOCKET"
        sentence = self._policy.refusal(method, scope["path"], client[0] if client else None, headers)
        if sentence is None:
            await self._app(scope, receive, send)
            return
        self.refused += 1
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        body = json.dumps({"detail": sentence}).encode()
        length = (b"content-length", str(len(body)).encode())
        await send(
            {"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"application/json"), length]}
        )
        await send({"type": "http.response.body", "body": body})


def _parsed(text: str) -> tuple[str, int | None] | None:
    """Name or address, and port; None for what no Host header may be."""
    match = _HOST.fullmatch(text)
    if match is None:
        return None
    bracketed, name, digits = match.groups()
    address = _address(bracketed or name)
    if (bracketed and address is None) or (digits and int(digits) > 65535):
        return None
    found = str(address) if address is not None else name.removesuffix(".").lower()
    return (found, int(digits) if digits else None) if found else None


def _address(text: str) -> Address | None:
    """`::ffff:192.0.2.1` (a socket for both kinds) is 192.0.2.1."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
