"""The seam to the disk: what it promises when the power fails, and that the failing disk of the tests is honest."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import BinaryIO

import pytest

from models.errors import NoRoom, StorageRefused
from models.files import FileSystem, refusal
from tests.support.crashing_files import CrashingFileSystem, PowerCut, disks_after_every_cut


def test_a_file_replaced_while_the_power_fails_is_all_old_or_all_new(tmp_path: Path) -> None:
    def before(root: Path) -> None:
        (root / "state.json").write_bytes(b"old state")

    def act(files: FileSystem, root: Path) -> None:
        files.write_atomically(root / "state.json", b"new")

    cut_short, finished = disks_after_every_cut(tmp_path, before, act)
    assert {(disk / "state.json").read_bytes() for disk in cut_short} == {b"old state", b"new"}
    assert {(disk / "state.json").read_bytes() for disk in finished} == {b"new"}, "what returned must not get lost"


def test_a_leftover_of_a_power_cut_is_replaced_by_the_next_write(tmp_path: Path) -> None:
    files = FileSystem()
    (tmp_path / ".state.json.new").write_bytes(b"half of")
    files.write_atomically(tmp_path / "state.json", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    class FullDisk(FileSystem):
        def sync_file(self, file: BinaryIO) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "state.json").write_bytes(b"old")
    with pytest.raises(OSError, match="No space left") as failure:
        FullDisk().write_atomically(tmp_path / "state.json", b"new")

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"state.json": b"old"}
    assert isinstance(refusal(failure.value, "keep the state"), NoRoom)
    assert str(refusal(failure.value, "keep the state")).startswith("could not keep the state: the disk is full")


def test_other_troubles_of_the_disk_are_no_full_disk() -> None:
    error = refusal(PermissionError(errno.EACCES, "Permission denied"), "store the model")
    assert type(error) is StorageRefused
    assert str(error) == "could not store the model: the disk refused it (Permission denied)"


def test_folders_made_are_all_there_after_a_power_cut(tmp_path: Path) -> None:
    def act(files: FileSystem, root: Path) -> None:
        files.make_folders(root / "models" / "zauberzeug" / "demo")

    _, finished = disks_after_every_cut(tmp_path, lambda root: None, act)
    assert all((disk / "models" / "zauberzeug" / "demo").is_dir() for disk in finished)


def test_a_folder_that_a_killed_process_made_is_synced_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    files = CrashingFileSystem(tmp_path / "disk")
    files.make_folder(tmp_path / "disk" / "outbox")  # and killed before it could sync the name
    files.make_folders(tmp_path / "disk" / "outbox")
    assert (files.disk_after_power_loss(tmp_path / "after") / "outbox").is_dir()


def test_a_renamed_folder_is_in_one_place_after_a_power_cut(tmp_path: Path) -> None:
    def before(root: Path) -> None:
        (root / "staging" / "bundle").mkdir(parents=True)
        (root / "models").mkdir()

    def act(files: FileSystem, root: Path) -> None:
        files.rename_durably(root / "staging" / "bundle", root / "models" / "1.0")

    _, finished = disks_after_every_cut(tmp_path, before, act)
    assert all((disk / "models" / "1.0").is_dir() for disk in finished)
    assert not any((disk / "staging" / "bundle").exists() for disk in finished)


def test_removing_a_tree_removes_links_and_not_what_they_point_to(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "photo.jpg").write_bytes(b"jpeg")
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "file").write_bytes(b"")
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "tree" / "dangling").symlink_to(tmp_path / "nowhere")

    FileSystem().remove_tree(tmp_path / "tree")
    FileSystem().remove_tree(tmp_path / "tree")  # once more is no error

    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert (tmp_path / "precious" / "photo.jpg").exists()


def test_a_new_file_never_goes_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        FileSystem().write_file(tmp_path / "link", [b"data"])
    assert not (tmp_path / "elsewhere").exists()


def test_a_second_name_takes_no_other_s_place_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"one")
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "link").symlink_to("one")
    files = FileSystem()
    with pytest.raises(FileExistsError):
        files.link(tmp_path / "one", tmp_path / "other")
    files.link(tmp_path / "link", tmp_path / "second")
    files.unlink(tmp_path / "one")
    assert (tmp_path / "second").is_symlink()
    assert (tmp_path / "other").read_bytes() == b"other"


def test_a_disk_that_cannot_sync_folders_is_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_sync(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", no_sync)
    FileSystem().sync_folder(tmp_path)


class TestTheFailingDiskIsHonest:
    """Each of these forgets one sync, and is seen to lose what it forgot."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        (tmp_path / "disk").mkdir()
        (tmp_path / "disk" / "state").write_bytes(b"old")
        return tmp_path / "disk"

    def test_bytes_that_were_not_synced_are_lost_though_the_name_was(self, root: Path, tmp_path: Path) -> None:
        files = CrashingFileSystem(root)
        with files.create_exclusive(root / "new") as file:
            file.write(b"data")
        files.rename(root / "new", root / "state")
        files.sync_folder(root)
        assert (files.disk_after_power_loss(tmp_path / "after") / "state").read_bytes() == b""

    def test_a_name_that_was_not_synced_is_lost_though_the_bytes_were(self, root: Path, tmp_path: Path) -> None:
        files = CrashingFileSystem(root)
        files.write_file(root / "new", [b"data"])
        files.rename(root / "new", root / "state")
        assert (root / "state").read_bytes() == b"data"
        after = files.disk_after_power_loss(tmp_path / "after")
        assert {path.name: path.read_bytes() for path in after.iterdir()} == {"state": b"old"}

    def test_a_removed_file_comes_back_when_the_removal_was_not_synced(self, root: Path, tmp_path: Path) -> None:
        files = CrashingFileSystem(root)
        files.unlink(root / "state")
        assert (files.disk_after_power_loss(tmp_path / "after") / "state").read_bytes() == b"old"

    def test_a_second_name_that_was_not_synced_is_lost_and_the_first_is_not(self, root: Path, tmp_path: Path) -> None:
        files = CrashingFileSystem(root)
        files.link(root / "state", root / "also")
        assert (root / "also").samefile(root / "state")
        after = files.disk_after_power_loss(tmp_path / "after")
        assert {path.name: path.read_bytes() for path in after.iterdir()} == {"state": b"old"}

    def test_one_sync_of_everything_keeps_bytes_and_names_wherever_they_are(self, root: Path, tmp_path: Path) -> None:
        files = CrashingFileSystem(root)
        files.make_folder(root / "folder")
        with files.create_exclusive(root / "folder" / "new") as file:
            file.write(b"data")
        files.unlink(root / "state")
        files.sync_everything()
        after = files.disk_after_power_loss(tmp_path / "after")
        assert [path.name for path in after.iterdir()] == ["folder"]
        assert (after / "folder" / "new").read_bytes() == b"data"

    def test_chance_may_keep_what_was_not_synced(self, root: Path, tmp_path: Path) -> None:
        files = CrashingFileSystem(root)
        with files.create_exclusive(root / "new") as file:
            file.write(b"data")
        kept = set()
        for seed in range(40):
            new = files.disk_after_power_loss(tmp_path / f"after-{seed}", random.Random(seed)) / "new"
            kept.add(new.read_bytes() if new.exists() else None)
        assert {None, b"", b"data"} < kept, "lost, empty, whole, and something between"

    def test_once_the_power_is_off_nothing_is_cleaned_up(self, root: Path) -> None:
        files = CrashingFileSystem(root, cut_at=0)
        for _ in range(2):
            with pytest.raises(PowerCut):
                files.remove_tree(root / "state")
        assert (root / "state").exists()

    def test_a_write_past_the_seam_is_found(self, root: Path) -> None:
        files = CrashingFileSystem(root)
        (root / "sneaked in").write_bytes(b"")
        (root / "state").write_bytes(b"changed")
        assert files.bypassed() == ["sneaked in", "state"]
