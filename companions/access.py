"""Who may do what with a companion: this machine and trusted networks everything, all others may look at its status.

A companion has neither passwords nor keys: it belongs to the machine that it runs on. Who asks, and whether a page of
somebody else does, is decided as everywhere, by `access`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Sequence

from access import (
    Access,
    AccessMiddleware,
    AccessPolicy,
    AccessTable,
    ASGIApp,
    Network,
    Refusals,
    Right,
    WayIn,
    own_names,
)

TABLE = AccessTable({"GET /healthz": Right.OPEN}, {})
"""What strangers may read: whether the node lives, and in what state it is. Pages show pictures, so they are not among it."""

WAY_IN = WayIn("Otherwise ask from the machine itself: a tunnel (ssh -L) does.", None)


def policy(trusted: Sequence[Network], allowed_hosts: Iterable[str], host_name: str | None = None) -> AccessPolicy:
    """For this machine, or one of that name. `allowed_hosts` are further names under which it is reached."""
    return AccessPolicy(
        TABLE,
        WAY_IN,
        trusted_networks=trusted,
        allowed_hosts=allowed_hosts,
        own_names=own_names(socket.gethostname() if host_name is None else host_name),
        open_detection=False,
    )


def guarded(app: ASGIApp, policy: AccessPolicy) -> ASGIApp:
    """The application behind the policy: nothing is served around it."""
    return AccessMiddleware(app, Access(policy, Refusals(time.time)))
