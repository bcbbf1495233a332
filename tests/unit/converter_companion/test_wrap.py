"""Detectors from elsewhere become bundles, or a sentence says what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
import skimage.data

from converter_companion.cli import main
from converter_companion.wrap import read_labels
from models.bundle import open_bundle, unpack
from models.errors import InvalidInput

ZOO = Path(__file__).parents[3] / "models" / "zoo" / "everyday_objects"
SEED = "mobilenet_ssd_v2_coco_quant_postprocess"


@pytest.fixture(scope="module")
def cat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "cat.jpg"
    cv2.imwrite(str(path), cv2.cvtColor(skimage.data.chelsea(), cv2.COLOR_RGB2BGR))  # type: ignore[no-untyped-call]
    return path


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seed model's labels as Coral's files have them: numbers with gaps."""
    document = json.loads((ZOO / "model.json").read_bytes())
    names = (category["name"] for category in document["categories"])
    lines = [f"{number}  {name}" for number, name in zip(document["inference"]["class_indices"], names, strict=True)]
    path = tmp_path_factory.mktemp("labels") / "coco.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_a_foreign_ssd_is_recognised_and_sees_the_cat(
    suffix: str, cat: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "wrapped.zip"
    arguments = ["wrap", str(ZOO / f"{SEED}{suffix}"), "--labels", str(labels), "--picture", str(cat)]
    assert main([*arguments, "--out", str(target)]) == 0
    said = capsys.readouterr().out
    assert "Head ssd_postprocessed" in said
    sight = said.split("it sees:\n")[1].splitlines()[0]
    assert " cat " in sight, sight
    assert float(sight.split()[0]) > 0.7
    unpack(target, tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    assert bundle.model.format == {".tflite": "litert", ".onnx": "onnx"}[suffix]
    assert bundle.model.inference is not None
    assert bundle.model.categories_by_class()[16].name == "cat", "the seed's labels have gaps"


def test_the_wrong_head_is_refused(labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(ZOO / f"{SEED}.tflite")
    target = tmp_path / "wrapped.zip"
    assert main(["wrap", model, "--labels", str(labels), "--head", "yolo", "--out", str(target)]) == 1
    assert "which one is 'predictions'" in capsys.readouterr().err
    assert main(["wrap", model, "--labels", str(labels), "--head", "yolov99", "--out", str(target)]) == 1
    assert "no 'yolov99'" in capsys.readouterr().err
    assert not target.exists()


def test_what_is_no_model_is_refused(labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no weights")
    assert main(["wrap", str(broken), "--labels", str(labels)]) == 1
    assert "cannot load model.tflite" in capsys.readouterr().err
    other = tmp_path / "model.pt"
    other.write_bytes(b"")
    assert main(["wrap", str(other), "--labels", str(labels)]) == 1
    assert "a .tflite or an .onnx is due" in capsys.readouterr().err
    assert main(["wrap", str(broken), "--labels", str(labels), "--output", "boxes"]) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("bolt\nnut\n", {0: "bolt", 1: "nut"}, id="one name a line"),
        pytest.param("???\nbolt\n\nnut", {1: "bolt", 3: "nut"}, id="classes that are left out"),
        pytest.param("0  person\n15 traffic light\n", {0: "person", 15: "traffic light"}, id="numbered, with gaps"),
        pytest.param("1: bolt\n0: nut", {0: "nut", 1: "bolt"}, id="numbered in another order"),
        pytest.param("4 doors\nroof", {0: "4 doors", 1: "roof"}, id="a name that begins with a number"),
    ],
)
def test_labels(text: str, expected: dict[int, str]) -> None:
    assert read_labels(text) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "names no class"), ("???\n", "names no class"), ("a\na", "'a' twice"), ("1 a\n1 b", "one number to two")],
)
def test_labels_that_cannot_be(text: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        read_labels(text)
