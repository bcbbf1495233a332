"""Names and addresses: of this box, of who asks, and of the networks that they are in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Endpoint(NamedTuple):
    """What a Host header names. `name` is lower case, without brackets and final dot."""

    name: str
    port: int | None
    is_address: bool


_HOST = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9_.-]{1,253}))(?::([0-9]{1,5}))?", re.IGNORECASE)
_LONGEST_NAME = 253  # of the domain name system
_LONGEST_ADDRESS = 80  # IPv6 with the name of a network card


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
    address = parse_address(bracketed or name)
    if (bracketed and (address is None or ":" not in bracketed)) or (port is not None and port > 65535):
        return None
    if address is not None:
        return Endpoint(str(address), port, True)
    name = name.removesuffix(".").lower()
    return Endpoint(name, port, False) if name else None


def parse_address(text: str) -> Address | None:
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


def within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def counted_as(address: str) -> str:
    """Under what an address is counted: machines of one IPv6 /64 share a name, for they have addresses without number."""
    network = network_of(address)
    return network if network is not None and ":" in network else address


def network_of(address: str) -> str | None:
    """The network that one would trust to let this address in: its /24 or /64. None where it is no address.

    A public IPv4 address shares its /24 with other people's machines, so there it is the address alone.
    """
    parsed = parse_address(address)
    if parsed is None:
        return None
    alone = isinstance(parsed, IPv4Address) and parsed.is_global
    length = 32 if alone else 24 if isinstance(parsed, IPv4Address) else 64
    return str(ip_network(f"{parsed}/{length}", strict=False))
