"""Which automatic picks go: those that others stand in for, so that what is left is spread over all the time there was."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.outbox.room import Count
from appliance.outbox.thinning import MOST_AT_ONCE, Pick, to_thin


def left(moments: list[float], lacking: int) -> list[float]:
    gone = set(to_thin([Pick(moment, 10) for moment in moments], Count(lacking, 0)))
    return [moment for index, moment in enumerate(moments) if index not in gone]


@pytest.mark.parametrize(
    ("moments", "lacking", "expected"),
    [
        ([0, 1, 2, 3, 4], 1, [0, 2, 3, 4]),
        ([0, 1, 2, 3, 4], 3, [0, 4]),
        ([0, 1, 2, 3, 4], 4, [0]),
        ([0, 1, 2, 3, 4], 5, []),
        ([0, 1, 2, 3, 4], 6, [0, 1, 2, 3, 4]),
        ([0, 100, 101, 102, 200], 1, [0, 100, 102, 200]),
        ([5], 1, []),
        ([], 1, []),
        ([1, 2], 1, [1]),
        ([1, 2, 3], 0, [1, 2, 3]),
        ([7, 7, 7, 7], 2, [7, 7]),
    ],
)
def test_the_picks_that_are_left(moments: list[float], lacking: int, expected: list[float]) -> None:
    assert left(moments, lacking) == expected


def test_a_burst_goes_before_the_only_picture_of_a_night() -> None:
    burst = [3600.0 + number / 10 for number in range(10)]
    kept = left([0.0, *burst, 30_000.0, 60_000.0], 8)
    assert {0.0, 30_000.0, 60_000.0} <= set(kept)


def test_after_a_long_time_away_the_kept_ones_are_spread_over_all_of_it() -> None:
    kept: list[float] = []
    bound = 100
    for moment in range(10_000):
        if len(kept) == bound:
            kept = left(kept, 1)
        kept.append(float(moment))
    gaps = [after - before for before, after in itertools.pairwise(kept)]
    assert kept[0] == 0.0
    assert kept[-1] == 9999.0
    assert len(kept) > bound * 0.9
    assert max(gaps) <= 4 * 10_000 / len(kept), "no part of the time is left out"
    by_quarter = [sum(quarter * 2500 <= moment < (quarter + 1) * 2500 for moment in kept) for quarter in range(4)]
    assert min(by_quarter) >= 0.5 * len(kept) / 4, by_quarter


def test_bytes_are_made_free_too() -> None:
    picks = [Pick(float(number), 1000) for number in range(10)]
    assert len(to_thin(picks, Count(0, 2500))) == 3
    assert len(to_thin(picks, Count(1, 9500))) == 10
    assert to_thin(picks, Count(0, 10_001)) == []


def test_many_picks_make_room_for_several_at_once_but_not_for_too_many() -> None:
    few, many = [Pick(float(number), 1) for number in range(160)], [Pick(float(n), 1) for n in range(100_000)]
    assert len(to_thin(few, Count(1, 0))) == 10
    assert len(to_thin(many, Count(1, 0))) == MOST_AT_ONCE


@given(st.lists(st.floats(0, 1e6), max_size=60), st.integers(0, 70))
def test_each_goes_once_and_enough_of_them_do(moments: list[float], lacking: int) -> None:
    moments.sort()
    gone = to_thin([Pick(moment, 1) for moment in moments], Count(lacking, 0))
    assert len(gone) == len(set(gone))
    assert set(gone) <= set(range(len(moments)))
    assert (len(gone) >= lacking) if lacking <= len(moments) else not gone


def test_it_is_what_one_would_choose_who_looks_at_all_of_them_each_time() -> None:
    rng = random.Random(7)
    moments = sorted(rng.uniform(0, 1000) for _ in range(200))
    remaining = dict(enumerate(moments))
    for _ in range(100):
        inner = list(remaining)
        best = min(
            inner[1:-1], key=lambda i: remaining[inner[inner.index(i) + 1]] - remaining[inner[inner.index(i) - 1]]
        )
        del remaining[best]
    assert left(moments, 100) == list(remaining.values())
