"""Whether the Loop answers, as people are told."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from appliance.connection import LoopConnection

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_standalone_box_stays_one() -> None:
    connection = LoopConnection(None)
    connection.away("whatever")
    connection.answered()
    assert connection.in_words(lambda: NOON) == {"state": "standalone", "host": None, "since": None, "because": None}


def test_since_when_and_because_of_what() -> None:
    clock = Clock()
    connection = LoopConnection("loop.example", clock)
    assert connection.condition.state == "connecting"
    clock.seconds = 10
    connection.away("no connection")
    clock.seconds = 70
    connection.away("it asks to come again later")
    assert connection.in_words(lambda: NOON) == {
        "state": "away",
        "host": "loop.example",
        "since": "2026-05-01T11:59:00+00:00",
        "because": "it asks to come again later",
    }
    connection.answered()
    assert connection.in_words(lambda: NOON)["since"] == "2026-05-01T12:00:00+00:00"
    assert connection.condition.because is None


def test_a_wall_clock_that_jumps_does_not_make_it_lie() -> None:
    clock = Clock()
    connection = LoopConnection("loop.example", clock)
    connection.answered()
    clock.seconds = 60
    for jumped in (NOON + timedelta(days=365), NOON - timedelta(days=365)):
        since = datetime.fromisoformat(str(connection.in_words(lambda jumped=jumped: jumped)["since"]))  # type: ignore[misc]
        assert jumped - since == timedelta(seconds=60)
    assert connection.condition.seconds == 60
