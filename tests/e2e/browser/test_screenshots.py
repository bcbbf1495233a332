"""The pictures of README.md can be taken anew, and are small."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.browser.screenshots import MOST_BYTES, NAMES, take_all

pytestmark = pytest.mark.slow


def test_every_picture_of_the_readme_is_taken_and_small_enough(tmp_path: Path) -> None:
    folder, scratch = tmp_path / "screenshots", tmp_path / "scratch"
    scratch.mkdir()
    taken = take_all(folder, scratch, seconds=3.0)
    assert {path.stem for path in taken} == set(NAMES)
    for path in taken:
        with Image.open(path) as shot:
            assert len(shot.convert("RGB").getcolors(1 << 24) or ()) > 50, f"{path} shows nothing"
        assert path.stat().st_size <= MOST_BYTES, f"{path} has {path.stat().st_size} bytes"
