"""What can be believed of the date: small boards have no battery, and begin in the past."""

from __future__ import annotations

from datetime import datetime, timezone

BUILT = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
"""Seconds since 1970. This program is younger: a clock that shows less was never set."""


def believed(now: datetime, before: datetime | None = None) -> datetime | None:
    """The date, if it can be right: not before this program, nor before what was written down last. Pure."""
    return now if now.timestamp() >= BUILT and (before is None or now >= before) else None
