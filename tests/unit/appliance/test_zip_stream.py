"""A zip that is sent while it is made, as other programs read it."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import zip_stream
from appliance.zip_stream import PIECE, ZipStream

PICTURE = bytes(range(256)) * 800


def whole(*members: tuple[str, bytes]) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(b"".join(ZipStream(members))))


def test_it_holds_what_was_put_in() -> None:
    with whole(("normal/a.jpg", PICTURE), ("normal/a.json", b"{}" * 1000), ("empty.json", b"")) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["normal/a.jpg", "normal/a.json", "empty.json"]
        assert archive.read("normal/a.jpg") == PICTURE
        assert archive.getinfo("normal/a.jpg").compress_type == zipfile.ZIP_STORED, "a picture does not shrink"
        assert archive.getinfo("normal/a.json").compress_size < 100
        assert archive.getinfo("normal/a.jpg").external_attr >> 16 == 0o100644


def test_an_empty_one_is_a_zip() -> None:
    with whole() as archive:
        assert archive.namelist() == []


def test_it_goes_out_while_it_is_made() -> None:
    asked: list[int] = []

    def members() -> Iterator[tuple[str, bytes]]:
        for number in range(20):
            asked.append(number)
            yield f"{number}.jpg", PICTURE

    stream = iter(ZipStream(members()))
    first = next(stream)
    assert len(first) == PIECE
    assert asked == [0, 1], "a piece is full with the second picture"
    with zipfile.ZipFile(io.BytesIO(first + b"".join(stream))) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 20


def test_a_program_that_unpacks_while_it_receives_knows_each_member_before_it_comes() -> None:
    """Size and checksum stand in the header in front (APPNOTE 4.3.7), not behind (4.3.9, flag bit 3)."""
    data = b"".join(ZipStream([("a.jpg", PICTURE)]))
    signature, _, flags, method, _, _, checksum, packed, size, name_length, extra = struct.unpack_from(
        "<4s5H3L2H", data
    )
    assert (signature, method, extra) == (b"PK\x03\x04", zipfile.ZIP_STORED, 0)
    assert not flags & 0x08
    assert (checksum, packed, size) == (zlib.crc32(PICTURE), len(PICTURE), len(PICTURE))
    assert data[30 + name_length :].startswith(PICTURE)


def test_more_members_than_an_old_zip_can_have() -> None:
    with whole(*((f"{number}.json", b"1") for number in range(66_000))) as archive:
        assert len(archive.namelist()) == 66_000
        assert archive.read("65999.json") == b"1"


def test_memory_does_not_grow_with_what_has_gone_out() -> None:
    stream = ZipStream((f"{number}.jpg", bytes(2 * PIECE)) for number in range(100))
    tracemalloc.start()
    try:
        assert sum(map(len, stream)) > 200 * PIECE
        assert tracemalloc.get_traced_memory()[1] < 20 * PIECE
    finally:
        tracemalloc.stop()


def test_what_a_member_raises_ends_it() -> None:
    def members() -> Iterator[tuple[str, bytes]]:
        yield "a.jpg", PICTURE * 2
        raise OSError("the disk is gone")

    stream = iter(ZipStream(members()))
    next(stream)
    with pytest.raises(OSError, match="the disk is gone"):
        list(stream)


@pytest.mark.parametrize("limit", ["MOST_MEMBERS", "MOST_BYTES"])
def test_beyond_the_bounds_of_the_old_form(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """The fields of the old form say that Zip64's are to be read; here they do so early."""
    monkeypatch.setattr(zip_stream, limit, 10)
    with whole(*((f"{number}.jpg", b"1234567") for number in range(20))) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 20
        assert archive.infolist()[19].header_offset > 10


def test_members_behind_four_gigabytes(tmp_path: Path) -> None:
    """In a file that is a hole up to there."""
    place, member = 5 << 30, zip_stream._Member("far.jpg", PICTURE)
    entry = member.entry(place)
    with (tmp_path / "far.zip").open("wb") as file:
        file.seek(place)
        file.write(member.header + member.packed + entry)
        file.write(zip_stream._end(1, len(entry), place + len(member.header) + len(PICTURE)))
    with zipfile.ZipFile(tmp_path / "far.zip") as archive:
        assert archive.getinfo("far.jpg").header_offset == place
        assert archive.read("far.jpg") == PICTURE


def test_names_of_all_languages() -> None:
    with whole(("öffentlich/ç.jpg", b"1"), ("plain.jpg", b"2")) as archive:
        assert archive.namelist() == ["öffentlich/ç.jpg", "plain.jpg"]


@pytest.mark.skipif(shutil.which("unzip") is None, reason="there is no unzip")
def test_another_program_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(b"".join(ZipStream([("normal/a.jpg", PICTURE), ("normal/a.json", b"{}" * 1000)])))
    told = subprocess.run(["unzip", "-t", path], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "No errors detected" in told.stdout


def test_what_an_old_zip_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_stream, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="a member may have 999"):
        list(ZipStream([("a.jpg", bytes(1000))]))
