"""Zips of data sets: found by name, and bounded."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest

from appliance.loop_server import dataset_zips
from appliance.loop_server.dataset_zips import opened
from models.errors import InputTooLarge, InvalidInput


def zip_of(folder: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / "set.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


MEMBERS = {
    "set/annotations/instances.json": b"1",
    "set/train/a.jpg": b"2",
    "set/val/a.jpg": b"3",
    "set/train/b.jpg": b"4",
    "__MACOSX/set/._instances.json": b"5",
    "__MACOSX/set/._a.json": b"6",
    "set/": b"",
}


def test_documents_are_found_and_those_of_macos_are_not(tmp_path: Path) -> None:
    with opened(zip_of(tmp_path, MEMBERS)) as archive:
        assert archive.documents() == ["set/annotations/instances.json"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("set/train/a.jpg", "set/train/a.jpg"),
        ("train/a.jpg", "set/train/a.jpg"),
        ("./val/a.jpg", "set/val/a.jpg"),
        ("val\\a.jpg", "set/val/a.jpg"),
        ("b.jpg", "set/train/b.jpg"),
        ("/data/elsewhere/b.jpg", "set/train/b.jpg"),
        ("a.jpg", None),
        ("c.jpg", None),
        ("../../etc/passwd", None),
    ],
)
def test_pictures_are_found_as_far_as_their_name_tells_them_apart(tmp_path: Path, name: str, found: str | None) -> None:
    with opened(zip_of(tmp_path, MEMBERS)) as archive:
        assert archive.find(name) == found


def test_a_member_is_read_up_to_its_limit(tmp_path: Path) -> None:
    with opened(zip_of(tmp_path, {"a": b"12345"})) as archive:
        assert archive.read("a", 5) == b"12345"
        with pytest.raises(InputTooLarge, match="a in the zip has more than 0 MiB"):
            archive.read("a", 4)


def test_a_bomb_is_noticed_before_it_is_all_there(tmp_path: Path) -> None:
    path = zip_of(tmp_path, {f"{number}": bytes(20 * 2**20) for number in range(6)})
    with opened(path) as archive, pytest.raises(InputTooLarge, match="zip bomb"):
        for number in range(6):
            archive.read(str(number), 2**25)


@pytest.mark.parametrize("spoil", ["text", "cut", "crc", "list"])
def test_what_is_no_zip_or_a_damaged_one_is_told(tmp_path: Path, spoil: str) -> None:
    path = zip_of(tmp_path, {"a": bytes(range(256)) * 100}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    if spoil == "text":
        data = bytearray(b"hello")
    elif spoil == "cut":
        del data[-10:]
    elif spoil == "crc":
        data[2000] ^= 1
    else:
        data[-6:-2] = struct.pack("<I", 10)
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match="no zip, or a damaged one"), opened(path) as archive:
        archive.read("a", 10**6)


def test_the_list_of_members_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zip_of(tmp_path, {f"{number:0100}": b"" for number in range(1000)})
    monkeypatch.setattr(dataset_zips, "MAX_MEMBERS", 999)
    with pytest.raises(InputTooLarge, match="has 1000 files"), opened(path):
        pass
    monkeypatch.setattr(dataset_zips, "MAX_LIST", 70_000)
    with pytest.raises(InputTooLarge, match="list of files alone"), opened(path):
        pass
