"""Who gets in when it is full: uploads before automatic picks, and of these as many as can be, spread over the time."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

import pytest

from appliance.outbox import folders
from appliance.outbox.files import NewPicture
from appliance.outbox.queue import Outbox
from appliance.outbox.room import Count, OutboxBounds
from models.errors import NoRoom
from models.files import FILE_SYSTEM, FileSystem
from models.wire.image_metadata import ImageMetadata
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.virtual_time import in_virtual_time
from tests.unit.appliance.outbox.conftest import Clock
from tests.unit.appliance.outbox.fake_loop import ASKED_FOR, FakeLoop, fill, sending, until

PICKED = ImageMetadata(tags=["uncertain"])


def opened(root: Path, clock: Clock, files: FileSystem = FILE_SYSTEM, **bounds: int) -> Outbox:
    limits = {"max_items": 1000, "max_bytes": 10**9, "min_free_bytes": 0} | bounds
    return Outbox(root, OutboxBounds(**limits), clock, files)


def moments(outbox: Outbox) -> list[float]:
    """Seconds after the first, of everything that waits."""
    found = sorted(folders.moment_of(entry.id) or 0.0 for entry in outbox.items(1000).items)
    return [round(moment - found[0], 3) for moment in found]


def test_an_upload_takes_the_place_of_a_pick(root: Path, clock: Clock) -> None:
    outbox = opened(root, clock, max_items=5)
    for _ in range(5):
        outbox.save(b"pick", PICKED)
        clock.move(60.0)
    kept = outbox.save(b"asked for", ASKED_FOR)
    assert outbox.read(kept) is not None
    assert outbox.stats().total.items == 5
    assert outbox.stats().automatic.items == 4
    assert (outbox.tallies()["thinned"], outbox.tallies()["refused"]) == (1, 0)
    assert moments(outbox) == [0.0, 120.0, 180.0, 240.0, 300.0]


def test_uploads_are_never_thinned_whoever_comes(root: Path, clock: Clock) -> None:
    outbox = opened(root, clock, max_items=3)
    promised = [outbox.save(b"%d" % number, ASKED_FOR, priority=number == 1) for number in range(3)]
    for metadata in (ASKED_FOR, PICKED):
        with pytest.raises(NoRoom, match="The outbox is full"):
            outbox.save(b"one more", metadata)
    assert sorted(entry.id for entry in outbox.items(10).items) == promised
    assert outbox.tallies()["thinned"] == 0
    assert outbox.tallies()["refused"] == 1, "picks that find no room are counted where they are picked"


def test_picks_of_a_long_time_are_kept_spread_over_it(root: Path, clock: Clock) -> None:
    outbox = opened(root, clock, max_items=20)
    for _ in range(200):
        outbox.save(b"pick", PICKED)
        clock.move(10.0)
    kept = moments(outbox)
    assert 18 <= len(kept) <= 20
    assert kept[0] == 0.0
    assert kept[-1] == 1990.0
    gaps = [after - before for before, after in itertools.pairwise(kept)]
    assert max(gaps) <= 4 * 2000 / 20
    assert outbox.tallies()["thinned"] == 200 - len(kept)


def test_large_uploads_make_room_by_their_bytes(root: Path, clock: Clock) -> None:
    outbox = opened(root, clock, max_bytes=100_000)
    for _ in range(9):
        outbox.save(b"x" * 10_000, PICKED)
        clock.move(1.0)
    outbox.save(b"y" * 50_000, ASKED_FOR)
    assert outbox.stats().total.bytes <= 100_000
    assert outbox.stats().automatic.items in (3, 4)
    with pytest.raises(NoRoom, match="raise max_outbox_mb"):
        outbox.save(b"z" * 100_000, ASKED_FOR)
    assert outbox.stats().automatic.items in (3, 4), "what cannot fit costs nobody anything"


class Draining(FileSystem):
    """A small disk that others fill, and that gets back what is deleted."""

    def __init__(self, root: Path, size: int) -> None:
        self.root = root
        self.size = size

    def free_bytes(self, folder: Path) -> int:
        return self.size - sum(path.stat().st_size for path in self.root.rglob("*.jpg"))


def test_picks_go_when_others_fill_the_disk(root: Path, clock: Clock) -> None:
    disk = Draining(root, 1_000_000)
    outbox = opened(root, clock, disk, min_free_bytes=500_000)
    for _ in range(40):
        outbox.save(b"x" * 10_000, PICKED)
        clock.move(1.0)
    assert outbox.tallies()["thinned"] == 0
    disk.size = 800_000
    outbox.save(b"asked for", ASKED_FOR)
    assert disk.free_bytes(root) >= 500_000 - 1000
    assert 20 <= outbox.stats().automatic.items <= 30
    disk.size = 100_000
    with pytest.raises(NoRoom, match="The disk is nearly full"):
        outbox.save(b"asked for", ASKED_FOR)
    assert outbox.stats().automatic.items >= 20, "even all of them would not be enough"


def test_several_are_kept_as_a_whole_or_not_at_all_and_then_cost_nothing(root: Path, clock: Clock) -> None:
    outbox = opened(root, clock, max_items=40)
    fill(outbox, 5, metadata=PICKED)
    with pytest.raises(NoRoom):
        outbox.save_all_or_none([NewPicture(b"%d" % number, ASKED_FOR) for number in range(41)])
    assert (outbox.stats().total.items, outbox.tallies()["thinned"]) == (5, 0)
    ids = outbox.save_all_or_none([NewPicture(b"%d" % number, ASKED_FOR) for number in range(38)])
    assert len(set(ids)) == 38
    assert (outbox.stats().total.items, outbox.stats().automatic.items) == (40, 2)
    assert outbox.recount().total.items == 40


def test_rejected_pictures_take_room_too_and_rejected_picks_give_it_back(root: Path, clock: Clock) -> None:
    outbox = opened(root, clock, max_items=2)
    pick, upload = outbox.save(b"pick", PICKED), outbox.save(b"upload", ASKED_FOR)
    for item_id in (pick, upload):
        outbox.reject(item_id, "no", 422)
    assert (outbox.stats().total, outbox.stats().rejected.items) == (Count(), 2)
    outbox.save(b"takes the place of the pick", ASKED_FOR)
    with pytest.raises(NoRoom, match="1 of them rejected by the Loop"):
        outbox.save(b"one more", ASKED_FOR)
    assert outbox.read(upload) is not None


def test_picks_that_a_person_has_deleted_are_no_room_that_was_made(root: Path, clock: Clock) -> None:
    outbox = opened(root, clock, max_items=4)
    for item_id in fill(outbox, 4, metadata=PICKED):
        shutil.rmtree(root / "normal" / item_id)
    outbox.save(b"fits", ASKED_FOR)
    assert outbox.stats().total.items == 1
    assert (outbox.tallies()["thinned"], outbox.tallies()["vanished"]) == (0, 4)


def test_what_is_no_time_is_never_thinned(root: Path, clock: Clock) -> None:
    folder = root / "normal" / "my-favourite"
    folder.mkdir(parents=True)
    (folder / "image_my-favourite.jpg").write_bytes(b"a person put it here")
    (folder / "image_my-favourite.json").write_text('{"tags": []}')
    outbox = opened(root, clock, max_items=1)
    with pytest.raises(NoRoom):
        outbox.save(b"upload", ASKED_FOR)
    assert folder.exists()


def test_many_threads_that_want_the_last_room_get_no_more_than_there_is(root: Path, clock: Clock) -> None:
    outbox = opened(root, clock, max_items=10)
    fill(outbox, 10, metadata=PICKED)

    def save(number: int) -> bool:
        try:
            outbox.save(b"%d" % number, ASKED_FOR)
        except NoRoom:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        kept = sum(threads.map(save, range(30)))
    assert kept == 10
    assert (outbox.stats().total.items, outbox.stats().automatic.items) == (10, 0)
    assert outbox.recount().total.items == 10


# -- a disk that is full ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["tmpfs", "acted"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path, request.param) as made:
        if made is None:
            pytest.skip("this machine lets nobody mount a tmpfs")
        yield made


def test_a_full_disk_refuses_in_words_goes_on_sending_and_takes_pictures_again_when_there_is_room(
    disk: SmallDisk,
) -> None:
    @in_virtual_time
    async def story() -> None:
        root = disk.folder / "outbox"
        outbox = Outbox(root, OutboxBounds(10_000, 10**9, 1_000_000), lambda: datetime.now(timezone.utc), disk.files)
        saved = fill(outbox, 30, size=20_000)
        disk.fill()
        with pytest.raises(NoRoom, match=r"disk is (nearly )?full"):
            await asyncio.to_thread(outbox.save, b"x" * 10_000, ASKED_FOR)
        assert outbox.stats().total.items == 30
        loop = FakeLoop()
        async with sending(outbox, loop):
            await until(lambda: outbox.stats().total == Count())
            assert sorted(loop.has) == saved
            disk.free()
            new = await asyncio.to_thread(fill, outbox, 3)
            await until(lambda: set(new) <= set(loop.has))
        outbox.close()
        again = Outbox(root, OutboxBounds(10_000, 10**9, 0), lambda: datetime.now(timezone.utc), disk.files)
        assert again.stats().total == Count()
        again.close()

    story()


def test_a_picture_is_set_aside_on_a_full_disk_too(disk: SmallDisk) -> None:
    root = disk.folder / "outbox"
    outbox = Outbox(root, OutboxBounds(10_000, 10**9, 0), lambda: datetime.now(timezone.utc), disk.files)
    [item_id] = fill(outbox, 1, size=20_000)
    (root / "rejected").mkdir()
    disk.fill()
    outbox.reject(item_id, "not wanted", 422)
    [entry] = outbox.items(10, among=("rejected",)).items
    assert (entry.id, entry.reason) == (item_id, "not wanted")
    assert (root / "rejected" / item_id / f"image_{item_id}.jpg").stat().st_size == 20_000
    disk.free()
    outbox.close()


def test_an_outbox_opens_on_a_full_disk(disk: SmallDisk) -> None:
    root = disk.folder / "outbox"
    outbox = Outbox(root, OutboxBounds(10_000, 10**9, 0), lambda: datetime.now(timezone.utc), disk.files)
    saved = fill(outbox, 5)
    outbox.close()
    for index in root.glob("index*"):
        index.unlink()
    disk.fill()
    again = Outbox(root, OutboxBounds(10_000, 10**9, 0), lambda: datetime.now(timezone.utc), disk.files)
    assert sorted(entry.id for entry in again.items(10).items) == saved
    disk.free()
    again.close()
