"""Whether a request names this box, and comes from no page of somebody else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from access.callers import Reason
from access.evidence import Evidence
from access.hosts import Endpoint, parse_address, parse_host
from access.refusals import Refusal
from models.errors import SettingsInvalid

_DEFAULT_PORTS = {"http": 80, "https": 443}


Hosts = frozenset[tuple[str, int | None]]
"""Names of a box, each with the port on which it counts; None: on every one."""


def known_hosts(names: Iterable[str]) -> Hosts:
    """The names under which a box may be asked; every address may anyway. Raises `SettingsInvalid` for what is no host."""
    hosts: set[tuple[str, int | None]] = {("localhost", None)}
    for text in names:
        if parse_address(text) is not None:
            continue  # every address is let through as it is
        endpoint = parse_host(text)
        if endpoint is None:
            raise SettingsInvalid(
                f"{text!r} is no host name; allowed_hosts takes names such as box.example.org or box.example.org:8004."
            )
        hosts.add((endpoint.name, endpoint.port))
    return frozenset(hosts)


def page_refusal(method: str, evidence: Evidence, hosts: Hosts) -> Refusal | None:
    """Turn away names that are not ours (see `known_hosts`), and pages of other origins."""
    headers = evidence.headers
    names = evidence.texts(b"host")
    host = parse_host(names[0]) if len(names) == 1 else None
    if host is None:
        return Refusal(Reason.HOST, "A request has to name this box in one Host header: a name or address, and a port.")
    if not (host.is_address or (host.name, None) in hosts or (host.name, host.port) in hosts):
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
        return Refusal(Reason.ORIGIN, "A page of another site may not use this box: open the box's own pages instead.")
    return None


def _same_origin(origins: Sequence[str], host: Endpoint) -> bool:
    """Whether the one Origin is the page at this Host. TLS may end at a proxy, so the Origin names the scheme."""
    scheme, separator, rest = origins[0].partition("://")
    default = _DEFAULT_PORTS.get(scheme.lower())
    origin = parse_host(rest)
    if len(origins) != 1 or not separator or default is None or origin is None:
        return False
    return origin.name == host.name and (origin.port or default) == (host.port or default)
