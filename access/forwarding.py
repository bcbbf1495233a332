"""For whom a proxy asks, by the headers that it writes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from access.evidence import Evidence
from access.hosts import Address, Network, parse_address, parse_host, within

MAX_HOPS = 16
"""Proxies in a row that are followed; a longer chain is nobody's network."""

_MAX_FORWARDED = 2048  # characters
_FORWARDED_PAIR = re.compile(r'[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s",;=]+)[ \t]*([,;]|\Z)')


def forwarded_for(evidence: Evidence, trusted_proxies: Sequence[Network]) -> Address | None:
    """For whom a trusted proxy asks; None where it does not say.

    A proxy writes one of the headers and may hand on the other as the client made it up: they must agree.
    """
    chains: list[Sequence[str] | None] = []
    if b"x-forwarded-for" in evidence.headers:
        chains.append([hop.strip() for hop in ",".join(evidence.texts(b"x-forwarded-for")).rsplit(",", MAX_HOPS)])
    if b"forwarded" in evidence.headers:
        chains.append(_forwarded_hops(",".join(evidence.texts(b"forwarded"))))
    found = {_rightmost_untrusted(chain or (), trusted_proxies) for chain in chains}
    return found.pop() if len(found) == 1 else None


def _rightmost_untrusted(hops: Sequence[str], trusted_proxies: Sequence[Network]) -> Address | None:
    """Each proxy adds on the right who asked it: what stands left of the first untrusted one may be made up."""
    address = None
    for hop in hops[: -MAX_HOPS - 1 : -1]:
        address = _hop(hop)
        if address is None or not within(address, trusted_proxies):
            return address
    return address if len(hops) <= MAX_HOPS else None


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
    return parse_address(endpoint.name if endpoint is not None and endpoint.is_address else text)
