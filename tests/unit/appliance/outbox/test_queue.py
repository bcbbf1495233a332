"""Pictures that wait for the Loop: kept over restarts and power cuts, within bounds, in order, whatever people delete."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import BinaryIO

import pytest

from appliance.outbox import folders
from appliance.outbox.files import NewPicture
from appliance.outbox.index import INDEX_FILE, Entry
from appliance.outbox.queue import Outbox
from appliance.outbox.room import Count, OutboxBounds
from models.errors import InvalidInput, NoRoom, StorageRefused
from models.files import FILE_SYSTEM, FileSystem
from models.wire.detections import BoxDetection
from models.wire.image_metadata import ImageMetadata

NOON = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
JPEG = b"\xff\xd8 a picture \xff\xd9"
PNG = b"\x89PNG another picture"
CUP = ImageMetadata(
    box_detections=[BoxDetection(category_name="cup", x=1, y=2, width=3, height=4, confidence=0.5)],
    tags=["picked_by_system"],
    source="front",
)
WIDE = OutboxBounds(max_items=1000, max_bytes=1_000_000_000, min_free_bytes=0)


def open_again(root: Path, bounds: OutboxBounds = WIDE, files: FileSystem = FILE_SYSTEM) -> Outbox:
    return Outbox(root, bounds, lambda: NOON + timedelta(hours=1), files)


def waiting(outbox: Outbox) -> list[Entry]:
    return outbox.items(10_000).items


def ids(outbox: Outbox) -> list[str]:
    return [item.id for item in waiting(outbox)]


def everything_below(root: Path) -> list[str]:
    """But for the index, which is none of what people look at."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.name.startswith(INDEX_FILE))


def test_a_person_finds_the_picture_and_its_metadata_under_one_name(outbox: Outbox, root: Path) -> None:
    item_id = outbox.save(JPEG, CUP)
    assert item_id == "2024-05-01_12-00-00.000000"
    folder = root / "normal" / item_id
    assert everything_below(folder) == [f"image_{item_id}.jpg", f"image_{item_id}.json"]
    assert (folder / f"image_{item_id}.jpg").read_bytes() == JPEG
    document = json.loads((folder / f"image_{item_id}.json").read_text())
    assert document["box_detections"][0]["category_name"] == "cup"
    assert document["tags"] == ["picked_by_system"]
    assert document["created"] is None


def test_a_png_is_kept_byte_for_byte_under_the_name_that_the_protocol_knows(outbox: Outbox, root: Path) -> None:
    item_id = outbox.save(PNG, CUP, priority=True)
    assert (root / "priority" / item_id / f"image_{item_id}.jpg").read_bytes() == PNG


def test_what_was_saved_is_read_back_after_a_restart(outbox: Outbox, root: Path) -> None:
    item_id = outbox.save(PNG, CUP, priority=True)
    after = open_again(root).read(item_id)
    assert after is not None
    assert (after.id, after.entry.folder, after.picture, after.metadata) == (item_id, "priority", PNG, CUP)
    assert open_again(root).stats() == outbox.stats()


def test_priority_goes_first_oldest_first_and_then_the_newest(outbox: Outbox, clock: Callable[[], datetime]) -> None:
    saved = [outbox.save(JPEG, CUP, priority=number % 2 == 0) for number in range(6)]
    assert ids(outbox) == [saved[0], saved[2], saved[4], saved[5], saved[3], saved[1]]
    assert [item.folder for item in waiting(outbox)] == ["priority"] * 3 + ["normal"] * 3


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 7, 100])
def test_pages_hold_all_pictures_once(outbox: Outbox, size: int) -> None:
    for number in range(6):
        outbox.save(JPEG, CUP, priority=number < 3)
    found, place = [], None
    while True:
        page = outbox.items(size, place)
        assert len(page.items) <= size
        found += page.items
        place = page.next
        if place is None:
            break
        assert len(page.items) == size
    assert found == waiting(outbox)


def test_a_page_goes_on_where_the_last_one_ended_although_that_picture_was_sent(outbox: Outbox) -> None:
    saved = [outbox.save(JPEG, CUP) for _ in range(4)]
    page = outbox.items(2)
    for item in page.items:
        outbox.remove(item.id)
    newer = outbox.save(JPEG, CUP)
    assert [item.id for item in outbox.items(2, page.next).items] == [saved[1], saved[0]]
    assert ids(outbox)[0] == newer


@pytest.mark.parametrize(
    "place", ["", "normal", "normal/", "normal/../x", "trash/2024", "2024", "normal/.hidden", "\0"]
)
def test_a_place_that_no_page_gave_is_refused(outbox: Outbox, place: str) -> None:
    with pytest.raises(InvalidInput, match="no place in the outbox"):
        outbox.items(10, place)


def test_many_threads_save_at_once_and_nothing_is_lost_or_counted_twice(outbox: Outbox, root: Path) -> None:
    def save(number: int) -> str:
        return outbox.save(f"picture {number:03}".encode(), CUP, priority=number % 3 == 0)

    with ThreadPoolExecutor(8) as threads:
        saved = list(threads.map(save, range(60)))
    assert len(set(saved)) == 60
    for number, item_id in enumerate(saved):
        found = outbox.read(item_id)
        assert found is not None
        assert found.picture == f"picture {number:03}".encode()
    counted = outbox.stats()
    assert (counted.priority.items, counted.normal.items) == (20, 40)
    assert outbox.recount() == counted


def test_a_clock_that_was_set_back_overwrites_nothing(outbox: Outbox, root: Path) -> None:
    first = outbox.save(b"first", CUP)
    now = [NOON - timedelta(days=1)]
    after_restart = Outbox(root, WIDE, lambda: now[0], FILE_SYSTEM)
    now = [NOON]
    second = after_restart.save(b"second", CUP)
    assert second == "2024-05-01_12-00-00.000001"
    assert [after_restart.read(each) is not None for each in (first, second)] == [True, True]


def test_ids_are_utc_whatever_zone_the_clock_tells(root: Path) -> None:
    in_delhi = datetime(2024, 5, 1, 17, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert Outbox(root, WIDE, lambda: in_delhi, FILE_SYSTEM).save(JPEG, CUP) == "2024-05-01_12-00-00.000000"


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_a_full_outbox_refuses_and_says_what_would_help(root: Path) -> None:
    outbox = open_again(root, OutboxBounds(max_items=2, max_bytes=10_000, min_free_bytes=0))
    outbox.save(JPEG, CUP)
    outbox.save(JPEG, CUP, priority=True)
    with pytest.raises(NoRoom, match=r"2 pictures wait in it, and no more than 2 may.*delete some"):
        outbox.save(JPEG, CUP, priority=True)
    assert outbox.tallies()["refused"] == 1
    assert outbox.stats().total.items == len(ids(outbox)) == 2
    outbox.remove(ids(outbox)[0])
    outbox.save(JPEG, CUP)


def test_bytes_are_bounded_with_their_metadata(root: Path) -> None:
    outbox = open_again(root, OutboxBounds(max_items=100, max_bytes=10_000, min_free_bytes=0))
    with pytest.raises(NoRoom, match=r"would wait in it, and no more than 0.0 MB may"):
        outbox.save(b"x" * 10_000, CUP)
    outbox.save(b"x" * 9_000, CUP)
    with pytest.raises(NoRoom):
        outbox.save(b"x" * 1_000, CUP)
    assert outbox.stats().total == Count(1, 9_000 + len(CUP.model_dump_json()))


class SmallDisk(FileSystem):
    """A disk with so many bytes left."""

    def __init__(self, free: int) -> None:
        self.free = free

    def free_bytes(self, folder: Path) -> int:
        assert folder.is_dir()
        return self.free


def test_a_floor_of_free_disk_is_left_to_the_others(root: Path) -> None:
    disk = SmallDisk(5_000_000)
    outbox = open_again(root, OutboxBounds(max_items=100, max_bytes=10**9, min_free_bytes=4_000_000), disk)
    outbox.save(b"x" * 500_000, CUP)
    with pytest.raises(NoRoom, match=r"3\.\d MB would be left, and 4\.0 MB must stay free"):
        outbox.save(b"x" * 1_200_000, CUP)
    disk.free = 3_900_000
    with pytest.raises(NoRoom):
        outbox.save(b"", CUP)
    assert len(ids(outbox)) == 1


def test_pictures_saved_together_share_the_room_that_is_left(root: Path) -> None:
    outbox = open_again(root, OutboxBounds(max_items=2, max_bytes=10**9, min_free_bytes=0))
    outcomes = outbox.save_all([NewPicture(b"%d" % number, CUP) for number in range(4)])
    assert [type(outcome) for outcome in outcomes] == [str, str, NoRoom, NoRoom]
    assert sorted(ids(outbox)) == outcomes[:2]
    narrow = open_again(root, OutboxBounds(10, 10**9, min_free_bytes=1_000_000), SmallDisk(2_000_000))
    outcomes = narrow.save_all([NewPicture(b"x" * 600_000, CUP), NewPicture(b"x" * 600_000, CUP)])
    assert [type(outcome) for outcome in outcomes] == [str, NoRoom]


# -- people with a file manager ---------------------------------------------------------------------------------------


def test_room_that_a_person_made_by_deleting_files_is_found(root: Path) -> None:
    now = [NOON]
    outbox = Outbox(root, OutboxBounds(2, 10**9, 0), lambda: now[0], FILE_SYSTEM)
    outbox.save(JPEG, CUP)
    outbox.save(JPEG, CUP)
    shutil.rmtree(root / "normal" / ids(outbox)[0])
    now[0] += timedelta(seconds=11)
    outbox.save(JPEG, CUP)
    with pytest.raises(NoRoom):
        outbox.save(JPEG, CUP)
    shutil.rmtree(root / "normal" / ids(outbox)[0])
    with pytest.raises(NoRoom):
        outbox.save(JPEG, CUP)  # counting for every refused picture would keep the disk busy
    now[0] -= timedelta(days=1)  # and a clock that was set back does not put it off until tomorrow
    outbox.save(JPEG, CUP)
    assert outbox.stats().total.items == 2


def test_saving_does_not_look_at_all_that_waits(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody_may(*_: object) -> None:
        raise AssertionError("the cost of a picture would grow with the number waiting")

    monkeypatch.setattr(folders, "names", nobody_may)
    monkeypatch.setattr(folders, "size", nobody_may)
    outbox.save(JPEG, CUP)


@pytest.mark.parametrize("deleted", ["", "normal"])
def test_deleting_the_whole_folder_is_no_error(outbox: Outbox, root: Path, deleted: str) -> None:
    gone = outbox.save(JPEG, CUP)
    shutil.rmtree(root / deleted)
    assert outbox.read(gone) is None
    assert outbox.remove(gone) is False
    assert ids(outbox) == []
    kept = outbox.save(PNG, CUP)
    assert ids(outbox) == [kept]
    assert outbox.recount().total.items == 1
    shutil.rmtree(root / deleted)
    assert outbox.clear() == 0


def test_a_folder_that_lacks_a_file_is_left_alone_and_counts_for_nothing(outbox: Outbox, root: Path) -> None:
    broken, whole = outbox.save(JPEG, CUP), outbox.save(JPEG, CUP)
    (root / "normal" / broken / f"image_{broken}.json").unlink()
    after = open_again(root)
    assert ids(after) == [whole]
    assert after.stats().normal == Count(1, waiting(after)[0].bytes)
    assert after.read(broken) is None
    assert (root / "normal" / broken).is_dir()
    assert after.remove(broken) is True
    assert after.stats().normal.items == 1


def test_what_people_put_there_is_theirs(outbox: Outbox, root: Path) -> None:
    (root / "normal" / ".Trash").mkdir()
    (root / "normal" / "my notes").mkdir()
    (root / "normal" / "README").write_text("do not touch")
    item_id = outbox.save(JPEG, CUP)
    after = open_again(root)
    assert ids(after) == [item_id]
    assert after.stats().normal.items == 1
    assert (root / "normal" / ".Trash").is_dir()
    assert (root / "normal" / "README").is_file()


def test_a_folder_that_upstream_wrote_is_a_picture_like_any_other(outbox: Outbox, root: Path) -> None:
    item_id = "2023-12-31_23:59:59.123456"
    folder = root / "priority" / item_id
    folder.mkdir()
    (folder / f"image_{item_id}.jpg").write_bytes(JPEG)
    (folder / f"image_{item_id}.json").write_text('{"box_detections": [], "tags": null, "created": "2023-12-31"}')
    after = open_again(root)
    assert ids(after) == [item_id]
    found = after.read(item_id)
    assert found is not None
    assert found.metadata.created == "2023-12-31"


def test_damaged_metadata_is_told_from_a_missing_picture(outbox: Outbox, root: Path) -> None:
    item_id = outbox.save(JPEG, CUP)
    (root / "normal" / item_id / f"image_{item_id}.json").write_text("{")
    found = outbox.read(item_id)
    assert found is not None
    with pytest.raises(InvalidInput, match="damaged"):
        _ = found.metadata


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../../secret", "/etc", "normal/..", "a/b", "a\0b", "\ud800", "x" * 5000, "2099-01-01"]
)
def test_no_name_leads_out_of_the_outbox(outbox: Outbox, root: Path, name: str) -> None:
    (root.parent / "secret").mkdir()
    outbox.save(JPEG, CUP)
    before = everything_below(root.parent)
    assert outbox.read(name) is None
    assert outbox.remove(name) is False
    assert everything_below(root.parent) == before


def test_clearing_leaves_empty_queues(outbox: Outbox, root: Path) -> None:
    for number in range(5):
        outbox.save(JPEG, CUP, priority=number < 2)
    assert outbox.clear() == 5
    assert everything_below(root) == ["normal", "priority"]
    assert outbox.stats().total == Count()
    assert outbox.recount().total == Count()


# -- failing disks -------------------------------------------------------------------------------------


class FailingDisk(FileSystem):
    """Fails in one of its steps, as long as it shall."""

    def __init__(self, step: str, error: int) -> None:
        self.step: str | None = step
        self.error = error

    def _fail(self, step: str) -> None:
        if self.step == step:
            raise OSError(self.error, "as the disk says")

    def create_exclusive(self, path: Path) -> BinaryIO:
        if path.suffix == ".json":
            self._fail("open the second file")
        return super().create_exclusive(path)

    def sync_file(self, file: BinaryIO) -> None:
        self._fail("sync a file")
        super().sync_file(file)

    def rename(self, source: Path, target: Path) -> None:
        self._fail("rename")
        super().rename(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._fail("sync the queue" if folder.name in folders.QUEUES else "sync the folder")
        super().sync_folder(folder)


@pytest.mark.parametrize(
    ("code", "family"), [(errno.ENOSPC, NoRoom), (errno.EDQUOT, NoRoom), (errno.EIO, StorageRefused)]
)
@pytest.mark.parametrize("step", ["open the second file", "sync a file", "sync the folder", "rename", "sync the queue"])
def test_a_disk_that_fails_keeps_nothing_of_the_picture(
    root: Path, step: str, code: int, family: type[StorageRefused]
) -> None:
    disk = FailingDisk("not yet", code)
    outbox = open_again(root, OutboxBounds(max_items=1, max_bytes=10**9, min_free_bytes=0), disk)
    disk.step = step
    with pytest.raises(family, match="keep the picture in the outbox"):
        outbox.save(JPEG, CUP)
    assert everything_below(root) == ["normal", "priority"] or step == "rename"
    disk.step = None
    assert outbox.stats().total == Count()
    kept = outbox.save(PNG, CUP)
    assert ids(outbox) == [kept]
    assert outbox.recount().total.items == 1


def test_a_disk_that_fails_in_the_middle_keeps_nothing_of_what_comes_as_a_whole(root: Path) -> None:
    class FailsLater(FileSystem):
        left = 40

        def rename(self, source: Path, target: Path) -> None:
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.EIO, "as the disk says")
            super().rename(source, target)

    outbox = open_again(root, files=FailsLater())
    kept = outbox.save(PNG, CUP)
    with pytest.raises(StorageRefused, match="as the disk says"):
        outbox.save_all_or_none([NewPicture(b"%d" % number, CUP) for number in range(50)])
    assert ids(outbox) == [kept]
    assert outbox.stats().total.items == 1
    assert outbox.recount().total.items == 1
    assert [picture.id for picture in outbox.take(20)] == [kept]
    assert outbox.save_all_or_none([NewPicture(JPEG, CUP)]), "no room is lost"


def test_metadata_that_is_no_json_spoils_one_picture_and_not_the_others(outbox: Outbox) -> None:
    unusable = CUP.model_copy(update={"note": "half a letter: \ud800"})
    outcomes = outbox.save_all([NewPicture(JPEG, unusable), NewPicture(PNG, CUP)])
    assert isinstance(outcomes[0], InvalidInput)
    assert "cannot be written as JSON" in str(outcomes[0])
    assert ids(outbox) == [outcomes[1]]
    assert outbox.stats().total.items == 1


def test_an_outbox_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("a file")
    with pytest.raises(StorageRefused, match="open the outbox"):
        open_again(tmp_path / "outbox")


def test_no_picture_is_sent_before_it_is_safe(root: Path) -> None:
    taken: list[list[str]] = []

    class Watched(FileSystem):
        def sync_folder(self, folder: Path) -> None:
            if folder.name == "normal" and "outbox" in made:
                taken.append([picture.id for picture in made["outbox"].take(10)])
            super().sync_folder(folder)

    made: dict[str, Outbox] = {}
    made["outbox"] = open_again(root, files=Watched())
    saved = made["outbox"].save_all([NewPicture(JPEG, CUP), NewPicture(PNG, CUP)])
    assert taken == [[]], "it has its name already, but the disk has not promised to keep that"
    assert sorted(picture.id for picture in made["outbox"].take(10)) == saved


# -- the mode ---------------------------------------------------------------------------------------------------------


def test_a_stopped_outbox_stays_stopped_over_a_restart(outbox: Outbox, root: Path) -> None:
    assert outbox.mode == "continuous_upload"
    outbox.set_mode("stopped")
    assert outbox.mode == open_again(root).mode == "stopped"
    outbox.set_mode("continuous_upload")
    assert outbox.mode == open_again(root).mode == "continuous_upload"


def test_an_unknown_mode_changes_nothing(outbox: Outbox, root: Path) -> None:
    outbox.set_mode("stopped")
    with pytest.raises(
        InvalidInput, match="'sometimes' is no mode of the outbox; it must be continuous_upload or stopped"
    ):
        outbox.set_mode("sometimes")
    assert outbox.mode == open_again(root).mode == "stopped"


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b"\xff\xfe", b"stop"])
def test_a_damaged_mode_sends_nothing_until_a_person_says_so(
    root: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    root.mkdir()
    (root / "mode").write_bytes(content)
    assert open_again(root).mode == "stopped"
    assert "Nothing is sent until a mode is set" in caplog.text


def test_a_mode_written_by_hand_is_understood(root: Path) -> None:
    root.mkdir()
    (root / "mode").write_text("continuous_upload\n")
    assert open_again(root).mode == "continuous_upload"
