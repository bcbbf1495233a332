"""The sample tool is installed as a user would install it, found by its entry point alone, and draws."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotator_companion.cli import main
from annotator_companion.tools import BUILT_IN, GROUP, tools
from annotator_companion.tools.base import Action, Line, Picture
from models import plugins
from models.errors import BundleError
from tests.support.pasted_things import filled, intersection_over_union
from tests.support.sample_packages import installed_into, make_importable
from tests.unit.annotator_companion.hand import Hand, plain

SAMPLE = Path(__file__).parent / "own_annotator"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_into(tmp_path_factory.mktemp("site"), SAMPLE)


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_importable(site, "magic_wand", monkeypatch)


@pytest.fixture
def card() -> tuple[Picture, np.ndarray]:
    """A card whose colour fades from left to right, on grey."""
    pixels = plain(200, 150, value=120)
    pixels[40:110, 50:160] = np.linspace((150, 60, 60), (200, 60, 60), 110)[None]
    mask = np.zeros((150, 200), np.uint8)
    mask[40:110, 50:160] = 1
    return Picture(pixels), mask


def test_without_the_package_the_name_is_unknown() -> None:
    with pytest.raises(BundleError, match=r"no 'magic_wand' in detector_appliance\.annotators; known are grabcut, "):
        tools(["magic_wand"])


@pytest.mark.usefixtures("installed")
def test_it_stands_beside_the_built_in_ones(site: Path) -> None:
    assert set(plugins.names(GROUP, BUILT_IN)) == {*BUILT_IN, "magic_wand"}
    [tool, _] = tools(["magic_wand", "grabcut"])
    assert Path(sys.modules[type(tool).__module__].__file__ or "").parent == site


@pytest.mark.usefixtures("installed")
def test_the_farther_one_pulls_the_more_belongs_to_it(card: tuple[Picture, np.ndarray]) -> None:
    picture, mask = card
    [tool] = tools(["magic_wand"])
    narrow = Hand(tool, picture)
    assert intersection_over_union(narrow.mask(narrow.click((55, 75))), mask) < 0.5
    wide = Hand(tool, picture)
    wide.do("down", (55, 75), pressed=(55, 75))
    assert wide.do("move", (150, 75), pressed=(55, 75)).shapes == (Line(((55, 75), (150, 75)), "hint"),)
    sketch = wide.do("up", (199, 149), pressed=(55, 75))
    assert sketch.is_stored
    assert intersection_over_union(wide.mask(sketch), mask) > 0.9
    assert wide.drawing.handle(Action("down", (9, 9), pressed=(9, 9))) is None, "another press is another annotation"


@pytest.mark.usefixtures("installed")
def test_it_can_be_tried_as_its_readme_says(
    card: tuple[Picture, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, mask = card
    Image.fromarray(picture.pixels).save(tmp_path / "photo.png")
    command = ["--tool", "magic_wand", "--out", str(tmp_path / "overlay.png")]
    assert main(["try", str(tmp_path / "photo.png"), "--box", "52,42,100,60", *command]) == 0
    corners = [[int(number) for number in corner.split(",")] for corner in capsys.readouterr().out.split()]
    assert intersection_over_union(filled(corners, 200, 150), mask) > 0.5
    assert (tmp_path / "overlay.png").exists()
    readme = (SAMPLE / "README.md").read_text(encoding="utf-8")
    assert "annotator-companion try photo.jpg --box 100,80,300,200 --tool magic_wand" in readme
