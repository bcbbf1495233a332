"""The policy in force and what it turned away; and who is at the other end of what stays open."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from access.callers import NOBODY, Caller
from access.evidence import Evidence
from access.policy import AccessPolicy
from access.refusals import Refusal, Refusals
from models.errors import AccessDenied

logger = logging.getLogger(__name__)


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
        """Remember a connection. `environ` is python-socketio's, `auth` what the client sent with it.

        Who says a key only now is no stranger among all that is connected (see `places`).
        """
        scope = environ.get("asgi.scope", environ)
        self._evidence[sid] = Evidence.of(scope, auth)
        caller = scope["caller"] = self.caller(sid)
        return caller

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
