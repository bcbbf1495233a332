"""`annotator-companion` tried on a picture, as a person meets it first."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotator_companion.cli import main
from annotator_companion.pictures import decoded
from annotator_companion.tools.grabcut import GrabCut
from annotator_companion.trying import try_box
from models.images import DEFAULT_LIMITS
from tests.support.pasted_things import Scene, filled, intersection_over_union, scene
from tests.support.tiny_promptable import write_promptable


@pytest.fixture(scope="module")
def shown() -> Scene:
    return scene(1, 640, 480)


@pytest.fixture
def picture(shown: Scene, tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(shown.pixels).save(path)
    return path


def polygon(text: str) -> list[tuple[int, int]]:
    assert re.fullmatch(r"(\d+,\d+ )+\d+,\d+\n", text), text
    return [(int(x), int(y)) for x, y in (corner.split(",") for corner in text.split())]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_box_gives_a_polygon_and_a_picture_with_the_mask(
    shown: Scene, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    out = tmp_path / f"overlay.{suffix}"
    box = ",".join(map(str, shown.box))
    assert main(["try", str(picture), "--box", box, "--out", str(out)]) == 0
    mask = filled(polygon(capsys.readouterr().out), 640, 480)
    assert intersection_over_union(mask, shown.mask) > 0.85
    drawn = np.asarray(Image.open(out)).astype(int)
    differs = np.abs(drawn - shown.pixels).max(axis=2)
    assert np.median(differs[mask != 0]) > 20
    assert np.median(differs[mask == 0]) < 10


@pytest.mark.parametrize("tool", ["grabcut", "livewire", "prompt"])
def test_every_tool_can_be_tried(
    shown: Scene, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: str
) -> None:
    encoder, decoder = write_promptable(tmp_path)
    arguments = ["try", str(picture), "--box", ",".join(map(str, shown.box)), "--tool", tool, "--epsilon", "2"]
    assert main([*arguments, "--encoder", str(encoder), "--decoder", str(decoder)]) == 0
    assert len(polygon(capsys.readouterr().out)) >= 3


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["--box", "1,2,3"], 2, "four numbers are due"),
        (["--box", "1,2,nan,4"], 2, "four numbers are due"),
        (["--box", "1,2,0,4"], 2, "is empty"),
        (["--box", "9000,0,10,10"], 1, "outside the picture of 640 x 480"),
        (["--box", "0,0,9,9", "--tool", "magic"], 1, "There is no 'magic'"),
        (["--box", "0,0,9,9", "--tool", "prompt"], 1, "set PROMPT_ENCODER and PROMPT_DECODER"),
        (["--box", "0,0,99,99", "--out", "overlay.gif"], 1, "neither .png nor .jpg"),
        (["--box", "0,0,99,99", "--out", "/nowhere/overlay.png"], 1, "could not write"),
        ([], 2, "Missing option '--box'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    picture: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, sentence: str
) -> None:
    assert main(["try", str(picture), *arguments]) == status
    assert sentence in capsys.readouterr().err


def test_files_that_are_no_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    assert main(["try", str(tmp_path / "text.jpg"), "--box", "0,0,9,9"]) == 1
    assert "JPEG" in capsys.readouterr().err
    assert main(["try", str(tmp_path / "missing.jpg"), "--box", "0,0,9,9"]) == 1
    assert "could not read" in capsys.readouterr().err


def test_serving_with_settings_that_contradict_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPT_ENCODER", "encoder.onnx")
    assert main(["serve", "--data-dir", str(tmp_path), "--port", "0"]) == 1
    assert "set both or neither" in capsys.readouterr().err
    monkeypatch.setenv("PROMPT_DECODER", "decoder.onnx")
    assert main(["serve", "--data-dir", str(tmp_path), "--port", "0"]) == 1
    assert "cannot load encoder.onnx" in capsys.readouterr().err


def test_a_box_that_overshoots_the_picture_is_cut_off(shown: Scene, picture: Path) -> None:
    read = decoded(picture.read_bytes(), DEFAULT_LIMITS)
    tried = try_box(GrabCut(), read, (-50, -50, 2000, 2000), None)
    assert tried.polygon
    assert tried.drawn.shape == shown.pixels.shape
