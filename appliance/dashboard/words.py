"""How pages call things that have short names elsewhere."""

from __future__ import annotations

from datetime import datetime

from appliance.versions.served import Period
from models.runtimes.base import Choice

ACCELERATORS = {"cpu": "the processor", "edgetpu": "Edge TPU", "cuda": "GPU", "tensorrt": "GPU (TensorRT)"}


def accelerator(choice: Choice) -> str:
    """What a model runs on."""
    return ACCELERATORS.get(choice.accelerator, choice.accelerator)


def moment(when: datetime) -> str:
    """A time of day of this box: 22 Nov, 14:03:12."""
    local = when.astimezone()
    return f"{local.day} {local:%b, %H:%M:%S}"


def minute(when: datetime) -> str:
    """The same without seconds, for what is not told anew each second: 22 Nov, 14:03."""
    local = when.astimezone()
    return f"{local.day} {local:%b, %H:%M}"


def served(period: Period, now: datetime) -> str:
    """When a model served: since 9 Nov, 08:11; or 3 Nov, 14:02 to 9 Nov, 08:11. With the year where that is another."""
    since, until = (None if each is None else _dated(each, now) for each in (period.since, period.until))
    if period.still:
        return f"since {since}" if since else "since a time that is not known: the clock was not set"
    if since is None and until is None:
        return "before, at a time that is not known: the clock was not set"
    return f"{since or 'not known'} to {until or 'not known'}"


def _dated(when: datetime, now: datetime) -> str:
    year = when.astimezone().year
    return minute(when) if year == now.astimezone().year else f"{minute(when)} {year}"
