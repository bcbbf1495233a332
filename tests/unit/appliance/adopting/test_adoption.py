"""A box is started on the data folder of a learning-loop-node: what it finds is sent, kept and listed, nothing is lost."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from appliance.adopting import pictures, record
from appliance.adopting.adoption import Adoption
from appliance.adopting.record import RECORD_FILE, Record
from appliance.outbox.queue import Outbox
from appliance.outbox.room import OutboxBounds
from appliance.versions import state
from appliance.versions.state import STATE_FILE
from models.files import FILE_SYSTEM, FileSystem
from models.store import ModelStore
from tests.support.crashing_files import disks_after_every_cut
from tests.support.left_behind import (
    ASKED_FOR,
    ERAS,
    JPEG,
    PICKED,
    era_0_13,
    era_0_27,
    metadata,
    write_picture,
)
from tests.support.small_bundles import make_bundle
from tests.support.small_disk import SmallDisk, small_disk

FORMATS = ("litert", "onnx")


class Fat(FileSystem):
    """A disk without second names."""

    def link(self, source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def adopt(data: Path, files: FileSystem = FILE_SYSTEM, floor: int = 0) -> Record:
    """As every start of the box does."""
    store = ModelStore(data / "models", file_system=files, free_space_floor=floor)
    return Adoption(data, store, FORMATS, files).run()


def open_outbox(data: Path, files: FileSystem = FILE_SYSTEM) -> Outbox:
    """The outbox of the box, as it opens right after."""
    bounds = OutboxBounds(1000, 1_000_000_000, 0)
    return Outbox(data / "outbox", bounds, lambda: datetime.now(timezone.utc), files)


def to_send(data: Path) -> dict[str, tuple[bytes, bytes]]:
    """Everything that would be sent: name in the Loop -> picture and metadata."""
    outbox = open_outbox(data)
    try:
        return {stored.id: (stored.picture, stored.document) for stored in outbox.take(1000)}
    finally:
        outbox.close()


def bytes_in(folder: Path) -> list[bytes]:
    """All files' contents, wherever they are now."""
    return sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_pictures_of_every_era_are_sent_byte_for_byte_under_their_own_names(data: Path, era: str) -> None:
    ERAS[era](data)

    adopt(data)

    assert to_send(data) == {
        PICKED: (JPEG, metadata(era, "uncertain")),
        ASKED_FOR: (JPEG + b"2", metadata(era, "picked_by_system")),
    }


def test_what_somebody_asked_for_is_a_promise_and_what_was_picked_is_not(data: Path, era: str) -> None:
    ERAS[era](data)
    adopt(data)

    outbox = open_outbox(data)

    promised = {stored.id: stored.entry.asked_for for stored in outbox.take(10)}
    outbox.close()
    assert promised == {PICKED: False, ASKED_FOR: True}


def test_nothing_is_deleted_and_a_second_start_changes_nothing(data: Path, era: str) -> None:
    ERAS[era](data)
    before = bytes_in(data)

    first = adopt(data)
    after = bytes_in(data)
    second = adopt(data)

    left = list(after)
    for content in before:
        left.remove(content)
    assert second == first
    assert bytes_in(data) == after
    assert (data / "uuids.json").exists()
    assert (data / "tmp").exists()


def test_models_that_this_box_runs_are_its_own_now_and_the_others_are_listed_with_a_reason(
    data: Path, era: str
) -> None:
    ERAS[era](data)

    adopted = adopt(data)

    [model] = ModelStore(data / "models").list()
    assert (model.folder / "model.tflite").samefile(data / "models" / "1.1" / "model.tflite"), "no room is taken twice"
    assert model.identity == ("zauberzeug", "demo", "litert", "1.1")
    assert state.load(data / STATE_FILE, FILE_SYSTEM).current is not None, "it served, and shall serve on"
    [foreign] = adopted.foreign()
    assert (foreign["folder"], foreign["format"]) == ("1.0", "yolov5_wts")
    assert "this box runs litert and onnx" in foreign["reason"]
    link = next(path for path in data.iterdir() if path.is_symlink())
    assert (link.resolve() / "model.json").exists(), "learning-loop-node finds its model, too"
    assert sorted(path.name for path in link.resolve().iterdir()) == ["model.json", "model.tflite"]


def test_a_model_that_a_person_removes_does_not_come_back(data: Path) -> None:
    era_0_27(data)
    adopt(data)
    store = ModelStore(data / "models")
    store.remove(store.list()[0])

    adopt(data)

    assert store.list() == []


def test_what_the_box_served_already_is_not_changed_by_adopting(data: Path) -> None:
    era_0_27(data)
    state.save(data / STATE_FILE, state.VersionState(mode="pause"), FILE_SYSTEM)

    adopt(data)

    assert state.load(data / STATE_FILE, FILE_SYSTEM) == state.VersionState(mode="pause")


def test_an_empty_folder_costs_a_note_and_later_starts_write_nothing(data: Path) -> None:
    assert adopt(data) == Record()
    noted = (data / RECORD_FILE).stat().st_mtime_ns

    class Frozen(FileSystem):
        def create_exclusive(self, path: Path) -> object:  # type: ignore[override]
            raise AssertionError(f"{path} is written")

    assert adopt(data, Frozen()) == Record()
    assert (data / RECORD_FILE).stat().st_mtime_ns == noted


def test_what_a_node_left_after_going_back_to_it_is_adopted_too(data: Path) -> None:
    era_0_13(data)
    adopt(data)
    write_picture(data / "outbox" / "2024-05-07_00:00:00.000000", metadata("0.13", "uncertain"))
    make_bundle(data / "models" / "1.2", "1.2", inference=None)

    adopted = adopt(data)

    assert adopted.pictures == 3
    assert len(to_send(data)) == 3
    assert [model.version for model in ModelStore(data / "models").list()] == ["1.1", "1.2"]


def test_each_thing_is_said_once(data: Path, era: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ERAS[era](data)

    adopt(data)

    said = [entry.getMessage() for entry in caplog.records]
    [pictures] = [text for text in said if text.startswith("2 pictures")]
    assert "sent" in pictures
    assert any("tmp/" in text for text in said)
    assert any("zauberzeug/demo/litert/1.1" in text for text in said)
    assert any("models/1.0" in text and "cannot run" in text for text in said)
    caplog.clear()
    adopt(data)
    assert caplog.records == []


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no picture": ("it lacks its picture", lambda folder: next(folder.glob("*.jpg")).unlink()),
    "no metadata": ("it lacks its metadata", lambda folder: next(folder.glob("*.json")).unlink()),
    "nothing at all": ("it lacks its picture", _empty),
    "an empty picture": ("its picture is empty", lambda folder: next(folder.glob("*.jpg")).write_bytes(b"")),
    "empty metadata": ("its metadata is empty", lambda folder: next(folder.glob("*.json")).write_bytes(b"")),
    "zeros": ("its picture is damaged", lambda folder: next(folder.glob("*.jpg")).write_bytes(bytes(100))),
    "half of the metadata": (
        "its metadata is damaged",
        lambda folder: next(folder.glob("*.json")).write_bytes(b'{"tags": ["uncertain"], "crea'),
    ),
    "a list": ("its metadata is damaged", lambda folder: next(folder.glob("*.json")).write_bytes(b"[]")),
    "deep nonsense": (
        "its metadata is damaged",
        lambda folder: next(folder.glob("*.json")).write_bytes(b"[" * 100_000),
    ),
}


def _link_to_a_secret(folder: Path) -> None:
    picture = next(folder.glob("*.jpg"))
    secret = folder.parents[2] / "secret"
    secret.write_bytes(JPEG + b"secret")
    picture.unlink()
    picture.symlink_to(secret)


DAMAGES["a link to elsewhere"] = ("its picture is no regular file", _link_to_a_secret)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_picture_is_reported_and_left_alone(
    data: Path, era: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    ERAS[era](data)
    [folder] = data.glob(f"outbox/**/{PICKED}")
    why, harm = DAMAGES[damage]
    harm(folder)
    before = sorted(path.name for path in folder.iterdir())

    adopted = adopt(data)

    name = str(folder.relative_to(data / "outbox"))
    assert adopted.left_alone == (name,)
    [said] = [entry.getMessage() for entry in caplog.records if PICKED in entry.getMessage()]
    assert said.startswith(f"outbox/{name}, ")
    assert said.endswith(why)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert ASKED_FOR in to_send(data)
    caplog.clear()
    assert adopt(data) == adopted
    assert caplog.records == [], "it was said"


def test_many_damaged_pictures_fill_no_log(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(100):
        (data / "outbox" / f"2024-01-01_00:00:00.{number:06}").mkdir(parents=True)

    adopted = adopt(data)

    assert len(adopted.left_alone) == 100
    assert len(caplog.records) == 21
    assert "80 more stay where they are" in caplog.text


def test_what_is_nobody_s_picture_is_left_alone(data: Path) -> None:
    era_0_13(data)
    (data / "outbox" / "notes.txt").write_text("mine")
    (data / "outbox" / ".hidden").mkdir()
    (data / "outbox" / "a name with spaces").mkdir()
    (data / "models" / "acme").mkdir()
    (data / "models" / "2.0" / "of an organization").mkdir(parents=True)

    adopt(data)

    assert {path.name for path in (data / "outbox").iterdir()} >= {"notes.txt", ".hidden", "a name with spaces"}
    assert (data / "models" / "2.0" / "of an organization").exists()


def test_a_person_s_own_file_beside_a_picture_stays(data: Path) -> None:
    era_0_13(data)
    (data / "outbox" / PICKED / "why.txt").write_text("interesting")

    adopt(data)

    assert [path.name for path in (data / "outbox" / PICKED).iterdir()] == ["why.txt"]
    assert len(to_send(data)) == 2


def test_another_picture_of_the_same_name_is_kept_beside_it(data: Path) -> None:
    era_0_13(data)
    write_picture(data / "outbox" / "normal" / PICKED, metadata("0.27", "other"), JPEG + b"other")

    adopt(data)

    assert {name: picture for name, (picture, _) in to_send(data).items()} == {
        PICKED: JPEG + b"other",
        f"{PICKED}-1": JPEG,
        ASKED_FOR: JPEG + b"2",
    }


def test_many_pictures_are_moved_some_at_a_time_without_a_second_copy(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 25
    monkeypatch.setattr(pictures, "AT_ONCE", 10)
    for number in range(count):
        write_picture(data / "outbox" / f"2024-01-01_00:00:00.{number:06}", metadata("0.13"))
    kept = (data / "outbox" / "2024-01-01_00:00:00.000000" / "image_2024-01-01_00:00:00.000000.jpg").stat().st_ino

    assert adopt(data).pictures == count

    assert len(to_send(data)) == count
    moved = data / "outbox" / "normal" / "2024-01-01_00:00:00.000000" / "image_2024-01-01_00:00:00.000000.jpg"
    assert (moved.stat().st_ino, moved.stat().st_nlink) == (kept, 1)
    assert {path.name for path in (data / "outbox").iterdir() if path.is_dir()} <= {"normal", "priority", "rejected"}


def test_a_disk_without_second_names_gets_copies(data: Path) -> None:
    era_0_13(data)

    adopt(data, Fat())

    [model] = ModelStore(data / "models").list()
    assert not (model.folder / "model.tflite").samefile(data / "models" / "1.1" / "model.tflite")
    assert (model.folder / "model.tflite").read_bytes() == (data / "models" / "1.1" / "model.tflite").read_bytes()
    assert set(to_send(data)) == {PICKED, ASKED_FOR}
    assert not (data / "outbox" / PICKED).exists()


def test_wherever_the_power_fails_no_picture_is_lost_or_sent_twice(tmp_path: Path) -> None:
    def before(root: Path) -> None:
        era_0_13(root)
        shutil.rmtree(root / "models")
        (root / "model").unlink()

    cut_short, finished = disks_after_every_cut(tmp_path, before, lambda files, root: adopt(root, files))

    assert not any((disk / "outbox" / PICKED).exists() for disk in finished), "it would be sent once more"
    for disk in [*cut_short, *finished]:
        adopt(disk)
        assert to_send(disk) == {
            PICKED: (JPEG, metadata("0.13", "uncertain")),
            ASKED_FOR: (JPEG + b"2", metadata("0.13", "picked_by_system")),
        }
        assert not (disk / "outbox" / PICKED).exists()
        assert not list(disk.glob("outbox/*/.*"))


def test_wherever_the_power_fails_the_model_is_there_at_the_next_start(tmp_path: Path) -> None:
    def before(root: Path) -> None:
        make_bundle(root / "models" / "1.1", "1.1", inference=None)

    cut_short, finished = disks_after_every_cut(tmp_path, before, lambda files, root: adopt(root, files))

    for disk in [*cut_short, *finished]:
        adopt(disk)
        store = ModelStore(disk / "models")
        assert [model.version for model in store.list()] == ["1.1"]
        assert store.broken() == []


@pytest.fixture(params=["tmpfs", "acted"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, request.param) as found:
        if found is None:
            pytest.skip("this machine lets nobody mount a tmpfs; the acted disk is tested instead")
        yield found


def test_a_full_disk_delays_adoption_until_there_is_room(disk: SmallDisk, caplog: pytest.LogCaptureFixture) -> None:
    data = disk.folder / "data"
    era_0_13(data)
    disk.fill()

    adopt(data, disk.files)

    assert "the disk is full" in caplog.text
    assert "the next start tries again" in caplog.text
    disk.free()
    adopted = adopt(data, disk.files)
    assert adopted.complete
    assert [model.version for model in ModelStore(data / "models").list()] == ["1.1"]
    assert set(to_send(data)) == {PICKED, ASKED_FOR}
    assert not (data / "outbox" / PICKED).exists()


def test_a_model_whose_copy_leaves_too_little_room_is_taken_later(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    era_0_27(data)
    (data / "outbox" / "normal" / "2024-01-01_00:00:00.000000").mkdir()

    adopted = adopt(data, Fat(), floor=1 << 60)

    assert not adopted.complete
    assert "must stay free" in caplog.text
    assert set(to_send(data)) == {PICKED, ASKED_FOR}
    caplog.clear()
    assert [model.folder for model in adopt(data).models] == ["1.0", "1.1"]
    assert caplog.records == [], "what was said before is not said again"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("model.json", "there is no model.json"),
        ("model.tflite", "there is no weight file"),
    ],
)
def test_a_half_downloaded_model_is_reported_and_left_alone(data: Path, damage: str, sentence: str) -> None:
    era_0_27(data)
    (data / "models" / "1.1" / damage).unlink()

    adopted = adopt(data)

    assert sentence in next(each["reason"] for each in adopted.foreign() if each["folder"] == "1.1")
    assert ModelStore(data / "models").list() == []
    assert (data / "models" / "1.1").exists()


def test_a_record_that_cannot_be_read_is_made_anew(data: Path) -> None:
    era_0_13(data)
    adopt(data)
    (data / RECORD_FILE).write_bytes(b"\x00\x00 nonsense")

    adopted = adopt(data)

    assert set(to_send(data)) == {PICKED, ASKED_FOR}
    assert record.load(data / RECORD_FILE) == adopted
    assert len(ModelStore(data / "models").list()) == 1


def test_a_picture_whose_first_name_cannot_go_is_not_adopted_again_and_again(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn(FileSystem):
        def unlink(self, path: Path) -> None:
            if path.parent.name in {PICKED, ASKED_FOR} and path.parent.parent.name == "outbox":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            super().unlink(path)

    era_0_13(data)

    adopt(data, Stubborn())
    assert "cannot be removed from here" in caplog.text
    assert len(to_send(data)) == 2
    shutil.rmtree(data / "outbox" / "normal")  # sent

    adopt(data)
    assert to_send(data) == {}


def test_the_record_is_plain_json(data: Path) -> None:
    era_0_13(data)
    adopt(data)

    noted = json.loads((data / RECORD_FILE).read_text())

    assert noted["pictures"] == 2
    assert [model["folder"] for model in noted["models"]] == ["1.0", "1.1"]
