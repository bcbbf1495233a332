"""Pictures that `/detect` picks by itself: kept soon, never waited for, and every loss counted with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, get_ident

import pytest

from appliance.outbox.files import NewPicture
from appliance.outbox.queue import Outbox
from appliance.outbox.reasons import PICKED_BY_SYSTEM
from appliance.outbox.room import OutboxBounds
from appliance.outbox.writer import GATHER_SECONDS, MAX_BATCH, AutomaticPicks
from models.errors import DetectorApplianceError, InvalidInput, NoRoom, StorageRefused
from models.files import FILE_SYSTEM
from models.wire.image_metadata import ImageMetadata
from tests.unit.appliance.outbox.conftest import Clock

CUP = ImageMetadata(tags=["uncertain"])
LONG = 30.0
"""Seconds after which a test gives up; none waits so long unless something hangs."""


class SlowKeeper:
    """Keeps pictures when the test says so."""

    def __init__(self, outcome: str | DetectorApplianceError = "kept") -> None:
        self.outcome = outcome
        self.batches: list[list[bytes]] = []
        self.thread = 0
        self.begun = Event()
        self.go_on = Event()

    def save_all(self, pictures: Sequence[NewPicture]) -> list[str | DetectorApplianceError]:
        self.thread = get_ident()
        self.batches.append([each.picture for each in pictures])
        self.begun.set()
        assert self.go_on.wait(LONG)
        return [self.outcome] * len(pictures)


class Pause:
    """The time in which pictures gather, as long as the test wants it to be."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.begun = Event()
        self.over = Event()

    def __call__(self, closing: Event, seconds: float) -> None:
        self.seconds.append(seconds)
        self.begun.set()
        assert self.over.wait(LONG)


def at_once(closing: Event, seconds: float) -> None:
    """No time to gather."""


@contextmanager
def closed_in_the_end(picks: AutomaticPicks, keeper: SlowKeeper) -> Iterator[None]:
    try:
        yield
    finally:
        keeper.go_on.set()
        assert picks.close(LONG)


def add_up(picks: AutomaticPicks) -> bool:
    counts = picks.counts()
    return counts.wanted == counts.kept + counts.waiting + sum(counts.dropped.values())


def test_picks_are_in_the_outbox_when_the_appliance_has_ended(outbox: Outbox) -> None:
    picks = AutomaticPicks(outbox)
    for number in range(5):
        assert picks.offer(b"picture %d" % number, CUP)
    assert picks.close(LONG)
    kept = [outbox.read(item.id) for item in outbox.items(10).items]
    assert sorted(each.picture for each in kept if each) == [b"picture %d" % number for number in range(5)]
    assert all(each is not None and each.entry.folder == "normal" and each.metadata == CUP for each in kept)
    assert picks.counts().kept == 5
    assert add_up(picks)


def test_nobody_waits_for_a_slow_disk_and_memory_is_bounded() -> None:
    keeper = SlowKeeper()
    picks = AutomaticPicks(keeper, max_items=4, pause=at_once)
    with closed_in_the_end(picks, keeper):
        assert picks.offer(b"first", CUP)
        assert keeper.begun.wait(LONG)
        assert [picks.offer(b"%d" % number, CUP) for number in range(5)] == [True, True, True, False, False]
        counts = picks.counts()
        assert (counts.wanted, counts.kept, counts.waiting) == (6, 0, 4), "the one that is being written waits, too"
        assert counts.dropped["queue_full"] == 2
        assert keeper.thread != get_ident()
        assert add_up(picks)
    assert picks.counts().kept == 4
    assert picks.counts().waiting_bytes == 0
    assert add_up(picks)


def test_few_large_pictures_fill_the_queue_as_well() -> None:
    keeper = SlowKeeper()
    picks = AutomaticPicks(keeper, max_bytes=1000, pause=at_once)
    with closed_in_the_end(picks, keeper):
        assert not picks.offer(b"x" * 1001, CUP)
        assert picks.offer(b"x" * 600, CUP)
        assert not picks.offer(b"x" * 401, CUP)
        assert picks.offer(b"x" * 400, CUP)
        assert picks.counts().dropped["queue_full"] == 2
        assert picks.counts().waiting_bytes == 1000
    assert picks.counts().kept == 2


def test_what_gathers_within_half_a_second_is_written_together() -> None:
    keeper, pause = SlowKeeper(), Pause()
    keeper.go_on.set()
    picks = AutomaticPicks(keeper, pause=pause)
    with closed_in_the_end(picks, keeper):
        assert picks.offer(b"one", CUP)
        assert pause.begun.wait(LONG)
        assert picks.offer(b"two", CUP)
        assert picks.offer(b"three", CUP)
        assert keeper.batches == []
        pause.over.set()
        assert keeper.begun.wait(LONG)
    assert keeper.batches == [[b"one", b"two", b"three"]]
    assert pause.seconds[0] == GATHER_SECONDS
    assert GATHER_SECONDS < 1, "no more than a second's worth may be lost in a power cut"


def test_what_comes_while_others_are_written_gathers_anew() -> None:
    keeper = SlowKeeper()
    picks = AutomaticPicks(keeper, pause=at_once)
    with closed_in_the_end(picks, keeper):
        assert picks.offer(b"one", CUP)
        assert keeper.begun.wait(LONG)
        assert picks.offer(b"two", CUP)
        assert picks.offer(b"three", CUP)
    assert keeper.batches == [[b"one"], [b"two", b"three"]]


def test_no_batch_needs_more_open_files_than_a_process_has() -> None:
    keeper, pause = SlowKeeper(), Pause()
    keeper.go_on.set()
    picks = AutomaticPicks(keeper, max_items=1000, pause=pause)
    with closed_in_the_end(picks, keeper):
        for number in range(MAX_BATCH * 2 + 1):
            assert picks.offer(b"%d" % number, CUP)
        pause.over.set()
    assert [len(batch) for batch in keeper.batches] == [MAX_BATCH, MAX_BATCH, 1]
    assert len(pause.seconds) == 1, "they have waited for each other already"


@pytest.mark.parametrize(
    ("error", "reason", "logged"),
    [
        (NoRoom("The outbox is full."), "outbox_full", False),
        (StorageRefused("The disk is broken."), "disk_failed", True),
        (InvalidInput("The metadata is no JSON."), "metadata_unusable", True),
    ],
)
def test_every_loss_is_counted_with_its_reason(
    caplog: pytest.LogCaptureFixture, error: DetectorApplianceError, reason: str, logged: bool
) -> None:
    keeper = SlowKeeper(error)
    picks = AutomaticPicks(keeper, pause=at_once)
    with closed_in_the_end(picks, keeper):
        picks.offer(b"one", CUP)
        assert keeper.begun.wait(LONG)
        picks.offer(b"two", CUP)
    assert {name: count for name, count in picks.counts().dropped.items() if count} == {reason: 2}
    assert add_up(picks)
    assert (str(error) in caplog.text) is logged


def test_an_outbox_full_of_uploads_drops_picks_and_keeps_what_is_there(root: Path, clock: Clock) -> None:
    outbox = Outbox(root, OutboxBounds(max_items=3, max_bytes=10**9, min_free_bytes=0), clock, FILE_SYSTEM)
    asked_for = [outbox.save(b"asked for", ImageMetadata(tags=[PICKED_BY_SYSTEM])) for _ in range(3)]
    picks = AutomaticPicks(outbox, pause=at_once)
    for number in range(5):
        picks.offer(b"%d" % number, CUP)
    assert picks.close(LONG)
    assert (picks.counts().kept, picks.counts().dropped["outbox_full"]) == (0, 5)
    assert [item.id for item in outbox.items(10).items] == asked_for[::-1]


def test_a_fault_of_the_program_costs_these_pictures_and_not_the_next(caplog: pytest.LogCaptureFixture) -> None:
    class FaultyOnce(SlowKeeper):
        def save_all(self, pictures: Sequence[NewPicture]) -> list[str | DetectorApplianceError]:
            outcomes = super().save_all(pictures)
            if len(self.batches) == 1:
                raise ZeroDivisionError("a fault")
            return outcomes

    keeper = FaultyOnce()
    picks = AutomaticPicks(keeper, pause=at_once)
    with closed_in_the_end(picks, keeper):
        picks.offer(b"one", CUP)
        assert keeper.begun.wait(LONG)
        picks.offer(b"two", CUP)
    assert (picks.counts().kept, picks.counts().dropped["unexpected"]) == (1, 1)
    assert "ZeroDivisionError: a fault" in caplog.text
    assert add_up(picks)


def test_a_disk_that_hangs_does_not_keep_the_appliance_from_ending() -> None:
    keeper = SlowKeeper()
    picks = AutomaticPicks(keeper, pause=at_once)
    with closed_in_the_end(picks, keeper):
        picks.offer(b"one", CUP)
        assert keeper.begun.wait(LONG)
        picks.offer(b"two", CUP)
        assert picks.close(timeout=0.01) is False
        counts = picks.counts()
        assert (counts.waiting, counts.dropped["shutdown"]) == (1, 1)
        assert not picks.offer(b"three", CUP)
        assert picks.counts().dropped["shutdown"] == 2
        assert add_up(picks)
    assert picks.counts().kept == 1
    assert picks.counts().waiting_bytes == 0


def test_ending_does_not_wait_for_more_pictures_to_gather(outbox: Outbox) -> None:
    begun = Event()

    def pause(closing: Event, seconds: float) -> None:
        begun.set()
        assert closing.wait(LONG), "the pause ends when the appliance does"

    picks = AutomaticPicks(outbox, pause=pause)
    picks.offer(b"one", CUP)
    assert begun.wait(LONG)
    assert picks.close(LONG)
    assert picks.counts().kept == 1


def test_closing_twice_and_closing_without_pictures_is_no_error(outbox: Outbox) -> None:
    picks = AutomaticPicks(outbox)
    assert picks.close(LONG)
    assert picks.close(LONG)
    assert picks.counts().wanted == 0
