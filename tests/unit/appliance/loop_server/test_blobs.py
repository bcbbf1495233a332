"""Pictures and zips on the disk and elsewhere: whole or not there, once, and gone only when nobody needs them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from appliance.loop_server.blobs import FREE_SPACE_FLOOR, INCOMING, Blob, Blobs, Folder, Storage
from appliance.loop_server.remote_blobs import Remote, storage_at
from models.errors import NoRoom, NotInLoop, SettingsInvalid, StorageRefused
from models.files import FileSystem
from tests.support.crashing_files import disks_after_every_cut

DATA = b"a picture" * 1000
NAME = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["folder", "memory", "fsspec-local"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """Every kind of storage."""
    storage: Storage
    if request.param == "folder":
        storage = Folder(tmp_path / "blobs")
    else:
        url = f"memory://{uuid4().hex}/loop" if request.param == "memory" else f"local://{tmp_path / 'far'}"
        storage = Remote(url, tmp_path / "spool")
    made = Blobs(storage)
    made.start()
    return made


def put(blobs: Blobs, data: bytes) -> Blob:
    with blobs.keeping() as keeper:
        return keeper.put(data)


def test_what_was_put_is_read_and_named_by_its_content(blobs: Blobs) -> None:
    assert put(blobs, DATA) == Blob(NAME, len(DATA))
    assert blobs.read(NAME) == DATA
    with blobs.open(NAME) as file:
        file.seek(9)
        assert file.read(9) == b"a picture"
    assert list(blobs.names()) == [NAME]


def test_the_same_bytes_are_kept_once_however_they_come(blobs: Blobs) -> None:
    with blobs.keeping() as keeper:
        assert keeper.put(DATA) == keeper.put_chunks([DATA[:100], DATA[100:]]) == keeper.put(DATA)
        keeper.put(b"")
    assert sorted(blobs.names()) == sorted([NAME, hashlib.sha256(b"").hexdigest()])
    assert blobs.read(NAME) == DATA
    assert blobs.read(hashlib.sha256(b"").hexdigest()) == b""


def test_what_breaks_off_leaves_nothing(blobs: Blobs) -> None:
    def breaks() -> Iterator[bytes]:
        yield DATA
        raise RuntimeError("the line is dead")

    with blobs.keeping() as keeper, pytest.raises(RuntimeError):
        keeper.put_chunks(breaks())
    assert list(blobs.names()) == []


@pytest.mark.parametrize("name", [NAME, "../../etc/passwd", NAME.upper(), NAME[:-1], ""])
def test_what_is_not_there_is_told(blobs: Blobs, name: str) -> None:
    with pytest.raises(NotInLoop):
        blobs.open(name)


def test_what_is_removed_is_gone_and_may_come_again(blobs: Blobs) -> None:
    put(blobs, DATA)
    blobs.delete(NAME)
    blobs.delete(NAME)
    assert not blobs.holds(NAME)
    put(blobs, DATA)
    assert blobs.read(NAME) == DATA


def test_what_somebody_is_about_to_name_is_not_removed(blobs: Blobs) -> None:
    put(blobs, DATA)
    with blobs.keeping() as one, blobs.keeping() as other:
        one.put(DATA)  # was there before: only its last row is about to go
        other.put_chunks([DATA])
        blobs.delete(NAME)
        assert blobs.read(NAME) == DATA
    blobs.delete(NAME)
    assert not blobs.holds(NAME)


def test_many_at_once_do_no_harm(blobs: Blobs) -> None:
    pieces = [str(number).encode() * 1000 for number in range(8)]

    def work() -> None:
        for piece in pieces:
            put(blobs, piece)
            blobs.delete(hashlib.sha256(piece).hexdigest())
            put(blobs, piece)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for piece in pieces:
        put(blobs, piece)
        assert blobs.read(hashlib.sha256(piece).hexdigest()) == piece


def test_after_a_power_cut_there_is_all_of_it_or_nothing(tmp_path: Path) -> None:
    def act(files: FileSystem, disk: Path) -> None:
        blobs = Blobs(Folder(disk / "blobs", files, digits=1))
        put(blobs, DATA)
        with blobs.keeping() as keeper:
            keeper.put_chunks([b"the ", b"other"])
        blobs.delete(NAME)

    cut_short, whole = disks_after_every_cut(tmp_path, started, act)
    other = hashlib.sha256(b"the other").hexdigest()
    for disk in [*cut_short, *whole]:
        blobs = Blobs(started(disk))
        for name in blobs.names():
            assert hashlib.sha256(blobs.read(name)).hexdigest() == name
        assert list((disk / "blobs" / INCOMING).iterdir()) == []
    assert all(Blobs(Folder(disk / "blobs", digits=1)).holds(other) for disk in whole)


def started(disk: Path) -> Folder:
    folder = Folder(disk / "blobs", digits=1)
    folder.start()
    return folder


def test_a_first_start_that_is_cut_off_is_taken_up_by_the_next(tmp_path: Path) -> None:
    def act(files: FileSystem, disk: Path) -> None:
        folder = Folder(disk / "blobs", files, digits=1)
        folder.start()
        put(Blobs(folder), DATA)

    cut_short, whole = disks_after_every_cut(tmp_path, lambda _disk: None, act)
    for disk in cut_short:
        blobs = Blobs(started(disk))
        put(blobs, DATA)
        assert blobs.read(NAME) == DATA
    for disk in whole:
        assert Blobs(started(disk)).read(NAME) == DATA


def test_a_second_upload_of_the_same_bytes_is_as_safe_as_the_first(tmp_path: Path) -> None:
    """The first had named them, but the power went off before the name was on the disk."""

    def act(files: FileSystem, disk: Path) -> None:
        folder = Folder(disk / "blobs", files, digits=1)
        incoming = disk / "blobs" / INCOMING / "x"
        files.write_file(incoming, [DATA])
        files.make_folders(folder._path(NAME).parent)
        files.rename(incoming, folder._path(NAME))  # and nothing synced
        put(Blobs(folder), DATA)

    _, whole = disks_after_every_cut(tmp_path, started, act)
    for disk in whole:
        assert Blobs(Folder(disk / "blobs", digits=1)).read(NAME) == DATA


class FullDisk(FileSystem):
    """Has room for as many bytes as it is told."""

    free = 0

    def free_bytes(self, folder: Path) -> int:
        del folder
        return self.free


def test_uploads_leave_some_of_the_disk_free(tmp_path: Path) -> None:
    disk = FullDisk()
    blobs = Blobs(Folder(tmp_path / "blobs", disk))
    blobs.start()
    disk.free = FREE_SPACE_FLOOR + 100
    blobs.check_room(100)
    with pytest.raises(NoRoom, match="disk of the loop is nearly full"):
        blobs.check_room(101)


def test_a_folder_that_cannot_be_used_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file")
    with pytest.raises(StorageRefused, match="could not use the folder of pictures and models"):
        Blobs(Folder(tmp_path / "blobs")).start()


def test_a_url_names_a_folder_or_a_storage(tmp_path: Path) -> None:
    assert isinstance(storage_at((tmp_path / "a b").as_uri(), tmp_path), Folder)
    assert isinstance(storage_at(str(tmp_path), tmp_path), Folder)
    assert isinstance(storage_at("memory://x", tmp_path), Remote)
    for url, words in [
        ("relative/folder", "named from the root on"),
        ("nosuch://bucket/x", "is no storage that fsspec knows"),
        ("gs://bucket/x", "needs a driver that is not installed"),
    ]:
        with pytest.raises(SettingsInvalid, match=words):
            storage_at(url, tmp_path)


def test_a_storage_that_loses_bytes_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Remote(f"memory://{uuid4().hex}", tmp_path)
    blobs = Blobs(storage)
    blobs.start()
    monkeypatch.setattr(storage._system, "info", lambda _path: {"size": 3})
    with blobs.keeping() as keeper, pytest.raises(StorageRefused, match="could not store a file"):
        keeper.put_chunks([DATA])
    monkeypatch.undo()
    assert not blobs.holds(NAME)
