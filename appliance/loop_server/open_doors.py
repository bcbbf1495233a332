"""What anybody on the network may do without a login, within bounds: so many requests and megabytes per minute."""

from __future__ import annotations

from starlette.requests import Request

from access import Caller, Kind, caller_in
from appliance.loop_server.services import LoopServices
from models.errors import LoopBusy

MEGABYTE = 1_000_000


def enter(services: LoopServices, request: Request) -> None:
    """Count a request of somebody who is not known. Raises `LoopBusy` if there were too many lately."""
    pass_through(services, caller_in(request.scope))


def pass_through(services: LoopServices, caller: Caller) -> None:
    """The same for whatever somebody wants. Raises `LoopBusy`."""
    if not _is_bounded(caller):
        return
    wait = max(services.open_requests.wait(caller.address), services.open_megabytes.wait(caller.address))
    if wait:
        raise LoopBusy(
            f"Your network does more than this loop allows without a login; go on in {wait:.0f} s, or log in", 429, wait
        )
    services.open_requests.take(caller.address)


def carried(services: LoopServices, request: Request, size: int) -> None:
    """Count the bytes that such a request brought or took."""
    caller = caller_in(request.scope)
    if _is_bounded(caller):
        services.open_megabytes.take(caller.address, size / MEGABYTE)


def _is_bounded(caller: Caller) -> bool:
    return caller.kind in {Kind.STRANGER, Kind.NODE}
