"""Damage inside JPEGs, most of which still can be decoded, and a decoder that comes to grief."""

from __future__ import annotations

import io
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from trainer_companion.children import ChildFailed
from trainer_companion.jpeg_inspection import JpegInspector


@pytest.fixture(scope="module")
def photograph() -> bytes:
    """A cat."""
    from skimage import data

    return encoded(Image.fromarray(data.chelsea()))  # type: ignore[no-untyped-call]


def encoded(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def inspector() -> Iterator[JpegInspector]:
    with JpegInspector() as made:
        yield made


def flaw(inspector: JpegInspector, folder: Path, data: bytes) -> str | None:
    path = folder / "picture.jpg"
    path.write_bytes(data)
    return inspector.flaws([path])[0]


def test_whole_pictures_of_every_kind_have_none(photograph: bytes, inspector: JpegInspector, tmp_path: Path) -> None:
    picture = Image.open(io.BytesIO(photograph))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned
    kinds = [
        photograph,
        photograph + b"what a camera adds behind the end",
        encoded(picture, progressive=True),
        encoded(picture, exif=exif, comment="by a cat"),
        encoded(picture, restart_marker_rows=1),
        encoded(picture.convert("L")),
        encoded(picture.convert("CMYK")),
        encoded(picture.resize((1, 1))),
        encoded(picture.resize((7, 2000))),
    ]
    for data in kinds:
        assert flaw(inspector, tmp_path, data) is None


def test_damage_is_found_wherever_it_is(photograph: bytes, inspector: JpegInspector, tmp_path: Path) -> None:
    dice = random.Random(5)
    begin = photograph.index(b"\xff\xda") + 14  # where the picture itself begins
    seen = 0
    for _ in range(60):
        damaged = bytearray(photograph)
        at, length = dice.randrange(begin, len(damaged) - 1000), dice.choice([100, 900])
        damaged[at : at + length] = dice.randbytes(length)
        seen += flaw(inspector, tmp_path, bytes(damaged)) is not None
    assert seen >= 50, "a few bytes may happen to mean another picture, which is whole"
    for length in (begin, len(photograph) // 2, len(photograph) - 40):
        assert flaw(inspector, tmp_path, photograph[:length]) is not None
    for nonsense in (b"", b"\xff\xd8\xff\xd9", b"<html>"):
        assert flaw(inspector, tmp_path, nonsense) is not None
    assert flaw(inspector, tmp_path, photograph) is None, "it says nothing of the one before"


def test_its_words_say_what_is_wrong(photograph: bytes, inspector: JpegInspector, tmp_path: Path) -> None:
    damaged = bytearray(photograph)
    middle = len(damaged) // 2
    damaged[middle : middle + 50] = random.Random(2).randbytes(50)
    assert "Corrupt JPEG data" in (flaw(inspector, tmp_path, bytes(damaged)) or "")
    assert inspector.flaws([tmp_path / "nothing there.jpg"])[0] is not None


DIES = """
import json, os, sys
print('"ready"', flush=True)
for line in sys.stdin:
    if "deadly" in line:
        os.kill(os.getpid(), 11)
    print(json.dumps([None] * len(json.loads(line))), flush=True)
"""


def test_a_picture_that_ends_the_decoder_is_damaged_and_the_next_one_is_inspected(tmp_path: Path) -> None:
    with JpegInspector([sys.executable, "-c", DIES]) as inspector:
        assert inspector.flaws([tmp_path / "a.jpg"])[0] is None
        found = inspector.flaws([tmp_path / "b.jpg", tmp_path / "deadly.jpg", tmp_path / "c.jpg"])
        assert [flaw is None for flaw in found] == [True, False, True]
        assert "does not survive" in (found[1] or "")


def test_a_process_that_somebody_ended_is_no_flaw(photograph: bytes, tmp_path: Path) -> None:
    with JpegInspector() as inspector:
        assert flaw(inspector, tmp_path, photograph) is None
        assert inspector._process is not None
        os.kill(inspector._process.pid, signal.SIGKILL)
        inspector._process.wait()
        assert flaw(inspector, tmp_path, photograph) is None
        last = inspector._process
    assert last.returncode == 0, "it ends when it is not needed any more"
    with pytest.raises(ChildFailed):
        inspector.flaws([tmp_path / "picture.jpg"])[0]


def test_a_decoder_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer_companion.jpeg_inspection.ANSWER_WITHIN_S", 0.2)
    monkeypatch.setattr("trainer_companion.jpeg_inspection.END_WITHIN_S", 0.2)
    hangs = "import time; print('\"ready\"', flush=True); time.sleep(600)"
    with JpegInspector([sys.executable, "-c", hangs]) as inspector:
        assert "cannot be decoded within" in (inspector.flaws([tmp_path / "a.jpg"])[0] or "")


@pytest.mark.parametrize("program", [["/nowhere/python"], [sys.executable, "-c", "print('hello')"]])
def test_without_a_decoder_no_picture_is_called_damaged(tmp_path: Path, program: list[str]) -> None:
    with JpegInspector(program) as inspector, pytest.raises(ChildFailed, match="does not start"):
        inspector.flaws([tmp_path / "a.jpg"])[0]
