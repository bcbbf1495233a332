"""What was looked at last: kept by reference, within bounds, and told as it is asked for."""

from __future__ import annotations

import itertools
from typing import cast

import pytest

from appliance.inference.waiting import Picture, Seen
from appliance.recent import HEARD, UNWATCHED, WATCHED, Recent
from models.bundle import Bundle
from models.wire.image_metadata import ImageMetadata

BUNDLE = cast(Bundle, None)
"""Nobody asks for it here."""


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def note(recent: Recent, camera: str | None, payload: bytes = b"jpeg", *, show: bool = True, **timings: float) -> None:
    """A picture was looked at."""
    seen = Seen(BUNDLE, {}, 640, 480, timings)
    recent.note(seen, Picture(payload), camera, ImageMetadata(), show=show)


def cameras(recent: Recent) -> list[str | None]:
    """Whose pictures are there."""
    return [each.camera_id for each in recent.latest()]


def test_the_latest_picture_of_each_camera_the_last_heard_first() -> None:
    recent = Recent()
    for camera, payload in (("front", b"1"), ("rear", b"2"), (None, b"3"), ("front", b"4")):
        note(recent, camera, payload)

    assert cameras(recent) == ["front", None, "rear"]
    assert [each.picture.payload for each in recent.latest()] == [b"4", b"3", b"2"]
    assert recent.latest()[0].size == (640, 480)
    assert len({each.number for each in recent.latest()}) == 3


def test_the_camera_that_was_silent_longest_goes_when_there_are_too_many() -> None:
    recent = Recent(max_cameras=2)
    for camera in ("a", "b", "a", "c"):
        note(recent, camera)

    assert cameras(recent) == ["c", "a"]


def test_pictures_together_stay_within_a_bound() -> None:
    recent = Recent(max_cameras=1000)
    for number in range(100):
        note(recent, str(number), bytes(UNWATCHED.one))

    assert len(recent.latest()) == UNWATCHED.all // UNWATCHED.one
    assert cameras(recent)[0] == "99"


def test_a_picture_in_place_of_a_large_one_gives_back_its_room() -> None:
    recent = Recent()
    for _ in range(50):
        note(recent, "front", bytes(UNWATCHED.one))
    note(recent, "rear", bytes(UNWATCHED.one))

    assert cameras(recent) == ["rear", "front"]


def test_large_arrays_are_kept_only_while_somebody_looks() -> None:
    recent = Recent()
    large = bytes(UNWATCHED.one + 1)
    note(recent, "front", large)
    assert cameras(recent) == []

    recent.watched = lambda: True
    note(recent, "front", large)
    assert cameras(recent) == ["front"]
    note(recent, "rear", memoryview(bytearray(WATCHED.one + 1)))  # type: ignore[arg-type]  # a payload may be one
    assert cameras(recent) == ["front"]


def test_a_camera_id_of_megabytes_is_cut() -> None:
    recent = Recent()
    note(recent, "x" * 10_000_000)

    [camera] = cameras(recent)
    assert camera is not None
    assert len(camera) == 256


def test_a_picture_that_is_only_tried_is_counted_and_not_shown() -> None:
    recent = Recent()
    note(recent, None, show=False, wait=1.0, inference=20.0)
    note(recent, None, show=False, wait=2.0, inference=30.0)

    assert recent.pictures == 2
    assert recent.milliseconds == {"wait": 3.0, "inference": 50.0}
    assert cameras(recent) == []


@pytest.mark.parametrize(
    ("every", "pictures", "rate"),
    [(1.0, 100, 1.0), (0.1, 100, 10.0), (0.001, 5000, 1000.0), (10.0, 3, 0.2)],
    ids=["one a second", "ten a second", "more than are remembered", "slower than the window"],
)
def test_the_rate_is_that_of_the_last_seconds(every: float, pictures: int, rate: float) -> None:
    clock = Clock()
    recent = Recent(clock=clock)
    for _ in range(pictures):
        clock.seconds += every
        note(recent, None, show=False)

    assert recent.rate() == pytest.approx(rate, rel=0.25)

    clock.seconds += 6
    assert recent.rate() == 0.0


def test_before_the_first_picture_the_rate_is_zero() -> None:
    assert Recent().rate() == 0.0


def test_numbers_never_come_again() -> None:
    recent = Recent()
    seen: set[int] = set()
    for _, camera in zip(range(100), itertools.cycle(["a", "b"]), strict=False):
        note(recent, camera)
        seen.add(recent.latest()[0].number)

    assert len(seen) == 100


def test_cameras_are_remembered_by_their_id_though_no_picture_of_them_is_kept() -> None:
    recent = Recent(now=lambda: 7.0)
    large = b"x" * (UNWATCHED.one + 1)
    for camera in ("front", None, "rear", "front", ""):
        note(recent, camera, large)
    note(recent, "one's own", large, show=False)
    assert recent.latest() == []
    assert list(recent.heard.items()) == [("rear", 7.0), ("front", 7.0)]
    for number in range(HEARD):
        note(recent, str(number), large)
    assert list(recent.heard) == [str(number) for number in range(HEARD)], "no more than that"
