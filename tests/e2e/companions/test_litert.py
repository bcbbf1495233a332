"""From a trained network to LiteRT by the real libraries, on the command line, and run as a device runs it."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest

from converter_companion.cli import main
from converter_companion.edgetpu import COMPILER
from models.bundle import open_bundle, pack, unpack
from models.load import load
from models.runtimes.base import Choice
from networks import bundles
from tests.support.shapes_network import CATEGORIES, trained, write_pictures
from trainer_companion.cli import main as train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("scenes") / "coco", 24)


@pytest.fixture(scope="module")
def converted(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip that came out."""
    folder = tmp_path_factory.mktemp("model")
    more = {"id": "a-model", "version": "3.1", "own_key": {"kept": True}}
    bundles.write(folder / "bundle", trained(), "edge", CATEGORIES, conf_threshold=0.4, more=more)
    pack(folder / "bundle", folder / "squares.zip")
    arguments = ["convert", str(folder / "squares.zip"), "--to", "litert,onnx", "--images", str(scenes)]
    assert main([*arguments, "--out", str(folder / "out"), "--data-dir", str(folder)]) == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["squares-litert.zip", "squares-onnx.zip"]
    return folder / "out" / "squares-litert.zip"


def test_one_zip_holds_float_and_int8_weights_and_the_proof(converted: Path) -> None:
    with zipfile.ZipFile(converted) as archive:
        assert sorted(archive.namelist()) == ["model.json", "model.tflite", "model_int8.tflite", "parity.json"]
        document = json.loads(archive.read("model.json"))
        parity = json.loads(archive.read("parity.json"))
        sizes = {name: archive.getinfo(name).file_size for name in archive.namelist()}
    assert (document["format"], document["id"], document["version"]) == ("litert", "a-model", "3.1")
    assert document["own_key"] == {"kept": True}
    assert document["conf_threshold"] == 0.4
    assert [each["input"]["dtype"] for each in document["inference"]["weights"]] == ["float32", "int8"]
    assert sizes["model_int8.tflite"] < sizes["model.tflite"] / 2
    exact, integers = parity["results"]
    assert exact["largest_shift_px"] < 0.01, "float weights say what PyTorch says"
    assert exact["largest_score_drift"] < 1e-4
    assert abs(integers["result"]["map50"] - parity["source"]["map50"]) <= 0.01
    assert integers["mean_score_drift"] < 0.01, "ranges that cut off the largest values cost confidence"
    assert integers["matched_share"] > 0.9


def test_the_zip_of_a_training_is_taken_also_where_the_compiler_of_the_edge_tpu_fails(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "bin" / COMPILER
    compiler.parent.mkdir()
    compiler.write_text("#!/bin/sh\necho 'Internal compiler error. Aborting!' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{compiler.parent}:{os.environ['PATH']}")
    shown = ["--coco", str(scenes), "--out", str(tmp_path / "trained")]
    assert train(["train", *shown, "--epochs", "2", "--processes", "1", "--set", "resolution=64"]) == 0
    arguments = ["convert", str(tmp_path / "trained" / "edge-residual-320.zip"), "--to", "litert"]
    arguments += ["--images", str(scenes), "--out", str(tmp_path / "converted")]
    assert main([*arguments, "--data-dir", str(tmp_path)]) == 0
    with zipfile.ZipFile(tmp_path / "converted" / "edge-residual-320-litert.zip") as archive:
        assert sorted(archive.namelist()) == ["model.json", "model.tflite", "model_int8.tflite", "parity.json"]
        parity = json.loads(archive.read("parity.json"))
    [left_out] = parity["left_out"]
    assert left_out.endswith("did not compile model_int8.tflite: Internal compiler error. Aborting!")


@pytest.mark.parametrize("file", ["model.tflite", "model_int8.tflite"])
def test_the_device_runs_either(converted: Path, scenes: Path, tmp_path: Path, file: str) -> None:
    unpack(converted, tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    detector = load(bundle, Choice("litert", "cpu", 1, file), cache=tmp_path, floor=0.4)
    annotations = json.loads((scenes / "annotations.json").read_text())
    names = {each["id"]: each["name"] for each in annotations["categories"]}
    found = missed = 0
    try:
        for image in annotations["images"]:
            answer = detector.detect((scenes / "images" / image["file_name"]).read_bytes())
            for each in annotations["annotations"]:
                if each["image_id"] != image["id"]:
                    continue
                x, y, width, height = each["bbox"]
                hit = any(
                    box.category_name == names[each["category_id"]]
                    and abs(box.x - x) + abs(box.y - y) + abs(box.width - width) + abs(box.height - height) < 16
                    for box in answer.detections.box_detections
                )
                found, missed = found + hit, missed + (not hit)
    finally:
        detector.close()
    assert found / (found + missed) > 0.85
