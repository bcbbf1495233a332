"""Who may come in, as the page shows and changes it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timezone
from ipaddress import ip_address
from typing import Any

from access import Caller, Evidence, Kind
from appliance.dashboard.browsers import browser_in_words
from appliance.dashboard.words import minute
from appliance.hashing import MIN_PASSWORD
from appliance.services import Services
from appliance.sessions import Session
from models.errors import InvalidInput
from ui.kit.feed import Feed
from ui.ports import AccessView, SessionRow, Standing

EVERY = 1.0
"""Seconds between two looks; memory alone is asked."""

JUST_NOW = 90.0
"""Seconds."""


class AccessOfPage:
    """See `ui.ports.Access`."""

    least = MIN_PASSWORD

    def __init__(self, services: Services) -> None:
        self._services = services
        self._feed: Feed[AccessView] = Feed("access", self._look, EVERY)

    @property
    def feed(self) -> Feed[AccessView]:
        return self._feed

    async def _look(self) -> AccessView:
        logins = self._services.logins
        now = time.time()
        return AccessView(logins.claimed, tuple(_row(each, now) for each in logins.sessions.list()), logins.problem)

    def visitor(self, scope: Mapping[str, Any]) -> VisitorOfPage:
        return VisitorOfPage(self._services, Evidence.of(scope), self._feed)

    async def end(self, session: str) -> None:
        ended = await self._services.logins.sessions.end(session)
        self._feed.poke()
        if not ended:
            raise InvalidInput("That session is over already.")


class VisitorOfPage:
    """See `ui.ports.Visitor`. What is known of a visitor is kept, not what followed from it: that can change."""

    def __init__(self, services: Services, evidence: Evidence, feed: Feed[AccessView]) -> None:
        self._services = services
        self._evidence = evidence
        self._feed = feed

    def standing(self) -> Standing:
        caller, session = self._caller(), self._session()
        return Standing(
            self._why(caller, session),
            session.id if session is not None else None,
            self._services.logins.needs_current(caller),
        )

    async def set_password(self, password: str, current: str) -> int:
        session = self._session()
        own = session.id if session is not None else None
        ended = await self._services.logins.change(password, current, self._caller(), own)
        self._feed.poke()
        return ended

    async def end_others(self) -> int:
        session = self._session()
        ended = await self._services.logins.sessions.end_all(but=session.id if session is not None else None)
        self._feed.poke()
        return ended

    def _caller(self) -> Caller:
        return self._services.access.policy.caller(self._evidence)

    def _session(self) -> Session | None:
        return self._services.logins.sessions.find(self._evidence)

    def _why(self, caller: Caller, session: Session | None) -> str:
        if caller.kind is Kind.LOOPBACK:
            return "You are on the box itself, where everything is allowed without a password."
        if caller.kind is Kind.TRUSTED:
            network = self._trusted(caller.address)
            return f"You are at {caller.address}, in the trusted network {network}, so you need no password."
        if caller.kind is Kind.KEY:
            return f"You are at {caller.address} with the API key {caller.key_name}."
        if session is not None:
            until = _minute(self._services.logins.sessions.ends_at(session))
            return (
                f"You are logged in from {caller.address}, until {until} at the latest; "
                "a week without a visit ends it sooner."
            )
        return "You are not let in any more."

    def _trusted(self, address: str) -> str:
        here = ip_address(address)
        networks = self._services.access.policy.trusted_networks
        return next((str(network) for network in networks if here in network), address)


def _row(session: Session, now: float) -> SessionRow:
    return SessionRow(
        session.id,
        session.address or "an unknown address",
        browser_in_words(session.agent),
        _minute(session.opened),
        "just now" if now - session.used < JUST_NOW else _minute(session.used),
    )


def _minute(seconds: float) -> str:
    return minute(datetime.fromtimestamp(seconds, tz=timezone.utc))
