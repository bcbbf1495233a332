"""When which model served: over restarts, and with the clocks that small boards have."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from appliance.dashboard.words import served as in_words
from appliance.versions.reference import ModelReference
from appliance.versions.served import MAX_TAKEOVERS, ClockWatch, Period
from appliance.versions.state import STATE_FILE, VersionState, load, save
from models.files import FILE_SYSTEM

NOON = datetime(2026, 11, 9, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
NEVER_SET = datetime(1970, 1, 1, 0, 5, tzinfo=timezone.utc)


def reference(version: str) -> ModelReference:
    return ModelReference(organization="acme", project="bolts", format="litert", version=version)


ONE, TWO = reference("1.0"), reference("2.0")


def test_a_model_serves_until_another_takes_over() -> None:
    state = VersionState().serving(ONE, NOON).serving(TWO, NOON + HOUR).serving(ONE, NOON + 2 * HOUR)
    assert state.periods_of(ONE) == [
        Period(NOON + 2 * HOUR, None, True),
        Period(NOON, NOON + HOUR, False),
    ]
    assert state.periods_of(TWO) == [Period(NOON + HOUR, NOON + 2 * HOUR, False)]
    assert state.periods_of(reference("3.0")) == []


def test_a_restart_is_no_change_of_the_model(tmp_path: Path) -> None:
    path = tmp_path / STATE_FILE
    save(path, VersionState().serving(ONE, NOON), FILE_SYSTEM)
    state = load(path, FILE_SYSTEM).serving(ONE, NOON + HOUR, proven=True)
    assert state.periods_of(ONE) == [Period(NOON, None, True)]


def test_a_file_of_an_older_program_does_not_say_since_when(tmp_path: Path) -> None:
    path = tmp_path / STATE_FILE
    text = VersionState(current=ONE, last_good=ONE).model_dump_json(exclude={"takeovers"})
    assert "takeovers" not in text
    path.write_text(text)
    state = load(path, FILE_SYSTEM)
    assert state.problem is None
    again = state.serving(ONE, NOON)
    assert again.periods_of(ONE) == [Period(None, None, True)], "when it took over was not written down"
    assert state.serving(TWO, NOON).periods_of(ONE) == [Period(None, NOON, False)]


def test_what_is_remembered_is_bounded() -> None:
    state = VersionState()
    for number in range(MAX_TAKEOVERS + 10):
        state = state.serving(reference(f"1.{number}"), NOON + number * HOUR)
    assert len(state.takeovers) == MAX_TAKEOVERS
    assert state.periods_of(reference("1.9")) == []
    assert state.periods_of(reference("1.10"))[0].since == NOON + 10 * HOUR


@pytest.mark.parametrize("wrong", [NEVER_SET, NOON - HOUR])
def test_a_date_that_cannot_be_right_is_not_written_down(wrong: datetime) -> None:
    state = VersionState().serving(ONE, NOON).serving(TWO, wrong)
    assert state.periods_of(TWO) == [Period(None, None, True)]
    assert state.periods_of(ONE) == [Period(NOON, None, False)]
    state = state.serving(ONE, NOON + HOUR)
    assert state.periods_of(TWO) == [Period(None, NOON + HOUR, False)]


def test_the_date_is_put_right_when_the_clock_is_set() -> None:
    watch = ClockWatch()
    state = VersionState().serving(ONE, NOON).serving(TWO, NEVER_SET)
    watch.took_over(NEVER_SET, clock=100.0)
    assert watch.corrected(NEVER_SET + timedelta(seconds=20), clock=120.0) is None, "nobody has set it"

    really = watch.corrected(NOON + HOUR, clock=160.0)

    assert really == NOON + HOUR - timedelta(seconds=60)
    assert state.taken_over_at(really).periods_of(TWO) == [Period(really, None, True)]
    assert state.taken_over_at(really).periods_of(ONE) == [Period(NOON, really, False)]
    assert watch.corrected(NOON + HOUR + timedelta(seconds=10), clock=170.0) is None, "told once"


def test_a_clock_that_is_corrected_by_little_is_left_alone() -> None:
    watch = ClockWatch()
    assert watch.corrected(NOON, clock=0.0) is None
    watch.took_over(NOON, clock=0.0)
    assert watch.corrected(NOON + timedelta(seconds=105), clock=100.0) is None


def test_a_date_that_is_put_wrong_is_not_taken_over() -> None:
    state = VersionState().serving(ONE, NOON).serving(TWO, NOON + HOUR)
    assert state.taken_over_at(NOON - HOUR) == state
    assert VersionState().taken_over_at(NOON) == VersionState()


def local(when: datetime) -> str:
    there = when.astimezone()
    return f"{there.day} {there:%b, %H:%M}"


@pytest.mark.parametrize(
    ("period", "words"),
    [
        (Period(NOON, None, True), f"since {local(NOON)}"),
        (Period(None, None, True), "since a time that is not known: the clock was not set"),
        (Period(NOON, NOON + HOUR, False), f"{local(NOON)} to {local(NOON + HOUR)}"),
        (Period(None, NOON, False), f"not known to {local(NOON)}"),
        (Period(NOON, None, False), f"{local(NOON)} to not known"),
        (Period(None, None, False), "before, at a time that is not known: the clock was not set"),
        (Period(NOON - 400 * 24 * HOUR, None, True), f"since {local(NOON - 400 * 24 * HOUR)} 2025"),
    ],
)
def test_in_words(period: Period, words: str) -> None:
    assert in_words(period, NOON) == words
