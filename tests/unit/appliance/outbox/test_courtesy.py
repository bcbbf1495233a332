"""How hard the Loop is asked: more while it likes that, less when it does not, and not at all for a while."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.outbox.courtesy import LONGEST_PAUSE, MOST_AT_ONCE, Backoff, Concurrency, Rate, TokenBucket

BATCH = 4_000_000


class TestConcurrency:
    def test_it_begins_with_one_and_rises_while_all_goes_well(self) -> None:
        requests = Concurrency()
        seen = []
        for moment in range(10):
            seen.append(requests.allowed)
            requests.succeeded(moment, moment + 0.3, BATCH)
        assert seen[:4] == [1, 2, 3, 4]
        assert seen[-1] == MOST_AT_ONCE

    def test_a_failure_halves_it_and_from_then_on_it_rises_slowly(self) -> None:
        requests = risen()
        requests.failed(100.0, 101.0)
        assert requests.allowed == MOST_AT_ONCE // 2
        requests.succeeded(102.0, 102.3, BATCH)
        assert requests.allowed == MOST_AT_ONCE // 2
        for moment in range(103, 110):
            requests.succeeded(moment, moment + 0.3, BATCH)
        assert requests.allowed > MOST_AT_ONCE // 2

    def test_requests_that_fail_together_count_once(self) -> None:
        requests = risen()
        for _ in range(MOST_AT_ONCE):
            requests.failed(100.0, 101.0)
        assert requests.allowed == MOST_AT_ONCE // 2
        requests.failed(101.5, 102.0)
        assert requests.allowed == MOST_AT_ONCE // 4

    def test_it_never_ends_below_one(self) -> None:
        requests = Concurrency()
        for moment in range(0, 100, 2):
            requests.failed(moment, moment + 1)
        assert requests.allowed == 1

    def test_rising_latency_halves_it(self) -> None:
        requests = risen()
        requests.succeeded(100.0, 100.9, BATCH)
        assert requests.allowed == MOST_AT_ONCE // 2

    def test_a_large_request_may_take_longer_than_a_small_one(self) -> None:
        requests = Concurrency()
        for moment in range(20):
            requests.succeeded(moment, moment + 0.05, 10_000)
            requests.succeeded(moment, moment + 2.0, BATCH)
        assert requests.allowed == MOST_AT_ONCE

    def test_a_hiccup_of_milliseconds_is_no_latency(self) -> None:
        requests = risen(seconds=0.01)
        requests.succeeded(100.0, 100.05, BATCH)
        assert requests.allowed == MOST_AT_ONCE

    def test_a_line_that_has_become_slow_for_good_is_got_used_to(self) -> None:
        requests = risen()
        for moment in range(100, 300):
            requests.succeeded(moment, moment + 1.0, BATCH)
        assert requests.allowed == MOST_AT_ONCE


def risen(seconds: float = 0.3) -> Concurrency:
    requests = Concurrency()
    for moment in range(20):
        requests.succeeded(moment, moment + seconds, BATCH)
    assert requests.allowed == MOST_AT_ONCE
    return requests


class TestBackoff:
    def test_each_pause_is_twice_as_long_up_to_the_cap(self) -> None:
        backoff = Backoff()
        assert [backoff.failed(1.0) for _ in range(12)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
        backoff.succeeded()
        assert backoff.failed(1.0) == 1.0

    @given(st.integers(0, 10_000), st.floats(0, 1))
    def test_no_pause_is_longer_than_the_cap_or_shorter_than_half_of_it(self, failures: int, chance: float) -> None:
        backoff = Backoff()
        backoff.failures = failures
        pause = backoff.failed(chance)
        assert 0.5 <= pause <= LONGEST_PAUSE
        if failures >= 10:
            assert pause >= LONGEST_PAUSE / 2

    def test_a_hundred_boxes_do_not_come_back_together(self) -> None:
        pauses = sorted(Backoff().failed(number / 99) for number in range(100))
        assert max(b - a for a, b in itertools.pairwise(pauses)) < 0.01
        assert pauses[-1] - pauses[0] == pytest.approx(0.5)

    @given(st.floats(0, 1), st.floats(0, 3600))
    def test_what_the_loop_asks_for_is_the_least(self, chance: float, retry_after: float) -> None:
        assert Backoff().failed(chance, retry_after) >= retry_after
        assert Backoff().failed(chance, retry_after) <= max(1.0, retry_after + 10.0)

    def test_boxes_that_were_told_the_same_moment_come_at_different_ones(self) -> None:
        assert Backoff().failed(0.0, 60.0) != Backoff().failed(1.0, 60.0)


class TestTokenBucket:
    def test_bytes_leave_no_faster_than_the_rate(self) -> None:
        bucket, now = TokenBucket(1000.0), 0.0
        for _ in range(100):
            now += bucket.take(100, now)
        assert now == pytest.approx(10.0, abs=0.3)

    def test_several_senders_share_it(self) -> None:
        bucket = TokenBucket(1000.0)
        assert [bucket.take(500, 0.0) for _ in range(4)] == pytest.approx([0.25, 0.75, 1.25, 1.75])

    def test_what_was_not_used_is_lost(self) -> None:
        bucket = TokenBucket(1000.0)
        bucket.take(1000, 0.0)
        assert bucket.take(1000, 3600.0) == pytest.approx(0.75)


class TestRate:
    def test_it_tells_bytes_a_second(self) -> None:
        rate = Rate()
        for moment in range(5):
            rate.add(moment, moment + 1.0, 1000)
        assert rate.per_second(5.0) == pytest.approx(1000.0)

    def test_what_was_long_ago_does_not_count(self) -> None:
        rate = Rate()
        rate.add(0.0, 1.0, 1000)
        assert rate.per_second(100.0) == 0.0
        assert Rate().per_second(0.0) == 0.0
