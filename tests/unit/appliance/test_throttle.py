"""Nobody takes more than a share, and nobody else pays for it."""

from __future__ import annotations

import pytest

from appliance.throttle import Throttle
from tests.unit.appliance.loop_server.conftest import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_passes_then_as_much_as_the_rate_allows(clock: Clock) -> None:
    throttle = Throttle(60, clock)
    for _ in range(60):
        assert throttle.wait("203.0.113.9") == 0
        throttle.take("203.0.113.9")
    assert throttle.wait("203.0.113.9") == 1.0
    clock.now += 1.0
    assert throttle.wait("203.0.113.9") == 0
    throttle.take("203.0.113.9")
    assert throttle.wait("203.0.113.9") > 0


def test_what_overdraws_has_to_be_waited_for(clock: Clock) -> None:
    throttle = Throttle(60, clock)
    throttle.take("203.0.113.9", 180)
    assert throttle.wait("203.0.113.9") == 121.0
    clock.now += 1000
    assert throttle.wait("203.0.113.9") == 0


def test_others_do_not_pay_but_machines_of_one_ipv6_network_share(clock: Clock) -> None:
    throttle = Throttle(1, clock)
    throttle.take("203.0.113.9")
    throttle.take("2001:db8::1")
    assert throttle.wait("203.0.113.10") == 0
    assert throttle.wait("203.0.113.9") > 0
    assert throttle.wait("2001:db8::2") > 0
    assert throttle.wait("2001:db8:0:1::2") == 0


def test_it_remembers_a_bounded_number_of_networks(clock: Clock) -> None:
    throttle = Throttle(1, clock, limit=3)
    for last in range(4):
        throttle.take(f"203.0.113.{last}")
    assert throttle.wait("203.0.113.0") == 0
    assert throttle.wait("203.0.113.3") > 0


def test_a_clock_that_goes_backwards_takes_nothing_away_for_long(clock: Clock) -> None:
    throttle = Throttle(60, clock)
    throttle.take("203.0.113.9", 10)
    clock.now += 5
    assert throttle.wait("203.0.113.9") == 0
