"""Weights that come without a description: recognised where that is possible for sure, refused with a sentence else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.bundle import Bundle, open_bundle
from models.errors import BundleError, ModelFailed
from models.images import encode_jpeg
from models.load import inference_of, load
from models.runtimes.base import TensorSpec
from models.undescribed import carried, input_of
from models.zoo import seed_folder
from tests.support.scripted_bundles import categories
from tests.support.tiny_onnx import write_onnx, yolo_rows, yolo_v8

SIZE = 96
PICTURE: NDArray[np.uint8] = np.full((SIZE, 2 * SIZE, 3), 100, np.uint8)
"""Twice as wide as high: a letterbox leaves a quarter free above and below."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bundle").mkdir()
    return tmp_path / "bundle"


def bundle_of(folder: Path, *names: str) -> Bundle:
    """A folder as upstream's trainer leaves it: weights, and a model.json without our key."""
    (folder / "model.json").write_text(json.dumps({"version": "7.1", "categories": categories(*names)}))
    return open_bundle(folder)


def test_a_yolo_is_recognised_and_detects(folder: Path, tmp_path: Path) -> None:
    write_onnx(
        folder / "best.onnx", (1, 3, SIZE, SIZE), {"output0": yolo_v8(SIZE, 2, (24.0, 48.0, 24.0, 24.0, 1, 0.8))}
    )
    bundle = bundle_of(folder, "screw", "nut")
    inference = inference_of(bundle, tmp_path)
    assert (inference.head, inference.head_options) == ("yolo", {"layout": "v8"})
    [weights] = inference.weights
    assert (weights.runtime, weights.accelerator, weights.outputs) == ("onnx", "any", {"predictions": 0})
    assert weights.input.model_dump() == {
        "width": SIZE,
        "height": SIZE,
        "layout": "NCHW",
        "channels": "RGB",
        "dtype": "float32",
        "scale": 1 / 255,
        "offset": 0.0,
        "resize": "letterbox",
    }
    [box] = load(bundle, cache=tmp_path, floor=0.5).detect(encode_jpeg(PICTURE)).detections.box_detections
    assert (box.category_name, box.model_name) == ("nut", "7.1")
    assert (box.x, box.y, box.width, box.height) == (24, 24, 48, 48)


def test_a_yolox_reads_pictures_as_opencv_does(folder: Path, tmp_path: Path) -> None:
    output = np.zeros((1, yolo_rows(SIZE), 5 + 2), np.float32)
    write_onnx(folder / "best.onnx", ("batch", 3, SIZE, SIZE), {"output": output})
    [weights] = inference_of(bundle_of(folder, "screw", "nut"), tmp_path).weights
    assert (weights.input.channels, weights.input.scale, weights.input.resize) == ("BGR", 1.0, "letterbox")


def test_a_classifier_is_recognised_and_classifies(folder: Path, tmp_path: Path) -> None:
    write_onnx(
        folder / "model.onnx",
        (1, 32, 32, 3),
        {"probabilities": np.array([[0.2, 0.5, 0.1]], np.float32)},
        dtype="uint8",
        brightness={"probabilities": 1 / 1000},
    )
    bundle = bundle_of(folder, "cat", "dog", "cow")
    inference = inference_of(bundle, tmp_path)
    assert (inference.head, inference.weights[0].input.resize) == ("classification", "stretch")
    found = load(bundle, cache=tmp_path).detect(PICTURE).detections.classification_detections
    # 0.1 for a mean of 100: the pixels of a uint8 model come as they are
    assert [(each.category_name, each.confidence) for each in found] == [("dog", 0.6), ("cat", 0.3), ("cow", 0.2)]


def test_floats_are_taken_as_0_to_1(folder: Path, tmp_path: Path) -> None:
    write_onnx(
        folder / "model.onnx",
        (1, 3, 32, 32),
        {"probabilities": np.zeros((1, 2), np.float32)},
        brightness={"probabilities": 1.0},
    )
    found = load(bundle_of(folder, "bright", "light"), cache=tmp_path).detect(PICTURE).detections
    assert found.classification_detections[0].confidence == pytest.approx(100 / 255, abs=1e-4)


def test_the_seed_model_s_litert_weights_need_no_description(folder: Path, tmp_path: Path) -> None:
    source = seed_folder() / "mobilenet_ssd_v2_coco_quant_postprocess.tflite"
    (folder / "model.tflite").write_bytes(source.read_bytes())
    inference = inference_of(bundle_of(folder, *(f"thing {number}" for number in range(90))), tmp_path)
    assert inference.head == "ssd_postprocessed"
    [weights] = inference.weights
    assert weights.outputs == {"boxes": 0, "classes": 1, "scores": 2, "count": 3}
    assert (weights.input.width, weights.input.dtype, weights.input.layout) == (300, "uint8", "NHWC")


def test_what_is_described_is_not_looked_at(tmp_path: Path) -> None:
    bundle = open_bundle(seed_folder())
    assert inference_of(bundle, tmp_path) is bundle.model.inference


@pytest.mark.parametrize(
    ("shape", "dtype", "outputs", "names"),
    [
        pytest.param((1, 3, SIZE, SIZE), "float32", {"a": (1, 7, 9)}, ["screw", "nut"], id="no head that is known"),
        pytest.param((1, 3, SIZE, SIZE), "float32", {"output0": (1, 6, yolo_rows(SIZE))}, ["screw"], id="categories"),
        pytest.param((1, 3, "height", "width"), "float32", {"scores": (1, 2)}, ["a", "b"], id="no fixed size"),
        pytest.param((1, SIZE), "float32", {"scores": (1, 2)}, ["a", "b"], id="no picture"),
    ],
)
def test_what_cannot_be_told_for_sure_is_refused_with_what_is_missing(
    folder: Path, tmp_path: Path, shape: tuple[int | str, ...], dtype: str, outputs: dict[str, Any], names: list[str]
) -> None:
    write_onnx(
        folder / "model.onnx",
        shape,
        {name: np.zeros(output, np.float32) for name, output in outputs.items()},
        dtype=dtype,
    )
    with pytest.raises(BundleError) as refused:
        inference_of(bundle_of(folder, *names), tmp_path)
    text = str(refused.value)
    assert text.startswith("model.onnx has the input [1, ")
    assert ", ".join(str(list(output)) for output in outputs.values()) in text
    assert f"with {len(names)} categories" in text
    assert text.endswith('say it in model.json under "inference" (head, weights, input)')


def test_a_file_that_is_no_model_is_an_error_of_the_model(folder: Path, tmp_path: Path) -> None:
    (folder / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelFailed, match="cannot load model"):
        inference_of(bundle_of(folder, "screw"), tmp_path)


def test_a_name_that_cannot_be_written_into_model_json(folder: Path, tmp_path: Path) -> None:
    write_onnx(folder / "best model.onnx", (1, 3, 32, 32), {"scores": np.zeros((1, 2), np.float32)})
    with pytest.raises(BundleError, match=re.escape("called 'best model.onnx'; its name may have letters, digits")):
        inference_of(bundle_of(folder, "a", "b"), tmp_path)


@pytest.mark.parametrize(
    ("shape", "dtype", "layout"),
    [
        ((1, 240, 320, 3), "uint8", "NHWC"),
        ((-1, 3, 240, 320), "float16", "NCHW"),
        ((1, 240, 320, 3), "int8", "NHWC"),
        ((1, 240, 320, 3), "int32", None),
        ((1, 240, 320, 4), "uint8", None),
        ((1, -1, -1, 3), "uint8", None),
        ((240, 320, 3), "uint8", None),
        ((1, 1, 240, 320), "float32", None),
    ],
)
def test_what_an_input_tensor_says(shape: tuple[int, ...], dtype: str, layout: str | None) -> None:
    found = input_of(TensorSpec("images", shape, dtype))
    if layout is None:
        assert found is None
    else:
        assert found is not None
        assert (found.width, found.height, found.layout, found.dtype) == (320, 240, layout, dtype)


def test_what_a_bundle_is_for_can_be_told_without_loading_it(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"not a model, but nobody looks")
    assert carried(bundle_of(folder, "screw")) == [("onnx", "any")]
    assert carried(open_bundle(seed_folder())) == [("litert", "edgetpu"), ("litert", "cpu"), ("onnx", "any")]
