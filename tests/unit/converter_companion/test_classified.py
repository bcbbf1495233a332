"""Models that classify whole pictures: compared by their surest class, how sure they are, and how often they are right."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from converter_companion import pictures, truth, verify, view
from converter_companion.classified import Classes, Drift, accuracy
from converter_companion.project_pictures import drawn
from converter_companion.report import Comparison, Limits, ParityExceeded, ParityReport, Side, judge, table
from converter_companion.truth import Boxes
from models.bundle import Bundle, open_bundle
from models.errors import ModelFailed
from models.wire.project_data import ImageData
from tests.support.tiny_onnx import write_onnx

NAMES = ("dark", "light")
SIZE = 16


def brightness(
    folder: Path, *, names: Sequence[str] = NAMES, head: str = "classification", scale: float = 1 / 255
) -> Bundle:
    """A model that tells dark pictures from light ones: with a mean of 0..1, the logits are 4 - 8 mean and 0."""
    folder.mkdir()
    outputs = {"dark": np.array([[4.0]], np.float32), "light": np.array([[0.0]], np.float32)}
    write_onnx(folder / "parts.onnx", (1, 3, SIZE, SIZE), outputs, brightness={"dark": -8.0})
    _joined(folder / "parts.onnx", folder / "model.onnx")
    spec = {"width": SIZE, "height": SIZE, "layout": "NCHW", "dtype": "float32", "scale": scale}
    document = {
        "format": "onnx",
        "categories": [{"id": name, "name": name, "type": "classification"} for name in names],
        "inference": {
            "version": 1,
            "head": head,
            "weights": [{"runtime": "onnx", "file": "model.onnx", "input": spec, "outputs": {"scores": 0}}],
            "head_options": {"activation": "softmax"} if head == "classification" else {},
        },
    }
    (folder / "model.json").write_text(json.dumps(document))
    return open_bundle(folder)


def _joined(source: Path, target: Path) -> None:
    """Its outputs side by side, as one."""
    import onnx
    from onnx import TensorProto, helper

    model: Any = onnx.load(str(source))
    parts = [output.name for output in model.graph.output]
    model.graph.node.append(helper.make_node("Concat", parts, ["scores"], axis=1))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, len(parts))))
    onnx.save(model, str(target))
    source.unlink()


@pytest.fixture(scope="module")
def shades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO folder with 24 grey pictures; one of those that are rather dark is called light. None has a box."""
    folder = tmp_path_factory.mktemp("shades")
    (folder / "images").mkdir()
    images, annotations = [], []
    for number in range(24):
        grey = 5 + 10 * number
        name = f"grey_{number:02}.png"
        cv2.imwrite(str(folder / "images" / name), np.full((SIZE, SIZE, 3), grey, np.uint8))
        images.append({"id": number, "file_name": name})
        light = grey > 127 or number == 11
        annotations.append({"id": number, "image_id": number, "category_id": int(light)})
    categories = [{"id": number, "name": name, "type": "classification"} for number, name in enumerate(NAMES)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def compare(source: Bundle, result: Bundle, shades: Path, tmp_path: Path) -> ParityReport:
    return verify.compare(source, result, pictures.find(shades), cache=tmp_path, truth=truth.read(shades))


def test_what_says_the_same_passes_with_numbers(shades: Path, tmp_path: Path) -> None:
    source, result = brightness(tmp_path / "source"), brightness(tmp_path / "result")
    report = compare(source, result, shades, tmp_path)
    report.refuse_if_exceeded()
    [same] = report.results
    assert report.source.classified == report.annotated == 24
    assert report.source.accuracy == pytest.approx(23 / 24), "one picture is called what it is not"
    assert same.same_best == 1.0
    assert same.mean_score_drift == pytest.approx(0.0)
    assert (same.matched_share, same.mean_shift_px, report.source.map50) == (None, None, None)
    shown = table(report)
    assert "same surest class" in shown
    assert "accuracy" in shown
    assert "box shift" not in shown
    assert view.rows(report)[1][:4] == ("model.onnx", "100.0%", "0.0000", "0.958")
    assert len(view.columns(report)) == len(view.rows(report)[0])


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        pytest.param({"names": NAMES[::-1]}, "the surest class is the same in 0% of the pictures", id="other names"),
        pytest.param({"scale": 1.0}, "the surest class is the same in 4[0-9]%", id="wrong scale"),
    ],
)
def test_a_wrong_conversion_is_caught(mistake: dict[str, Any], sentence: str, shades: Path, tmp_path: Path) -> None:
    source, wrong = brightness(tmp_path / "source"), brightness(tmp_path / "wrong", **mistake)
    with pytest.raises(ParityExceeded, match=sentence) as raised:
        compare(source, wrong, shades, tmp_path).refuse_if_exceeded()
    assert "accuracy is lower by" in str(raised.value)
    assert "confidences differ by" in str(raised.value)


def test_a_detector_is_no_classification(shapes: Bundle, scenes: Path, tmp_path: Path) -> None:
    source = brightness(tmp_path / "source")
    with pytest.raises(ModelFailed, match="another kind of model"):
        verify.compare(shapes, source, pictures.find(scenes), cache=tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "same", "drift"),
    [
        pytest.param({"a": 0.9, "b": 0.1}, {"a": 0.7, "b": 0.3}, 1, [0.2], id="less sure"),
        pytest.param({"a": 0.6, "b": 0.4}, {"a": 0.4, "b": 0.6}, 0, [0.2], id="another class"),
        pytest.param({"a": 0.6, "b": 0.4}, {}, 0, [0.6], id="nothing seen any more"),
    ],
)
def test_one_picture(before: Classes, after: Classes, same: int, drift: list[float]) -> None:
    collected = Drift()
    collected.add(before, after)
    assert (collected.pictures, collected.same_best) == (1, same)
    assert collected.scores == pytest.approx(drift)


def test_a_picture_in_which_the_source_sees_nothing_says_nothing() -> None:
    collected = Drift()
    collected.add({}, {"a": 1.0})
    assert (collected.pictures, collected.scores) == (0, [])


def said(*names: str) -> Boxes:
    return Boxes(np.zeros((len(names), 4), np.float32), names, np.ones(len(names), np.float32))


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        pytest.param({}, math.nan, id="none annotated"),
        pytest.param({"one": said("a"), "two": said("b")}, 0.5, id="one of two is right"),
        pytest.param({"one": said("a"), "two": said()}, 1.0, id="nothing said of the other"),
        pytest.param({"one": said("b", "a"), "two": said("a")}, 1.0, id="one of several names"),
    ],
)
def test_accuracy(people: Mapping[str, Boxes], expected: float) -> None:
    seen = {"one": {"a": 0.8, "b": 0.2}, "two": {"a": 0.6}}
    assert accuracy(people, seen) == pytest.approx(expected, nan_ok=True)


SOURCE = Side(file="network.pt", runtime="torch/cpu/1", size_bytes=1, latency_ms=1, detections=50, classified=50)
GOOD: dict[str, Any] = {
    "file": "model_int8.tflite",
    "quantized": True,
    "result": SOURCE,
    "same_best": 1.0,
    "mean_score_drift": 0.01,
}


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        pytest.param({}, True, id="all within"),
        pytest.param({"same_best": 0.92}, True, id="some are another class"),
        pytest.param({"same_best": 0.88}, False, id="many are another class"),
        pytest.param({"same_best": 0.96, "quantized": False}, False, id="floats have to be exact"),
        pytest.param({"same_best": 0.98, "quantized": False, "mean_score_drift": 0.001}, True, id="one is chance"),
    ],
)
def test_limits(change: dict[str, Any], allowed: bool) -> None:
    found = judge(Comparison(**{**GOOD, **change}), SOURCE, Limits())
    assert (not any("surest class" in each for each in found)) is allowed, found


def test_what_people_say_of_a_whole_picture_is_known_from_the_loop_and_of_other_categories_left_out() -> None:
    image = ImageData.model_validate(
        {
            "id": "1",
            "set": "train",
            "classification_annotation": {"category_name": "light"},
            "box_annotations": [{"category_name": "lamp", "x": 1, "y": 2, "width": 3, "height": 4}],
        }
    )
    found = drawn(image, [])
    assert list(found.names) == ["lamp", "light"]
    kept = truth.known({"a.png": found}, NAMES)["a.png"]
    assert (list(kept.names), kept.corners.shape, kept.scores.shape) == (["light"], (1, 4), (1,))
    assert truth.known({"a.png": found}, ["bolt"]) == {}, "annotations of another project say nothing"
