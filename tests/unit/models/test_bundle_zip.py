"""Bundles as they travel: packed the same everywhere, and unpacked without believing a word."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle_zip import DEFAULT_LIMITS, ZipLimits, pack, unpack, unpacked_bytes
from models.errors import BundleError, DetectorApplianceError, InputTooLarge, NoRoom, StorageRefused
from models.files import FileSystem
from tests.support.small_bundles import make_bundle

MIB = 1024 * 1024


def zip_of(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def named(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    """An entry with exactly this name: zipfile's own constructor would tidy it up."""
    entry = zipfile.ZipInfo("x")
    entry.filename = name
    entry.create_system = 3
    entry.external_attr = mode << 16
    return entry


def refused(tmp_path: Path, source: Path, limits: ZipLimits = DEFAULT_LIMITS) -> str:
    """Unpack what must be refused: nothing may be left of it, in the folder or beside it. Returns the sentence."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((BundleError, InputTooLarge)) as failure:
        unpack(source, tmp_path / "model", limits)
    assert sorted(tmp_path.rglob("*")) == before
    return str(failure.value)


class TestRoundTrip:
    def test_a_packed_bundle_unpacks_to_the_same_files(self, tmp_path: Path) -> None:
        bundle = make_bundle(tmp_path / "bundle")
        (bundle / "labels für alle.txt").write_text("screw\nhole\n")
        pack(bundle, tmp_path / "model.zip")
        unpack(tmp_path / "model.zip", tmp_path / "model")

        packed = {path.name: path.read_bytes() for path in bundle.iterdir()}
        assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == packed
        assert unpacked_bytes(tmp_path / "model.zip") == sum(map(len, packed.values()))

    def test_the_same_files_give_the_same_bytes_whoever_packs_them(self, tmp_path: Path) -> None:
        first, second = make_bundle(tmp_path / "first"), make_bundle(tmp_path / "second")
        (second / "model.json").chmod(0o600)
        os.utime(second / "model.tflite", (1_000_000_000, 1_000_000_000))
        (second / ".DS_Store").write_bytes(b"of no use to anybody else")
        pack(first, tmp_path / "first.zip")
        pack(second, tmp_path / "second.zip")
        pack(second, tmp_path / "second.zip")  # an older one is replaced
        assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()

    def test_the_loop_s_own_client_finds_the_files_at_the_top_level(self, tmp_path: Path) -> None:
        pack(make_bundle(tmp_path / "bundle"), tmp_path / "model.zip")
        with zipfile.ZipFile(tmp_path / "model.zip") as archive:
            assert archive.namelist() == ["model.json", "model.tflite"]

    def test_only_a_bundle_is_packed(self, tmp_path: Path) -> None:
        bundle = make_bundle(tmp_path / "bundle")
        (bundle / "link").symlink_to("model.tflite")
        with pytest.raises(BundleError, match="'link', which is no regular file"):
            pack(bundle, tmp_path / "model.zip")
        (bundle / "link").unlink()
        (bundle / "model.json").unlink()
        with pytest.raises(BundleError, match=r"has no model\.json"):
            pack(bundle, tmp_path / "model.zip")
        with pytest.raises(BundleError, match="cannot be read as a model folder: No such file"):
            pack(tmp_path / "nowhere", tmp_path / "model.zip")
        assert not (tmp_path / "model.zip").exists()

    def test_a_full_disk_leaves_no_half_zip(self, tmp_path: Path) -> None:
        class FullDisk(FileSystem):
            def sync_file(self, file: BinaryIO) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

        bundle = make_bundle(tmp_path / "bundle")
        with pytest.raises(NoRoom, match=r"write model\.zip"):
            pack(bundle, tmp_path / "model.zip", FullDisk())
        assert [path.name for path in tmp_path.iterdir()] == ["bundle"]

    def test_a_deflated_zip_of_another_program_is_taken(self, tmp_path: Path) -> None:
        zip_of(tmp_path / "model.zip", ("model.json", b"{}" * 5000), method=zipfile.ZIP_DEFLATED)
        unpack(tmp_path / "model.zip", tmp_path / "model")
        assert (tmp_path / "model" / "model.json").read_bytes() == b"{}" * 5000

    def test_what_was_executable_in_the_zip_is_not_on_disk(self, tmp_path: Path) -> None:
        zip_of(tmp_path / "model.zip", (named("install.sh", stat.S_IFREG | 0o4777), b"#!/bin/sh"))
        unpack(tmp_path / "model.zip", tmp_path / "model")
        assert not (tmp_path / "model" / "install.sh").stat().st_mode & 0o7133


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil", "no path separators"),
        ("..", "it names no file"),
        (".", "it names no file"),
        ("", "it names no file"),
        ("/etc/passwd", "no path separators"),
        ("//server/share", "no path separators"),
        ("weights/model.tflite", "no path separators"),
        ("..\\evil", "no path separators"),
        ("C:\\evil", "no path separators"),
        ("C:evil", "no colon and no drive letter"),
        ("model.json:stream", "no colon and no drive letter"),
        ("model.json\0.txt", "no control characters"),
        ("line\nbreak", "no control characters"),
        ("\x1b[2J", "no control characters"),
        ("right\u202eleft", "no control characters"),
        ("n" * 201, "200 bytes"),
        ("ü" * 101, "200 bytes"),
    ],
)
def test_a_name_that_could_lead_astray_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    source = zip_of(tmp_path / "x.zip", ("model.json", b"{}"), (named(name), b"evil"))
    assert reason in refused(tmp_path, source)


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path: Path, mode: int) -> None:
    source = zip_of(tmp_path / "x.zip", (named("model.tflite", mode | 0o777), b"/etc/shadow"))
    assert "'model.tflite' in the zip is a link or a device" in refused(tmp_path, source)


@pytest.mark.parametrize("entry", [named("weights/", stat.S_IFDIR), named("weights", stat.S_IFDIR), named("weights/")])
def test_folders_are_refused_with_what_would_be_right(tmp_path: Path, entry: zipfile.ZipInfo) -> None:
    sentence = refused(tmp_path, zip_of(tmp_path / "x.zip", (entry, b"")))
    assert sentence.endswith("a model's files must lie at the top level of the zip")


@pytest.mark.parametrize("second", ["model.json", "MODEL.JSON", "Model.json"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_used_twice_is_refused_in_any_case(tmp_path: Path, second: str) -> None:
    source = zip_of(tmp_path / "x.zip", ("model.json", b"{}"), (second, b"[]"))
    assert "twice" in refused(tmp_path, source)


def test_letters_that_only_look_different_to_the_disk_count_as_the_same(tmp_path: Path) -> None:
    source = zip_of(tmp_path / "x.zip", ("caf\u00e9", b"1"), ("cafe\u0301", b"2"))
    assert "twice" in refused(tmp_path, source)


class TestBombs:
    def test_a_thousandfold_expansion_is_stopped_on_the_way(self, tmp_path: Path) -> None:
        source = zip_of(tmp_path / "x.zip", ("model.tflite", bytes(24 * MIB)), method=zipfile.ZIP_DEFLATED)
        assert source.stat().st_size < 30_000
        written = 0

        class Watched(FileSystem):
            def write_file(self, path: Path, chunks: Iterable[bytes]) -> int:
                def counted() -> Iterable[bytes]:
                    nonlocal written
                    for chunk in chunks:
                        written += len(chunk)
                        yield chunk

                return super().write_file(path, counted())

        with pytest.raises(InputTooLarge, match="zip bomb"):
            unpack(source, tmp_path / "model", DEFAULT_LIMITS, Watched())
        assert written <= DEFAULT_LIMITS.expansion_from
        assert not (tmp_path / "model").exists()

    def test_many_files_share_one_limit(self, tmp_path: Path) -> None:
        limits = dataclasses.replace(DEFAULT_LIMITS, total_bytes=100)
        source = zip_of(tmp_path / "x.zip", *((f"part-{number}", bytes(30)) for number in range(4)))
        assert "unpacks to more than" in refused(tmp_path, source, limits)

    def test_a_size_that_is_a_lie_writes_no_more_than_it_said(self, tmp_path: Path) -> None:
        source = zip_of(tmp_path / "x.zip", ("model.tflite", bytes(MIB)), method=zipfile.ZIP_DEFLATED)
        source.write_bytes(source.read_bytes().replace(struct.pack("<I", MIB), struct.pack("<I", 10)))
        assert unpacked_bytes(source) == 10
        assert "damaged" in refused(tmp_path, source)

    def test_a_size_that_promises_too_much_is_found_out(self, tmp_path: Path) -> None:
        source = zip_of(tmp_path / "x.zip", ("model.tflite", b"weights" * 10), method=zipfile.ZIP_DEFLATED)
        source.write_bytes(source.read_bytes().replace(struct.pack("<I", 70), struct.pack("<I", 71)))
        assert "is cut short: 70 bytes of 71" in refused(tmp_path, source)

    def test_files_that_share_their_bytes_are_refused(self, tmp_path: Path) -> None:
        """The bomb that needs no compression ratio: many entries of the list point into the same bytes."""
        source = zip_of(tmp_path / "x.zip", ("a", bytes(1000)), ("b", bytes(1000)))
        data = bytearray(source.read_bytes())
        second = data.rindex(b"PK\x01\x02")
        data[second + 42 : second + 46] = struct.pack("<I", 5)  # its header is said to begin inside the first file
        source.write_bytes(data)
        assert "overlaps another file" in refused(tmp_path, source)

    @pytest.mark.parametrize("count", [65_535, 10, 1_000_000])
    def test_a_million_entries_are_refused_without_being_read(self, tmp_path: Path, count: int) -> None:
        """The end record may tell the truth (in its 64-bit form), as much as it can hold, or a small number."""
        source = tmp_path / "x.zip"
        zip_of(source, ("a", b""))
        data = source.read_bytes()
        start = data.index(b"PK\x01\x02")
        one = data[start : data.index(b"PK\x05\x06")]
        many = one * 1_000_000
        end = start + len(many)
        with source.open("wb") as file:
            file.write(data[:start] + many)
            if count > 65_535:
                file.write(struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(many), start))
                file.write(struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1))
            short = min(count, 65_535)
            file.write(struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, short, short, len(many), start, 0))
        del many

        tracemalloc.start()
        try:
            sentence = refused(tmp_path, source)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert "list of files alone" in sentence
        assert most < 2 * MIB, "47 MB of names must not be read to find out that they are too many"

    def test_some_hundred_files_are_refused_by_their_number(self, tmp_path: Path) -> None:
        source = zip_of(tmp_path / "x.zip", *((f"file-{number}", b"") for number in range(65)))
        assert "holds 65 files; a model may have 64" in refused(tmp_path, source)

    def test_a_zip_that_is_too_large_is_not_even_opened(self, tmp_path: Path) -> None:
        source = zip_of(tmp_path / "x.zip", ("model.json", b"{}"))
        assert "at most 0 MiB are taken" in refused(tmp_path, source, dataclasses.replace(DEFAULT_LIMITS, zip_bytes=10))


class TestBrokenZips:
    def test_something_that_is_no_zip(self, tmp_path: Path) -> None:
        (tmp_path / "x.zip").write_bytes(b"<html>Not found</html>")
        assert "this is no zip" in refused(tmp_path, tmp_path / "x.zip")

    def test_an_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "x.zip").write_bytes(b"")
        assert "this is no zip" in refused(tmp_path, tmp_path / "x.zip")

    def test_no_file_at_all_and_a_folder(self, tmp_path: Path) -> None:
        assert refused(tmp_path, tmp_path / "x.zip") == "x.zip cannot be read: No such file or directory"
        (tmp_path / "x").mkdir()
        assert refused(tmp_path, tmp_path / "x") == "x cannot be read: Is a directory"

    def test_a_truncated_download_wherever_it_broke_off(self, tmp_path: Path) -> None:
        pack(make_bundle(tmp_path / "bundle"), tmp_path / "whole.zip")
        whole = (tmp_path / "whole.zip").read_bytes()
        for length in range(0, len(whole), 37):
            (tmp_path / "x.zip").write_bytes(whole[:length])
            assert "this is no zip, or a damaged or truncated one" in refused(tmp_path, tmp_path / "x.zip")

    def test_a_flipped_bit_in_the_weights(self, tmp_path: Path) -> None:
        source = zip_of(tmp_path / "x.zip", ("model.json", b"{}"), ("model.tflite", b"weights"))
        source.write_bytes(source.read_bytes().replace(b"weights", b"weighty"))
        assert "'model.tflite' cannot be read (Bad CRC-32" in refused(tmp_path, source)

    @pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
    def test_an_encrypted_file(self, tmp_path: Path, flag: int) -> None:
        source = zip_of(tmp_path / "x.zip", ("model.json", b"{}"))
        data = bytearray(source.read_bytes())
        for header, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = data.index(header) + offset
            data[at : at + 2] = struct.pack("<H", flag)
        source.write_bytes(data)
        assert "is encrypted" in refused(tmp_path, source)

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_a_method_whose_expansion_nobody_bounds(self, tmp_path: Path, method: int) -> None:
        source = zip_of(tmp_path / "x.zip", ("model.json", b"{}"), method=method)
        assert "pack it stored or deflated" in refused(tmp_path, source)

    def test_names_of_list_and_file_that_differ(self, tmp_path: Path) -> None:
        source = zip_of(tmp_path / "x.zip", ("model.json", b"{}"))
        source.write_bytes(source.read_bytes().replace(b"model.json", b"../../evil", 1))
        assert "this is no zip" in refused(tmp_path, source)


class TestTheDisk:
    def test_a_full_disk_leaves_nothing(self, tmp_path: Path) -> None:
        class FullDisk(FileSystem):
            def sync_file(self, file: BinaryIO) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

        source = zip_of(tmp_path / "x.zip", ("model.json", b"{}"))
        with pytest.raises(NoRoom, match=r"could not unpack x\.zip: the disk is full"):
            unpack(source, tmp_path / "model", DEFAULT_LIMITS, FullDisk())
        assert not (tmp_path / "model").exists()

    def test_a_folder_that_is_there_already_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "mine").write_bytes(b"")
        with pytest.raises(StorageRefused, match="File exists"):
            unpack(zip_of(tmp_path / "x.zip", ("model.json", b"{}")), tmp_path / "model")
        assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine"]


@settings(max_examples=150, deadline=None)
@given(
    names=st.lists(
        st.text(st.sampled_from("ab./\\:\0 é\n"), max_size=8) | st.text(max_size=8), max_size=4, unique=True
    ),
    mode=st.sampled_from([0, stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR]),
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6),
)
def test_whatever_a_zip_holds_nothing_is_written_outside(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], mode: int, flips: list[tuple[int, int]]
) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            try:
                name.encode()
            except UnicodeEncodeError:
                continue
            archive.writestr(named(name, mode), b"content")
    damaged = bytearray(data.getvalue())
    for position, value in flips:
        damaged[position % len(damaged)] = value

    base = tmp_path_factory.mktemp("hostile")
    (base / "x.zip").write_bytes(damaged)
    inner = base / "deep" / "model"
    inner.parent.mkdir()
    try:
        unpack(base / "x.zip", inner)
    except DetectorApplianceError as error:
        assert not inner.exists()
        assert str(error)
    else:
        assert all(path.is_file() and not path.is_symlink() for path in inner.iterdir())
    assert {path.name for path in base.iterdir()} == {"x.zip", "deep"}
    assert [path.name for path in inner.parent.iterdir()] in ([], ["model"])
