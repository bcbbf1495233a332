"""Who asks, as far as that was found out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from access.evidence import Evidence
from models.wire.node_status import Autoupload


class Kind(Enum):
    """Where the trust in a caller comes from."""

    LOOPBACK = "loopback"
    TRUSTED = "trusted"
    KEY = "key"
    ADMINISTRATOR = "administrator"
    USER = "user"
    NODE = "node"
    STRANGER = "stranger"


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
    CONNECTIONS = "connections"


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


class Login(NamedTuple):
    """Who has logged in: administrator, user or node; a node has no name."""

    kind: Kind
    name: str


Recognise = Callable[[Evidence], "Login | Reason | None"]
"""Who has logged in, by what a connection says; a reason where that does not count, None where it says nothing."""
