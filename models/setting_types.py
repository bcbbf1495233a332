"""Types of settings that the box and the companions have in common, and which variables a setting is read from."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer


@dataclass(frozen=True)
class Named:
    """The environment variables that a field is read from, the one that wins first. Without it: its name in capitals."""

    names: tuple[str, ...]


def named(*names: str) -> Named:
    """For the annotation of a field."""
    return Named(names)


def _network(value: Any) -> Any:
    """`192.168.1.7/24` means the network that this address is in."""
    return ip_network(value, strict=False) if isinstance(value, str) else value


def lower(value: Any) -> Any:
    """Text in lower case, without spaces around it; anything else as it is."""
    return value.strip().lower() if isinstance(value, str) else value


def upper(value: Any) -> Any:
    """Text in capitals, without spaces around it; anything else as it is."""
    return value.strip().upper() if isinstance(value, str) else value


Text = Annotated[str, Field(min_length=1, max_length=255)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network), PlainSerializer(str)]
