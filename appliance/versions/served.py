"""Which model served when: what is written down when one takes over, and what that says of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict

from appliance.clock import believed
from appliance.versions.reference import ModelReference

MAX_TAKEOVERS = 200
"""Remembered, the latest."""


class TakeOver(BaseModel):
    """From `when` on this model served, until the next took over; None where nobody knew the date."""

    model_config = ConfigDict(frozen=True)

    reference: ModelReference
    when: AwareDatetime | None = None


TakeOvers = tuple[TakeOver, ...]
"""In the order in which they happened, whatever the clock showed."""


class Period(NamedTuple):
    """A model served from `since` to `until`, and does `still`; None where nobody knew the date."""

    since: datetime | None
    until: datetime | None
    still: bool


def with_takeover(
    past: TakeOvers, reference: ModelReference, now: datetime, current: ModelReference | None
) -> TakeOvers:
    """This model serves now: `past` with it, or as it was where it has served since the last time.

    `current` is what served before, as far as that is known: an older program did not write down since when.
    """
    if not past and current is not None:
        past = (TakeOver(reference=current),)
    if past and past[-1].reference == reference:
        return past
    return (*past, TakeOver(reference=reference, when=believed(now, _last_date(past))))[-MAX_TAKEOVERS:]


def dated(past: TakeOvers, when: datetime) -> TakeOvers:
    """With another date of the last, where that can be right: the clock has been set since."""
    if not past:
        return past
    found = believed(when, _last_date(past[:-1]))
    return past if found is None else (*past[:-1], past[-1].model_copy(update={"when": found}))


def _last_date(past: Sequence[TakeOver]) -> datetime | None:
    return past[-1].when if past else None


def periods(past: Sequence[TakeOver], reference: ModelReference) -> list[Period]:
    """When this model served, the latest first."""
    found = [
        Period(each.when, past[number].when if number < len(past) else None, number == len(past))
        for number, each in enumerate(past, start=1)
        if each.reference == reference
    ]
    return found[::-1]


JUMP = timedelta(seconds=30)
"""By more than this a clock is set, not corrected."""


class ClockWatch:
    """Rights the date of a take-over that was written down before the clock was set. `clock` counts seconds and never jumps.

    Boards without a battery take over a model first and hear of a time server later.
    """

    def __init__(self) -> None:
        self._began: tuple[datetime, float] | None = None

    def took_over(self, now: datetime, clock: float) -> None:
        """A model has taken over at this moment."""
        self._began = now, clock

    def corrected(self, now: datetime, clock: float) -> datetime | None:
        """When it really took over, if the clock was set since; told once."""
        if self._began is None:
            return None
        before, at = self._began
        really = now - timedelta(seconds=clock - at)
        if abs(really - before) < JUMP:
            return None
        self._began = really, at
        return really
