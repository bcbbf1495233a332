"""Where a Learning Loop is, from what people write into `LOOP_HOST`. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from models.errors import SettingsInvalid

_FORM = re.compile(
    r"(?:(?P<scheme>https?|wss?)://)?"
    r"(?:\[(?P<bracketed>[0-9a-fA-F:.]+)\]|(?P<host>[^\s/?#@:\[\]\\]+))(?::(?P<port>[0-9]{1,5}))?/*",
    re.IGNORECASE,
)
_LOCAL_SUFFIXES = (".localhost", ".local", ".lan", ".internal", ".home.arpa")
"""Ends of names that only ever mean a machine nearby."""


@dataclass(frozen=True)
class LoopAddress:
    """Scheme (`http` or `https`), host without brackets, and port where one was given."""

    scheme: str
    host: str
    port: int | None = None

    @property
    def url(self) -> str:
        """Base of all REST calls, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port is None else f":{self.port}")

    @property
    def socket_url(self) -> str:
        """The same for Socket.IO: `ws` for http, `wss` for https."""
        return "ws" + self.url[len("http") :]

    @property
    def is_nearby(self) -> bool:
        """Whether the name can only mean this machine or its own network: never to be asked for through a proxy.

        Loopback, private and link-local addresses, names without a dot, and names that end like one of a home or office
        network. A name with dots may still resolve to a private address; `NO_PROXY` is for those.
        """
        try:
            return not ipaddress.ip_address(self.host).is_global
        except ValueError:
            return "." not in self.host or self.host.endswith(_LOCAL_SUFFIXES)


def loop_address(text: str) -> LoopAddress:
    """Read a host with optional scheme and port. Raises `SettingsInvalid`.

    Without a scheme it is `https` if the text contains `learning-loop.ai`, and `http` otherwise: the rule of
    learning-loop-node, whose users have such hosts in their settings.
    """
    text = text.strip()
    match = _FORM.fullmatch(_bracketed(text))
    port = int(match["port"]) if match is not None and match["port"] else None
    if match is None or (port is not None and not 0 < port < 65536):
        raise SettingsInvalid(
            f"{text[:80]!r} names no Learning Loop; it should be a host, with scheme and port where needed, "
            "like learning-loop.ai or http://192.168.1.20:8014"
        )
    host = (match["bracketed"] or match["host"]).lower()
    said = (match["scheme"] or "").lower()
    secure = said in ("https", "wss") if said else "learning-loop.ai" in host
    return LoopAddress("https" if secure else "http", host, port)


def _bracketed(text: str) -> str:
    """An IPv6 address as URLs want it."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return text
    return f"[{text}]"
