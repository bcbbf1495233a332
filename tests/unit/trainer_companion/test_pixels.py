"""Pictures kept in memory: as the device would see them, within a bound, and without the damaged ones."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from models import images
from models.errors import NoRoom
from tests.support.coco_folders import write_squares
from trainer_companion import dataset
from trainer_companion.pixels import open_store
from trainer_companion.team import Team


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[dataset.Picture, ...]:
    return dataset.read(write_squares(tmp_path / "set", 12)).pictures


def seen_by_device(picture: dataset.Picture) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return images.prepare(picture.path.read_bytes(), 96, 64).pixels


@pytest.mark.parametrize(("bound", "kept"), [(None, 12), (5 * 96 * 64 * 3 + 7, 5), (0, 0)])
def test_pictures_are_as_the_device_sees_them_in_memory_or_not(
    pictures: tuple[dataset.Picture, ...], tmp_path: Path, bound: int | None, kept: int
) -> None:
    store = open_store(pictures, 96, 64, tmp_path / "pixels", Team(), bound=bound)
    assert store.kept == kept
    assert len(store) == 12
    for index, picture in enumerate(pictures):
        assert np.array_equal(store[index], seen_by_device(picture))


def test_no_file_stays_behind(pictures: tuple[dataset.Picture, ...], tmp_path: Path) -> None:
    (tmp_path / "pixels").write_bytes(b"of a process that was killed")
    store = open_store(pictures, 96, 64, tmp_path / "pixels", Team())
    assert not (tmp_path / "pixels").exists()
    assert np.array_equal(store[3], seen_by_device(pictures[3]))


@pytest.mark.parametrize("bound", [None, 0])
@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_damaged_pictures_are_found(
    pictures: tuple[dataset.Picture, ...], tmp_path: Path, content: bytes | None, bound: int | None
) -> None:
    if content is None:
        pictures[4].path.unlink()
    else:
        pictures[4].path.write_bytes(content)
    store = open_store(pictures, 96, 64, tmp_path / "pixels", Team(), bound=bound)
    assert store.bad == {4}
    assert store[4].shape == (64, 96, 3)


def test_a_full_disk_is_told_before_anything_is_written(
    pictures: tuple[dataset.Picture, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, start: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(NoRoom, match="keep the decoded pictures"):
        open_store(pictures, 96, 64, tmp_path / "pixels", Team())
    assert not (tmp_path / "pixels").exists()


def test_long_reading_is_told_now_and_then(pictures: tuple[dataset.Picture, ...], tmp_path: Path) -> None:
    """A node takes a training that says nothing for one that hangs."""
    seconds = itertools.count(0.0, 2.0)
    told: list[int] = []
    open_store(pictures, 96, 64, tmp_path / "pixels", Team(), tell=told.append, clock=lambda: next(seconds))
    assert len(told) >= 2
    assert told == sorted(told)
    assert 0 < told[0] < told[-1] <= 12
