"""Who goes into the next request: first who shall, then old and new in turns."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from appliance.outbox.batching import MAX_ITEMS, TRIES_BEFORE_MORE, BatchSize, compose, halves


@dataclass(frozen=True)
class Picture:
    id: str
    bytes: int = 1


def pictures(*ids: str, size: int = 1) -> list[Picture]:
    return [Picture(item_id, size) for item_id in ids]


NORMAL = pictures(*"abcdefgh")


def composed(priority: str = "", normal: str = "", items: int = 100, size: int = 100) -> str:
    waiting = pictures(*normal)
    batch = compose(pictures(*priority), reversed(waiting), waiting, max_items=items, max_bytes=size)
    return "".join(picture.id for picture in batch)


@pytest.mark.parametrize(
    ("priority", "normal", "items", "expected"),
    [
        ("", "", 10, ""),
        ("123", "abc", 2, "12"),
        ("123", "abc", 10, "123cab"),
        ("", "abcdefgh", 4, "hagb"),
        ("", "abcdefgh", 100, "hagbfced"),
        ("", "abc", 3, "cab"),
        ("1", "", 3, "1"),
    ],
)
def test_priority_goes_first_then_newest_and_oldest_take_turns(
    priority: str, normal: str, items: int, expected: str
) -> None:
    assert composed(priority, normal, items) == expected


def test_no_picture_is_in_a_batch_twice() -> None:
    assert sorted(composed("ab", "ab", 10)) == ["a", "b"]


def test_bytes_are_bounded_but_for_one_picture() -> None:
    assert composed(normal="abcdef", size=3) == "fae"
    huge = pictures("x", size=1000)
    assert [each.id for each in compose([], huge, huge, max_items=5, max_bytes=10)] == ["x"]


def test_the_oldest_is_not_left_waiting_by_ever_newer_ones() -> None:
    waiting = pictures(*(f"{number:03}" for number in range(50)))
    for number in range(50, 60):
        batch = compose([], reversed(waiting), waiting, max_items=2)
        waiting = [each for each in waiting if each not in batch] + pictures(f"{number:03}", f"{number:03}'")
    assert waiting[0].id == "010"


@pytest.mark.parametrize("size", range(2, 21))
def test_halves_are_all_of_it_and_smaller(size: int) -> None:
    batch = list(range(size))
    first, second = halves(batch)
    assert [*first, *second] == batch
    assert 0 < len(first) < size


def test_a_line_that_breaks_off_gets_smaller_requests_until_one_gets_through() -> None:
    size = BatchSize()
    seen = []
    for _ in range(6):
        seen.append(size.max_items)
        size.broke_off()
    assert seen == [20, 10, 5, 2, 1, 1]
    for _ in range(TRIES_BEFORE_MORE - 1):
        size.succeeded()
    assert size.max_items == 1, "each larger one that breaks off costs minutes"
    for _ in range(5 * TRIES_BEFORE_MORE):
        size.succeeded()
    assert size.max_items == MAX_ITEMS
