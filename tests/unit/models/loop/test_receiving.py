"""The disk's side of a download, while the power fails at every step; and names from outside."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from models.errors import InputTooLarge, LoopUnreachable
from models.files import FileSystem
from models.loop.receiving import Part, Receiver, safe_file_name
from tests.support.crashing_files import disks_after_every_cut

URL = "http://loop.example/file"
CONTENT = bytes(range(256)) * 8
PART = Part(url=URL, etag='"one"', size=len(CONTENT))
PIECES = [CONTENT[start : start + 512] for start in range(0, len(CONTENT), 512)]


def receive(files: FileSystem, to: Path, stop_after: int | None = None) -> str | None:
    """Download `CONTENT`, going on with what is there; every second piece is synced."""
    receiver = Receiver(URL, to, 10_000, files)
    try:
        part = receiver.find_part()
        if part is None:
            receiver.begin(PART)
        else:
            receiver.go_on(part)
        for number, piece in enumerate(PIECES):
            start = number * 512
            rest = piece[max(0, receiver.received - start) :]
            if rest:
                receiver.write(rest, number % 2 == 1)
            if number == stop_after:
                return None
        return receiver.finish()
    finally:
        receiver.stop()


def test_after_a_power_cut_at_any_step_the_download_goes_on_or_begins_anew_and_never_ends_wrong(tmp_path: Path) -> None:
    def nothing(root: Path) -> None: ...

    def act(files: FileSystem, root: Path) -> None:
        receive(files, root / "model")

    cut_short, finished = disks_after_every_cut(tmp_path, nothing, act)
    gone_on_with = 0
    for disk in cut_short + finished:
        part = Receiver(URL, disk / "model", 10_000, FileSystem()).find_part()
        gone_on_with += part is not None
        if part is not None:
            assert (disk / "model").read_bytes()[: part.synced] == CONTENT[: part.synced]
        assert receive(FileSystem(), disk / "model") == hashlib.sha256(CONTENT).hexdigest()
        assert (disk / "model").read_bytes() == CONTENT
        assert [path.name for path in disk.iterdir()] == ["model"]
    assert gone_on_with > len(cut_short) / 4
    for disk in finished:
        assert (disk / "model").read_bytes() == CONTENT


def test_after_a_power_cut_while_going_on_the_same_is_true(tmp_path: Path) -> None:
    def half(root: Path) -> None:
        receive(FileSystem(), root / "model", stop_after=1)

    def act(files: FileSystem, root: Path) -> None:
        receive(files, root / "model")

    cut_short, finished = disks_after_every_cut(tmp_path, half, act)
    for disk in cut_short + finished:
        assert receive(FileSystem(), disk / "model") == hashlib.sha256(CONTENT).hexdigest()
    assert len(cut_short) > 20


def test_what_was_not_synced_is_not_trusted(tmp_path: Path) -> None:
    receiver = Receiver(URL, tmp_path / "model", 10_000, FileSystem())
    receiver.begin(PART)
    receiver.write(CONTENT[:1000], True)
    receiver.write(b"what the disk holds after a power cut may be anything", False)
    # killed here
    again = Receiver(URL, tmp_path / "model", 10_000, FileSystem())
    part = again.find_part()
    assert part is not None
    assert part.synced == 1000
    receiver.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "part",
    [
        Part(url="http://other.example/file", etag='"one"', size=2048, synced=1000),
        Part(url=URL, size=2048, synced=1000),
        Part(url=URL, etag='"one"', size=2048, synced=0),
        Part(url=URL, etag='"one"', size=99_999, synced=20_000),
        Part(url=URL, etag='"one"', size=2048, synced=1500),
    ],
)
def test_a_part_that_proves_nothing_is_not_gone_on_with(tmp_path: Path, part: Part) -> None:
    (tmp_path / "model").write_bytes(CONTENT[:1000])
    (tmp_path / "model.part-of").write_text(part.model_dump_json())
    assert Receiver(URL, tmp_path / "model", 10_000, FileSystem()).find_part() is None


def test_a_part_behind_a_link_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(CONTENT)
    (tmp_path / "model").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "model.part-of").write_text(PART.model_copy(update={"synced": 3}).model_dump_json())
    receiver = Receiver(URL, tmp_path / "model", 10_000, FileSystem())
    assert receiver.find_part() is None
    receiver.begin(PART)
    receiver.write(b"new", True)
    receiver.discard()
    assert (tmp_path / "elsewhere").read_bytes() == CONTENT


def test_going_on_ends_early_when_it_is_asked_to_and_keeps_the_part(tmp_path: Path) -> None:
    receive(FileSystem(), tmp_path / "model", stop_after=3)
    receiver = Receiver(URL, tmp_path / "model", 10_000, FileSystem())
    part = receiver.find_part()
    assert part is not None
    receiver.interrupt()
    receiver.go_on(part)
    assert receiver.received == 0, "it read on"
    receiver.stop()
    assert Receiver(URL, tmp_path / "model", 10_000, FileSystem()).find_part() == part


def test_more_bytes_than_announced_or_allowed_leave_nothing_behind(tmp_path: Path) -> None:
    receiver = Receiver(URL, tmp_path / "model", 10_000, FileSystem())
    receiver.begin(PART)
    receiver.write(CONTENT + b"more", False)
    with pytest.raises(LoopUnreachable, match="more bytes came"):
        receiver.finish()
    assert list(tmp_path.iterdir()) == []
    receiver = Receiver(URL, tmp_path / "model", 2000, FileSystem())
    receiver.begin(Part(url=URL))
    with pytest.raises(InputTooLarge):
        receiver.write(CONTENT, False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="1234_litert.zip"', "1234_litert.zip"),
        ("attachment; filename=model.zip", "model.zip"),
        ('attachment; FileName="model 1.2.zip"; size=3', "model_1.2.zip"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="/etc/cron.d/x"', "x"),
        ('attachment; filename="C:\\\\Windows\\\\x.zip"', "x.zip"),
        ('attachment; filename=".bashrc"', "bashrc"),
        ('attachment; filename="a\x00b\nc.zip"', "a_b_c.zip"),
        ('attachment; filename="' + "x" * 500 + '.zip"', "x" * 96 + ".zip"),
        ('attachment; filename=".."', "otherwise"),
        ('attachment; filename=""', "otherwise"),
        ("attachment", "otherwise"),
        ("", "otherwise"),
        ('attachment; filename="模型"', "otherwise"),
    ],
)
def test_a_file_name_from_outside_is_harmless(header: str, name: str) -> None:
    assert safe_file_name(header, "otherwise") == name
