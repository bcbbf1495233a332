"""Pictures for calibration: found, sampled evenly, bounded in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter_companion import pictures
from models.bundle_format import InputSpec
from models.errors import InvalidInput


def test_a_coco_folder_and_a_plain_one_are_searched(scenes: Path, tmp_path: Path) -> None:
    found = pictures.find(scenes)
    assert len(found) == 24
    assert pictures.find(scenes / "images") == found
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(InvalidInput, match="no pictures in"):
        pictures.find(tmp_path)
    with pytest.raises(InvalidInput, match="cannot be read"):
        pictures.find(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(0, 5, []), (3, 5, [0, 1, 2]), (10, 5, [0, 2, 4, 6, 8]), (7, 3, [0, 2, 4]), (5, 5, [0, 1, 2, 3, 4])],
)
def test_a_sample_is_even(count: int, most: int, expected: list[int]) -> None:
    assert pictures.sample(range(count), most) == expected


def test_they_are_as_the_model_sees_them_and_what_is_broken_is_left_out(scenes: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    spec = InputSpec(width=96, height=32)
    seen = pictures.calibration([broken, *pictures.find(scenes)[:3]], spec)
    assert seen.shape == (3, 32, 96, 3)
    assert seen.dtype == "uint8"
    assert seen.std() > 5
    with pytest.raises(InvalidInput, match="None of the 1 pictures"):
        pictures.calibration([broken], spec)


def test_large_ones_are_fewer(scenes: Path) -> None:
    found = pictures.find(scenes)
    assert len(pictures.calibration(found, InputSpec(width=512, height=512))) == len(found)
    assert len(pictures.calibration(found, InputSpec(width=2048, height=1920))) == pictures.FEWEST
