"""Who may do what: one table of rights, one decision, one middleware in front of HTTP and WebSocket.

    asks                         is                 may
    this machine (127/8, ::1)    loopback           everything
    an address in a trusted      trusted            everything
    network
    anybody with an API key      key                everything
    who has logged in            administrator      everything
    (on a device: with its       user               everything but what administrators do
    password)
                                 node               what a detector does that has no user name
    all others                   stranger           what is open, and detection unless `open_detection` is off

Whoever asks, a request must name this box as its Host (else a name of somebody else's could be made to point here: DNS
rebinding), and must not come from a page of another origin. What the table does not name is closed to strangers.

The decision (`AccessPolicy`) is pure; `Access` holds the policy in force and counts refusals. Nothing here reads a body
or knows a web framework; header names are lower case, as ASGI has them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

from models.errors import AccessDenied, SettingsInvalid
from models.wire.node_status import Autoupload

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Mapping[bytes, Sequence[bytes]]

logger = logging.getLogger(__name__)


class Right(Enum):
    """What one has to be allowed for a route or an event."""

    OPEN = "open"
    """For everybody."""
    DETECT = "detect"
    """Detection and status: for everybody, unless the setting `open_detection` is off."""
    CHANGE_OR_SEE = "change or see"
    """Changes something or shows pictures: for loopback, trusted networks, API keys and users."""
    NODE = "node"
    """What a detector does in a Loop: for everybody who has logged in, even without a name."""
    ADMINISTRATE = "administrate"
    """For all who may do everything."""


class AccessTable:
    """The rights of one server.

    `routes`: `"METHOD /path"` -> right. `*` as method is every one (WebSocket included, whose own name is `WEBSOCKET`);
    `{name}` stands for one part of a path, `/*` at the end for the path before it and everything below. A route that is
    spelled out beats a pattern, an earlier pattern a later one. `events`: Socket.IO event -> right. What is not named
    needs `CHANGE_OR_SEE`.
    """

    def __init__(self, routes: Mapping[str, Right], events: Mapping[str, Right]) -> None:
        self.events = dict(events)
        self._exact: dict[tuple[str, str], Right] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Right]] = []
        for rule, right in routes.items():
            method, path = rule.split(" ")
            if method == "*" or "*" in path or "{" in path:
                self._patterns.append((method, _pattern(path), right))
            else:
                self._exact[method, path] = right

    def right_to(self, method: str, path: str) -> Right:
        """What `method` (HEAD counts as GET) on `path` needs."""
        return self._named(method, path) or Right.CHANGE_OR_SEE

    def right_to_event(self, event: str) -> Right:
        """What a Socket.IO event needs."""
        return self.events.get(event, Right.CHANGE_OR_SEE)

    def unlisted(self, routes: Iterable[tuple[str, str]]) -> list[str]:
        """Which of these routes (see `walk`) no rule names: they are closed to strangers, perhaps by oversight."""
        return [f"{method} {path}" for method, path in routes if self._named(method, _example(path)) is None]

    def _named(self, method: str, path: str) -> Right | None:
        if method == "HEAD":
            method = "GET"
        right = self._exact.get((method, path))
        if right is not None:
            return right
        for other, pattern, right in self._patterns:
            if (other in {method, "*"} or method == "*") and pattern.fullmatch(path):
                return right
        return None


def _pattern(path: str) -> re.Pattern[str]:
    below = path.endswith("/*")
    parts = re.split(r"\{[^{}]*\}", path.removesuffix("/*"))
    return re.compile("[^/]+".join(map(re.escape, parts)) + ("(?:/.*)?" if below else ""), re.DOTALL)


def _example(template: str) -> str:
    """A path that the template of a route would match."""
    return re.sub(r"\{[^{}]*\}", "x", re.sub(r"\{[^{}]*:path\}", "x/x", template))


def walk(routes: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every (method, path template) that a list of Starlette or FastAPI routes serves.

    HEAD is left out where GET is served; an application mounted whole is `("*", "/mounted/{path:path}")`.
    """
    for route in routes:
        contexts = getattr(route, "effective_route_contexts", None)  # newer FastAPI keeps an included router whole
        if contexts is not None:
            yield from walk((context.starlette_route or context for context in contexts()), prefix)
            continue
        path = prefix + route.path
        methods = getattr(route, "methods", None)
        if methods:
            yield from ((method, path) for method in sorted(methods) if method != "HEAD" or "GET" not in methods)
        elif getattr(route, "routes", None):
            yield from walk(route.routes, path)
        elif hasattr(route, "endpoint"):
            yield "WEBSOCKET", path
        else:
            yield "*", path + "/{path:path}"


DEVICE_TABLE = AccessTable(
    routes={
        "GET /healthz": Right.OPEN,
        "GET /readyz": Right.OPEN,
        "GET /docs": Right.OPEN,
        "GET /docs/oauth2-redirect": Right.OPEN,
        "GET /redoc": Right.OPEN,
        "GET /openapi.json": Right.OPEN,
        "GET /static-offline-docs/*": Right.OPEN,
        "GET /login": Right.OPEN,
        "GET /claim": Right.OPEN,
        "GET /favicon.ico": Right.OPEN,
        "GET /api/v1/login": Right.OPEN,
        "POST /api/v1/login": Right.OPEN,
        "POST /api/v1/logout": Right.OPEN,
        "POST /api/v1/claim": Right.OPEN,
        "POST /detect": Right.DETECT,
        "GET /about": Right.DETECT,
        "GET /model_version": Right.DETECT,
        "GET /outbox_mode": Right.DETECT,
        "GET /operation_mode": Right.DETECT,
        "GET /metrics": Right.DETECT,
        "POST /upload": Right.CHANGE_OR_SEE,
        "PUT /model_version": Right.CHANGE_OR_SEE,
        "PUT /outbox_mode": Right.CHANGE_OR_SEE,
        "PUT /operation_mode": Right.CHANGE_OR_SEE,
        "PUT /debug_logging": Right.CHANGE_OR_SEE,
        "PUT /socketio": Right.CHANGE_OR_SEE,
        "POST /reset": Right.CHANGE_OR_SEE,
        "GET /api/v1/update": Right.DETECT,
        "GET /api/v1/update_lock": Right.DETECT,
        "GET /api/v1/loop": Right.DETECT,
        "* /ws/*": Right.OPEN,  # the transport alone: a key may come with it, and each event is checked by its name
        "* /api/v1/*": Right.CHANGE_OR_SEE,
        "GET /": Right.CHANGE_OR_SEE,
        "GET /live": Right.CHANGE_OR_SEE,
        "GET /models": Right.CHANGE_OR_SEE,
        "GET /outbox": Right.CHANGE_OR_SEE,
        "GET /system": Right.CHANGE_OR_SEE,
        "GET /settings": Right.CHANGE_OR_SEE,
        "GET /pictures/*": Right.CHANGE_OR_SEE,
        "* /_nicegui/*": Right.CHANGE_OR_SEE,  # beside scripts it serves pictures that pages show
        "* /_nicegui_ws/*": Right.CHANGE_OR_SEE,
    },
    events={
        "detect": Right.DETECT,
        "batch_detect": Right.DETECT,
        "info": Right.DETECT,
        "about": Right.DETECT,
        "get_model_version": Right.DETECT,
        "get_outbox_mode": Right.DETECT,
        "get_update": Right.DETECT,
        "get_update_lock": Right.DETECT,
        "set_update_lock": Right.CHANGE_OR_SEE,
        "upload": Right.CHANGE_OR_SEE,
        "set_model_version_mode": Right.CHANGE_OR_SEE,
        "set_outbox_mode": Right.CHANGE_OR_SEE,
        "soft_reload": Right.CHANGE_OR_SEE,
    },
)
"""The routes and events of a detector node, of this box, and of its dashboard."""


class Kind(Enum):
    """Where the trust in a caller comes from."""

    LOOPBACK = "loopback"
    TRUSTED = "trusted"
    KEY = "key"
    ADMINISTRATOR = "administrator"
    USER = "user"
    NODE = "node"
    STRANGER = "stranger"


_ONLY = {
    Kind.NODE: frozenset({Right.OPEN, Right.DETECT, Right.NODE}),
    Kind.USER: frozenset(Right) - {Right.ADMINISTRATE},
}
"""What those may who may not do everything, strangers aside."""


class Reason(Enum):
    """Why a request was refused; the value is its label in the metrics."""

    HOST = "host"
    PREFLIGHT = "preflight"
    ORIGIN = "origin"
    NO_ADDRESS = "no_address"
    NETWORK = "network"
    PROXY = "proxy"
    FORWARDING = "forwarding"
    KEY = "key"
    KEYS_UNREADABLE = "keys_unreadable"
    LOGIN = "login"
    TRIES = "tries"
    ROLE = "role"


@dataclass(frozen=True)
class Caller:
    """Who asks. `address` is text, empty where it is not known; `reason` says why a stranger is one."""

    kind: Kind
    address: str = ""
    key_name: str | None = None
    reason: Reason | None = None
    user_name: str | None = None

    @property
    def is_stranger(self) -> bool:
        return self.kind is Kind.STRANGER


NOBODY = Caller(Kind.STRANGER, reason=Reason.NO_ADDRESS)
"""A caller of whom nothing is known."""


def caller_in(scope: Mapping[str, Any]) -> Caller:
    """The caller that the middleware found out; a stranger where no middleware has been passed."""
    caller = scope.get("caller")
    return caller if isinstance(caller, Caller) else NOBODY


def effective_autoupload(caller: Caller, requested: Autoupload | None) -> Autoupload:
    """What the `autoupload` of a detection comes to: strangers do not fill the outbox; none given means `filtered`."""
    return "disabled" if caller.is_stranger else requested or "filtered"


@dataclass(frozen=True)
class Refusal:
    """A no, with the way out as a sentence."""

    reason: Reason
    sentence: str

    @property
    def status(self) -> int:
        """HTTP status: 401 where credentials would help, 429 where patience would, else 403."""
        if self.reason is Reason.TRIES:
            return 429
        return 403 if self.reason in {Reason.HOST, Reason.PREFLIGHT, Reason.ORIGIN, Reason.ROLE} else 401


_STRANGERS: dict[Reason, str] = {
    Reason.NO_ADDRESS: "No address is known of who asks.",
    Reason.NETWORK: "{address} is in no trusted network; its own is {network} (setting trusted_networks).",
    Reason.PROXY: "The request was forwarded by {address}, which is no trusted proxy (setting trusted_proxies).",
    Reason.FORWARDING: "The proxy at {address} does not say in X-Forwarded-For or Forwarded, in one voice, who asks.",
    Reason.KEY: "The API key is not known here: it is mistyped or was revoked.",
    Reason.KEYS_UNREADABLE: "The API keys of this box cannot be read, so none of them counts; its log says why.",
    Reason.LOGIN: "User name and password are not known here, or the session is over.",
    Reason.TRIES: "Too many wrong passwords came from {address} lately; try again in a minute.",
}


@dataclass(frozen=True)
class WayIn:
    """What a stranger is told to do, and the scheme for the header `WWW-Authenticate`."""

    sentence: str
    scheme: str


BY_KEY = WayIn(
    "Otherwise an API key is needed: `appliance keys create NAME` makes one; send it as "
    "`Authorization: Bearer KEY`, as `X-API-Key`, or over Socket.IO as auth={'api_key': KEY}.",
    "Bearer",
)


class Endpoint(NamedTuple):
    """What a Host header names. `name` is lower case, without brackets and final dot."""

    name: str
    port: int | None
    is_address: bool


_HOST = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9_.-]{1,253}))(?::([0-9]{1,5}))?", re.IGNORECASE)
_LONGEST_NAME = 253  # of the domain name system
_LONGEST_ADDRESS = 80  # IPv6 with the name of a network card
_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_host(text: str) -> Endpoint | None:
    """`name`, `name:port`, `192.0.2.1:port`, `[2001:db8::1]:port`; None for anything else."""
    return _parse_host(text) if len(text) <= _LONGEST_NAME + 6 else None


@lru_cache(maxsize=512)
def _parse_host(text: str) -> Endpoint | None:
    match = _HOST.fullmatch(text)
    if match is None:
        return None
    bracketed, name, digits = match.groups()
    port = int(digits) if digits else None
    address = _address(bracketed or name)
    if (bracketed and (address is None or ":" not in bracketed)) or (port is not None and port > 65535):
        return None
    if address is not None:
        return Endpoint(str(address), port, True)
    name = name.removesuffix(".").lower()
    return Endpoint(name, port, False) if name else None


def _address(text: str) -> Address | None:
    """An address as it is compared here: `::ffff:192.0.2.1` (a socket for both kinds) is 192.0.2.1, zones are gone."""
    return _parse_address(text) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(maxsize=512)
def _parse_address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or IPv6Address(int(address))) if isinstance(address, IPv6Address) else address


def own_names(host_name: str) -> frozenset[str]:
    """The names under which a machine is reached: as it calls itself, without its domain, and over mDNS."""
    full = host_name.strip().removesuffix(".").lower()
    short = full.partition(".")[0]
    return frozenset(name for name in (full, short, f"{short}.local") if short and parse_host(name) is not None)


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


MAX_HOPS = 16
"""Proxies in a row that are followed; a longer chain is nobody's network."""

_MAX_FORWARDED = 2048  # characters
_FORWARDED_PAIR = re.compile(r'[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s",;=]+)[ \t]*([,;]|\Z)')


def _forwarded_hops(text: str) -> list[str] | None:
    """The `for=` of each element of a Forwarded header (RFC 7239); None where it cannot be read."""
    hops: list[str] = []
    position, hop, more = 0, "", "," if text else ""
    while more:
        match = _FORWARDED_PAIR.match(text, position)
        if match is None or len(text) > _MAX_FORWARDED:
            return None
        name, value, more = match.groups()
        if name.lower() == "for":
            hop = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        if more != ";":
            hops.append(hop)
            hop = ""
        position = match.end()
    return hops


def _hop(text: str) -> Address | None:
    """An address in a chain: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`."""
    endpoint = parse_host(text)
    return _address(endpoint.name if endpoint is not None and endpoint.is_address else text)


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


class Login(NamedTuple):
    """Who has logged in: administrator, user or node; a node has no name."""

    kind: Kind
    name: str


Recognise = Callable[[Evidence], "Login | Reason | None"]
"""Who has logged in, by what a connection says; a reason where that does not count, None where it says nothing."""


def _no_logins(_evidence: Evidence) -> None:
    return None


def _no_remark() -> str:
    return ""


@dataclass(frozen=True)
class AccessPolicy:
    """The decision: pure, but for `keys`, which says whose API key a text is (None: nobody's), and `recognise`.

    `remark` is what strangers are told besides the way in, as things stand.
    `allowed_hosts` are further names of this box, with a port where only that port counts; for `own_names` there is the
    function. Raises `SettingsInvalid` for a host that cannot be one.
    """

    table: AccessTable
    keys: Callable[[str], str | None]
    trusted_networks: Sequence[Network] = ()
    trusted_proxies: Sequence[Network] = ()
    allowed_hosts: Iterable[str] = ()
    own_names: Iterable[str] = ()
    open_detection: bool = True
    recognise: Recognise = _no_logins
    way_in: WayIn = BY_KEY
    remark: Callable[[], str] = _no_remark
    _hosts: frozenset[tuple[str, int | None]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        hosts: set[tuple[str, int | None]] = {("localhost", None)}
        for text in [*self.own_names, *self.allowed_hosts]:
            if _address(text) is not None:
                continue  # every address is let through as it is
            endpoint = parse_host(text)
            if endpoint is None:
                raise SettingsInvalid(
                    f"{text!r} is no host name; allowed_hosts takes names such as box.example.org or "
                    "box.example.org:8004."
                )
            hosts.add((endpoint.name, endpoint.port))
        object.__setattr__(self, "_hosts", frozenset(hosts))

    def judge(self, scope: Mapping[str, Any]) -> tuple[Caller, Refusal | None]:
        """Who makes this HTTP request or WebSocket handshake, and why it is refused, if it is."""
        evidence = Evidence.of(scope)
        caller = self.caller(evidence)
        method = _method(scope)
        refusal = self._refuse_page(method, evidence)
        if refusal is None and not self.permits(caller, self.table.right_to(method, scope["path"])):
            refusal = self.refusal(caller)
        return caller, refusal

    def permits(self, caller: Caller, right: Right) -> bool:
        """Whether the caller has this right."""
        if caller.is_stranger:
            return right is Right.OPEN or (right is Right.DETECT and self.open_detection)
        return caller.kind not in _ONLY or right in _ONLY[caller.kind]

    def allows(self, caller: Caller, event: str) -> bool:
        """Whether the caller may send this Socket.IO event."""
        return self.permits(caller, self.table.right_to_event(event))

    def caller(self, evidence: Evidence) -> Caller:
        """Who asks. Only the address at the other end of the connection itself can be loopback."""
        caller = self._caller_by_address(evidence)
        if not caller.is_stranger:
            return caller
        for text in evidence.presented_keys():
            try:
                name = self.keys(text)
            except SettingsInvalid:  # the one who keeps the keys has logged it
                return replace(caller, reason=Reason.KEYS_UNREADABLE)
            if name is not None:
                return Caller(Kind.KEY, caller.address, key_name=name)
            caller = replace(caller, reason=Reason.KEY)
        login = self.recognise(evidence)
        if isinstance(login, Login):
            return Caller(login.kind, caller.address, user_name=login.name)
        return caller if login is None else replace(caller, reason=login)

    def refusal(self, caller: Caller) -> Refusal:
        """Why this caller may not do what others may, and who those are."""
        if not caller.is_stranger:
            who = "A user" if caller.kind is Kind.USER else "A node that has logged in without a name"
            return Refusal(Reason.ROLE, f"{who} may not do this; log in as somebody who may.")
        reason = caller.reason or Reason.NO_ADDRESS
        sentence = _STRANGERS[reason].format(address=caller.address, network=network_of(caller.address))
        return Refusal(reason, " ".join(filter(None, [sentence, self.way_in.sentence, self.remark()])))

    def _caller_by_address(self, evidence: Evidence) -> Caller:
        peer = _address(evidence.peer) if evidence.peer else None
        if peer is None:
            return NOBODY
        address = peer
        if evidence.is_forwarded:
            if not _within(peer, self.trusted_proxies):
                return Caller(Kind.STRANGER, str(peer), reason=Reason.PROXY)
            asker = self._forwarded_for(evidence)
            if asker is None:
                return Caller(Kind.STRANGER, str(peer), reason=Reason.FORWARDING)
            address = asker
        elif peer.is_loopback:
            return Caller(Kind.LOOPBACK, str(peer))
        if _within(address, self.trusted_networks):
            return Caller(Kind.TRUSTED, str(address))
        return Caller(Kind.STRANGER, str(address), reason=Reason.NETWORK)

    def _forwarded_for(self, evidence: Evidence) -> Address | None:
        """For whom a trusted proxy asks.

        A proxy writes one of the headers and may hand on the other as the client made it up: they must agree.
        """
        chains: list[Sequence[str] | None] = []
        if b"x-forwarded-for" in evidence.headers:
            chains.append([hop.strip() for hop in ",".join(evidence.texts(b"x-forwarded-for")).rsplit(",", MAX_HOPS)])
        if b"forwarded" in evidence.headers:
            chains.append(_forwarded_hops(",".join(evidence.texts(b"forwarded"))))
        found = {self._rightmost_untrusted(chain or ()) for chain in chains}
        return found.pop() if len(found) == 1 else None

    def _rightmost_untrusted(self, hops: Sequence[str]) -> Address | None:
        """Each proxy adds on the right who asked it: what stands left of the first untrusted one may be made up."""
        address = None
        for hop in hops[: -MAX_HOPS - 1 : -1]:
            address = _hop(hop)
            if address is None or not _within(address, self.trusted_proxies):
                return address
        return address if len(hops) <= MAX_HOPS else None

    def _refuse_page(self, method: str, evidence: Evidence) -> Refusal | None:
        """Turn away names that are not ours, and pages of other origins."""
        headers = evidence.headers
        names = evidence.texts(b"host")
        host = parse_host(names[0]) if len(names) == 1 else None
        if host is None:
            return Refusal(
                Reason.HOST, "A request has to name this box in one Host header: a name or address, and a port."
            )
        if not (host.is_address or (host.name, None) in self._hosts or (host.name, host.port) in self._hosts):
            return Refusal(
                Reason.HOST,
                f"This box is not known as {host.name!r}: ask it by its address, by its own name or as localhost, or "
                "add that name to the setting allowed_hosts.",
            )
        if method == "OPTIONS" and b"access-control-request-method" in headers:
            return Refusal(
                Reason.PREFLIGHT,
                "Pages of other origins cannot use this box; a program that is no page can, or its own.",
            )
        if b"origin" in headers and not _same_origin(evidence.texts(b"origin"), host):
            return Refusal(
                Reason.ORIGIN,
                f"A page of another origin may not use the box at {names[0]!r}: open the box's own pages instead. A "
                "proxy in between has to hand on the Host header as it came.",
            )
        if method not in {"GET", "HEAD"} and any(
            site not in {b"same-origin", b"none"} for site in headers.get(b"sec-fetch-site", ())
        ):
            return Refusal(
                Reason.ORIGIN, "A page of another site may not use this box: open the box's own pages instead."
            )
        return None


def _method(scope: Mapping[str, Any]) -> str:
    """As the table calls it."""
    return str(scope["method"]) if scope["type"] == "http" else "WEBSOCKET"


def _same_origin(origins: Sequence[str], host: Endpoint) -> bool:
    """Whether the one Origin is the page at this Host. TLS may end at a proxy, so the Origin names the scheme."""
    scheme, separator, rest = origins[0].partition("://")
    default = _DEFAULT_PORTS.get(scheme.lower())
    origin = parse_host(rest)
    if len(origins) != 1 or not separator or default is None or origin is None:
        return False
    return origin.name == host.name and (origin.port or default) == (host.port or default)


def network_of(address: str) -> str | None:
    """The network that one would trust to let this address in: its /24 or /64. None where it is no address.

    A public IPv4 address shares its /24 with other people's machines, so there it is the address alone.
    """
    parsed = _address(address)
    if parsed is None:
        return None
    alone = isinstance(parsed, IPv4Address) and parsed.is_global
    length = 32 if alone else 24 if isinstance(parsed, IPv4Address) else 64
    return str(ip_network(f"{parsed}/{length}", strict=False))


@dataclass(frozen=True)
class Refused:
    """Who was turned away, why and how often. Times are seconds since 1970; `network` is what one would trust."""

    address: str
    reason: Reason
    sentence: str
    network: str | None
    count: int
    first: float
    last: float


class Refusals:
    """What was turned away lately: robots send no credentials and read no answer, so people must see it here.

    At most `limit` entries are kept, those refused last; machines of one IPv6 /64 share an entry, for they have
    addresses without number. `totals` count everything by reason, `forgotten` the entries that had to go. Any thread
    may call.
    """

    def __init__(self, clock: Callable[[], float], limit: int = 256) -> None:
        self.totals: Counter[Reason] = Counter()
        self.forgotten = 0
        self._clock = clock
        self._limit = limit
        self._entries: OrderedDict[tuple[str, Reason], Refused] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, address: str, refusal: Refusal) -> bool:
        """Count a refusal. True where this address was not refused for this reason lately."""
        now = self._clock()
        network = network_of(address)
        key = (network if network and ":" in network else address, refusal.reason)
        with self._lock:
            self.totals[refusal.reason] += 1
            before = self._entries.pop(key, None)
            self._entries[key] = Refused(
                address=address,
                reason=refusal.reason,
                sentence=refusal.sentence,
                network=network if refusal.reason is Reason.NETWORK else None,
                count=before.count + 1 if before else 1,
                first=before.first if before else now,
                last=now,
            )
            if len(self._entries) > self._limit:
                self._entries.popitem(last=False)
                self.forgotten += 1
        return before is None

    def snapshot(self) -> list[Refused]:
        """The entries, the latest first."""
        with self._lock:
            return list(reversed(self._entries.values()))


class Access:
    """The policy in force (replace it when settings change) and what it turned away."""

    def __init__(self, policy: AccessPolicy, refusals: Refusals) -> None:
        self.policy = policy
        self.refusals = refusals

    def refused(self, caller: Caller, refusal: Refusal, what: str) -> None:
        """Count a refusal, and log it the first time. `what` was asked for: a route or an event."""
        if self.refusals.note(caller.address, refusal):
            logger.warning("Refused %r from %s: %s", what, caller.address or "nobody known", refusal.sentence)


class SocketCallers:
    """Who is at the other end of each Socket.IO connection.

    Evidence is kept, not the verdict: a network that becomes trusted, or a key that is revoked, counts for connections
    that are already open. It holds what is connected, no more: call `disconnected` for each `connected`.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._evidence: dict[str, Evidence] = {}

    def connected(self, sid: str, environ: Mapping[str, Any], auth: object = None) -> Caller:
        """Remember a connection. `environ` is python-socketio's, `auth` what the client sent with it."""
        self._evidence[sid] = Evidence.of(environ.get("asgi.scope", environ), auth)
        return self.caller(sid)

    def disconnected(self, sid: str) -> None:
        """Forget a connection."""
        self._evidence.pop(sid, None)

    def caller(self, sid: str) -> Caller:
        """Who is there now; a stranger where the connection is not known."""
        evidence = self._evidence.get(sid)
        return NOBODY if evidence is None else self._access.policy.caller(evidence)

    def demand(self, sid: str, event: str) -> Caller:
        """Who sends this event. Raises `AccessDenied`, counted, where that caller may not."""
        caller = self.caller(sid)
        if not self._access.policy.allows(caller, event):
            refusal = self._access.policy.refusal(caller)
            self._access.refused(caller, refusal, event)
            raise AccessDenied(refusal.sentence)
        return caller


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
        await _answer(scope, send, refusal, self._access.policy.way_in.scheme)

    def _may_end(self, caller: Caller, scope: Scope) -> bool:
        """Whether what is asked for can stay open, and whether the caller's right to it can end meanwhile."""
        stays = scope["type"] == "websocket" or scope["method"] in {"GET", "HEAD"}
        passing = caller.kind not in {Kind.LOOPBACK, Kind.STRANGER}
        return stays and passing and self._access.policy.table.right_to(_method(scope), scope["path"]) is not Right.OPEN


class _Watched:
    """A connection whose caller is looked at again whenever something passes, and every few seconds."""

    def __init__(self, app: ASGIApp, access: Access, scope: Scope, look_again: float) -> None:
        self._app = app
        self._access = access
        self._scope = scope
        self._evidence = Evidence.of(scope)
        self._right = access.policy.table.right_to(_method(scope), scope["path"])
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
        await _answer(self._scope, send, policy.refusal(policy.caller(self._evidence)), policy.way_in.scheme)


async def _redirect(send: Send, place: str) -> None:
    headers = [(b"location", place.encode()), (b"cache-control", b"no-store"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _answer(scope: Scope, send: Send, refusal: Refusal, scheme: str) -> None:
    websocket = scope["type"] == "websocket"
    if websocket and "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    body = json.dumps({"detail": refusal.sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.status == 401:
        headers.append((b"www-authenticate", scheme.encode()))
    if refusal.status == 429:
        headers.append((b"retry-after", b"60"))
    kind = "websocket.http.response" if websocket else "http.response"
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
