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

A server's table is made with `table`; the decision (`AccessPolicy`, pure) in `policy` and what it imports; `Access` holds the
policy in force and counts refusals; `AccessMiddleware` obeys it; `SocketPlaces` bounds what is open by Socket.IO. Nothing here
reads a body or knows a web framework; header names are lower case, as ASGI has them.
"""

from access.asgi import ASGIApp, Receive, Scope, Send
from access.callers import (
    NOBODY,
    Caller,
    Kind,
    Login,
    Reason,
    Recognise,
    caller_in,
    effective_autoupload,
)
from access.evidence import Evidence
from access.forwarding import MAX_HOPS
from access.gate import Access, SocketCallers
from access.hosts import Endpoint, Network, counted_as, network_of, own_names, parse_host
from access.middleware import AccessMiddleware
from access.places import Places, SocketPlaces
from access.policy import AccessPolicy
from access.refusals import Refusal, Refusals, Refused, WayIn
from access.table import AccessTable, Right, walk

__all__ = [
    "MAX_HOPS",
    "NOBODY",
    "ASGIApp",
    "Access",
    "AccessMiddleware",
    "AccessPolicy",
    "AccessTable",
    "Caller",
    "Endpoint",
    "Evidence",
    "Kind",
    "Login",
    "Network",
    "Places",
    "Reason",
    "Receive",
    "Recognise",
    "Refusal",
    "Refusals",
    "Refused",
    "Right",
    "Scope",
    "Send",
    "SocketCallers",
    "SocketPlaces",
    "WayIn",
    "caller_in",
    "counted_as",
    "effective_autoupload",
    "network_of",
    "own_names",
    "parse_host",
    "walk",
]
