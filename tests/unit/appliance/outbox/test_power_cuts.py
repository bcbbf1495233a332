"""Power cuts at every step of what the outbox does to the disk: what was promised is there, and nothing is there by half."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

from appliance.outbox.files import NewPicture
from appliance.outbox.folders import FOLDERS, REASON, paths
from appliance.outbox.queue import Outbox
from appliance.outbox.reasons import PICKED_BY_SYSTEM
from appliance.outbox.room import OutboxBounds
from models.files import FILE_SYSTEM, FileSystem
from models.wire.image_metadata import ImageMetadata
from tests.support.crashing_files import disks_after_every_cut
from tests.unit.appliance.outbox.test_queue import everything_below

NOON = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
CUP = ImageMetadata(tags=[PICKED_BY_SYSTEM])
PICK = ImageMetadata(tags=["uncertain"])
WIDE = OutboxBounds(max_items=1000, max_bytes=1_000_000_000, min_free_bytes=0)


def on_disk(disk: Path, files: FileSystem = FILE_SYSTEM, bounds: OutboxBounds = WIDE) -> Outbox:
    """An outbox on a disk that may lose its power. Its index lies elsewhere: SQLite writes past our seam."""
    return Outbox(disk / "outbox", bounds, lambda: NOON + timedelta(hours=1), files, index_of(disk))


def index_of(disk: Path) -> Path:
    """The index as the run left it from which this disk remained."""
    return disk.with_name("-".join(disk.name.split("-")[:2]) + ".sqlite")


def placed(disk: Path) -> tuple[tuple[str, bytes], ...]:
    """What the next start finds, and in which folder: the same with the index as it was left, and without any.

    Fails if the start leaves the remains of other pictures, or if a picture is there by half.
    """
    left, copy = index_of(disk), disk.with_name(f"{disk.name}.copy.sqlite")
    for end in ("", "-wal"):
        if (part := left.with_name(left.name + end)).exists():
            shutil.copyfile(part, copy.with_name(copy.name + end))
    found = _found(disk / "outbox", copy)
    assert _found(disk / "outbox", copy.with_name(f"{copy.name}.none")) == found
    return found


def _found(root: Path, index: Path) -> tuple[tuple[str, bytes], ...]:
    outbox = Outbox(root, WIDE, lambda: NOON, FILE_SYSTEM, index)
    entries = outbox.items(1000, among=FOLDERS).items
    stored = [tuple(map(Path, paths(root / each.folder / each.id, each.id))) for each in entries]
    known = [ImageMetadata.model_validate_json(metadata.read_bytes()) for _, metadata in stored]
    assert all(metadata in (CUP, PICK) for metadata in known)
    files = [path for path in everything_below(root) if (root / path).is_file() and not path.endswith(REASON)]
    assert files == sorted(str(path.relative_to(root)) for pair in stored for path in pair)
    assert not list(root.rglob(".*"))
    stats = outbox.stats()
    assert stats.total.items + stats.rejected.items == len(entries)
    assert [bool(entry.asked_for) for entry in entries] == [metadata == CUP for metadata in known]
    outbox.close()
    return tuple((entry.folder, picture.read_bytes()) for entry, (picture, _) in zip(entries, stored, strict=True))


def pictures(disk: Path) -> tuple[bytes, ...]:
    """What the next start finds, in order."""
    return tuple(picture for _, picture in placed(disk))


def test_an_outbox_cleared_before_a_power_cut_stays_empty(tmp_path: Path) -> None:
    def before(disk: Path) -> None:
        on_disk(disk).save_all([NewPicture(b"one", CUP), NewPicture(b"two", CUP)])

    cut_short, finished = disks_after_every_cut(tmp_path, before, act=lambda files, disk: on_disk(disk, files).clear())
    for disk in cut_short:
        assert set(pictures(disk)) <= {b"one", b"two"}
    assert {pictures(disk) for disk in finished} == {()}


def test_an_acknowledged_picture_survives_a_power_cut_at_any_step_of_the_next(tmp_path: Path) -> None:
    def before(disk: Path) -> None:
        on_disk(disk).save(b"acknowledged", CUP, priority=True)

    def act(files: FileSystem, disk: Path) -> None:
        on_disk(disk, files).save(b"the next one", CUP)

    cut_short, finished = disks_after_every_cut(tmp_path, before, act)
    found = {pictures(disk) for disk in cut_short}
    assert found == {(b"acknowledged",), (b"acknowledged", b"the next one")}
    assert {pictures(disk) for disk in finished} == {(b"acknowledged", b"the next one")}


def test_pictures_saved_together_are_there_whole_or_not_at_all(tmp_path: Path) -> None:
    new = [NewPicture(b"one", CUP), NewPicture(b"two", CUP, priority=True), NewPicture(b"three", CUP)]

    def act(files: FileSystem, disk: Path) -> None:
        on_disk(disk, files).save_all(new)

    cut_short, finished = disks_after_every_cut(tmp_path, on_disk, act)
    for disk in cut_short:
        assert set(pictures(disk)) <= {b"one", b"two", b"three"}
    assert {pictures(disk) for disk in finished} == {(b"two", b"three", b"one")}


def test_a_deleted_picture_does_not_come_back_and_is_never_there_by_half(tmp_path: Path) -> None:
    def before(disk: Path) -> None:
        on_disk(disk).save(b"unwanted", CUP)

    def remove(files: FileSystem, disk: Path) -> None:
        outbox = on_disk(disk, files)
        assert outbox.remove(outbox.items(1).items[0].id)

    cut_short, finished = disks_after_every_cut(tmp_path, before, remove)
    assert {pictures(disk) for disk in cut_short} == {(b"unwanted",), ()}
    assert {pictures(disk) for disk in finished} == {()}


def test_pictures_kept_as_a_whole_or_not_at_all_are_refused_without_a_trace(tmp_path: Path) -> None:
    new = [NewPicture(b"one", CUP), NewPicture(b"two", CUP)]

    def act(files: FileSystem, disk: Path) -> None:
        on_disk(disk, files).save_all_or_none(new)

    cut_short, finished = disks_after_every_cut(tmp_path, on_disk, act)
    for disk in cut_short:
        assert set(pictures(disk)) <= {b"one", b"two"}, "nobody was told that they are kept, and none is there by half"
    assert {pictures(disk) for disk in finished} == {(b"two", b"one")}


def test_what_was_sent_is_deleted_or_whole_and_will_be_sent_again_under_the_same_name(tmp_path: Path) -> None:
    names: set[str] = set()

    def before(disk: Path) -> None:
        outbox = on_disk(disk)
        outbox.save_all([NewPicture(b"one", CUP), NewPicture(b"two", CUP), NewPicture(b"unsent", CUP)])
        names.update(entry.id for entry in outbox.items(10).items)

    def act(files: FileSystem, disk: Path) -> None:
        outbox = on_disk(disk, files)
        outbox.sent([picture.id for picture in outbox.take(10) if picture.picture != b"unsent"])

    cut_short, finished = disks_after_every_cut(tmp_path, before, act)
    for disk in cut_short:
        found = set(pictures(disk))
        assert found <= {b"one", b"two", b"unsent"}
        assert b"unsent" in found
        assert {folder.name for folder in (disk / "outbox" / "normal").iterdir()} <= names
    assert {pictures(disk) for disk in finished} == {(b"unsent",)}


def test_a_rejected_picture_waits_or_is_set_aside_and_is_never_lost(tmp_path: Path) -> None:
    def before(disk: Path) -> None:
        on_disk(disk).save(b"not wanted", CUP, priority=True)

    def act(files: FileSystem, disk: Path) -> None:
        outbox = on_disk(disk, files)
        [picture] = outbox.take(10)
        outbox.reject(picture.id, "the Loop does not want it", 422)

    cut_short, finished = disks_after_every_cut(tmp_path, before, act)
    waits, aside = (("priority", b"not wanted"),), (("rejected", b"not wanted"),)
    assert {placed(disk) for disk in cut_short} == {waits, aside, waits + aside}
    assert {placed(disk) for disk in finished} == {aside}
    for disk in finished:
        [entry] = open_on(disk).items(10, among=("rejected",)).items
        assert entry.reason == "the Loop does not want it"


def test_a_picture_that_is_put_back_is_in_one_of_the_two_places_or_in_both(tmp_path: Path) -> None:
    def before(disk: Path) -> None:
        outbox = on_disk(disk)
        outbox.reject(outbox.save(b"once more", CUP, priority=True), "no", 422)

    cut_short, finished = disks_after_every_cut(tmp_path, before, lambda files, disk: on_disk(disk, files).retry())
    back, aside = (("priority", b"once more"),), (("rejected", b"once more"),)
    assert {placed(disk) for disk in cut_short} == {back, aside, back + aside}
    assert {placed(disk) for disk in finished} == {(("priority", b"once more"),)}


def test_a_picture_that_is_put_first_is_in_one_of_the_two_queues_or_in_both(tmp_path: Path) -> None:
    def before(disk: Path) -> None:
        on_disk(disk).save(b"hurry", CUP)

    def act(files: FileSystem, disk: Path) -> None:
        outbox = on_disk(disk, files)
        assert outbox.prioritise(outbox.items(1).items[0].id)

    cut_short, finished = disks_after_every_cut(tmp_path, before, act)
    first, normal = (("priority", b"hurry"),), (("normal", b"hurry"),)
    assert {placed(disk) for disk in cut_short} == {first, normal, first + normal}
    assert {placed(disk) for disk in finished} == {(("priority", b"hurry"),)}


def test_a_picture_that_is_in_two_places_after_a_power_cut_is_sent_and_then_gone_from_both(tmp_path: Path) -> None:
    outbox = on_disk(tmp_path)
    item_id = outbox.save(b"twice", CUP)
    outbox.close()
    for folder in ("priority", "rejected"):
        shutil.copytree(tmp_path / "outbox" / "normal" / item_id, tmp_path / "outbox" / folder / item_id)
    again = on_disk(tmp_path)
    assert (again.stats().total.items, again.stats().rejected.items) == (2, 1)
    assert again.retry() == 1
    [picture] = again.take(10)
    assert picture.id == item_id
    again.sent([item_id])
    assert again.take(10) == []
    assert (again.stats().total.items, again.stats().rejected.items) == (0, 0)
    assert everything_below(tmp_path / "outbox") == ["normal", "priority", "rejected"]


def test_picks_that_make_room_are_gone_or_whole_and_the_upload_is_kept_once_it_is_acknowledged(tmp_path: Path) -> None:
    narrow = OutboxBounds(max_items=4, max_bytes=10**9, min_free_bytes=0)

    def before(disk: Path) -> None:
        outbox = on_disk(disk)
        outbox.save(b"promised", CUP)
        outbox.save_all([NewPicture(b"pick %d" % number, PICK) for number in range(3)])

    def act(files: FileSystem, disk: Path) -> None:
        on_disk(disk, files, narrow).save_all_or_none([NewPicture(b"new", CUP), NewPicture(b"new too", CUP)])

    cut_short, finished = disks_after_every_cut(tmp_path, before, act)
    for disk in cut_short:
        found = pictures(disk)
        assert b"promised" in found
        assert len([picture for picture in found if picture.startswith(b"pick")]) >= 1
    for disk in finished:
        assert set(pictures(disk)) == {b"promised", b"pick 0", b"new", b"new too"}


def open_on(disk: Path) -> Outbox:
    return Outbox(disk / "outbox", WIDE, lambda: NOON, FILE_SYSTEM, disk.with_name(f"{disk.name}.last.sqlite"))


def test_a_power_cut_while_the_mode_changes_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    cut_short, finished = disks_after_every_cut(
        tmp_path,
        before=lambda disk: on_disk(disk).set_mode("stopped"),
        act=lambda files, disk: on_disk(disk, files).set_mode("continuous_upload"),
    )
    assert {open_on(disk).mode for disk in cut_short} == {"stopped", "continuous_upload"}
    assert {open_on(disk).mode for disk in finished} == {"continuous_upload"}
