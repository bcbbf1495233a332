"""Creation dates as clients of every era write them."""

from __future__ import annotations

import re
from datetime import datetime

from models.errors import InvalidInput

_FORM = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T_ ](?P<time>\d{2}:\d{2}(?::\d{2})?)(?:[.,](?P<fraction>\d{1,9}))?\s?(?P<zone>Z|z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII,
)


def checked_date(text: str | None) -> str | None:
    """The date as it was given, once it is known to be one; None where there is none.

    ISO 8601 with or without time and zone, or `YYYY-MM-DD_hh:mm:ss.mmm`. Raises `InvalidInput`.
    """
    if text is None or not text.strip():
        return None
    match = _FORM.fullmatch(text.strip())
    if match is not None:
        try:
            datetime.fromisoformat(f"{match['date']}T{match['time'] or '00:00'}")
        except ValueError:
            match = None
    if match is None:
        raise InvalidInput(
            f"{text[:60]!r} is no date; it should be like 2024-01-31T12:34:56.789+01:00 or 2024-01-31_12:34:56.789"
        )
    return text.strip()


def written_now(now: datetime) -> str:
    """A creation date as upstream's nodes write it: local time, milliseconds, `_` between date and time."""
    return now.isoformat(sep="_", timespec="milliseconds")
