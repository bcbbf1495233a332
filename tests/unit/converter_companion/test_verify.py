"""The parity gate: what is right passes, and each way in which a conversion can silently be wrong is caught."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converter_companion import convert, pictures, truth, verify
from converter_companion.report import Comparison, Limits, ParityExceeded, ParityReport, Side, judge, table
from models.bundle import Bundle, open_bundle
from models.errors import InvalidInput, ModelFailed

Change = Callable[[dict[str, Any]], None]


def quiet(_share: float, _doing: str) -> None:
    """Progress that nobody looks at."""


@pytest.fixture(scope="module")
def onnx(shapes: Bundle, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("onnx")
    means = convert.Means(folder)
    made = convert.convert(shapes, "onnx", folder / "bundle", pictures.find(scenes), quiet, means=means)
    return made.bundle


def compare(source: Bundle, result: Bundle, scenes: Path, tmp_path: Path, **more: Any) -> ParityReport:
    return verify.compare(source, result, pictures.find(scenes), cache=tmp_path, truth=truth.read(scenes), **more)


def changed(bundle: Bundle, folder: Path, change: Change) -> Bundle:
    """A copy of a bundle, of which all weights are described differently."""

    def change_all(inference: dict[str, Any]) -> None:
        for each in inference["weights"]:
            change(each)

    return described_as(bundle, folder, change_all)


def described_as(bundle: Bundle, folder: Path, change: Change) -> Bundle:
    """A copy of a bundle, with another block `inference`."""
    shutil.copytree(bundle.folder, folder)
    document = json.loads((folder / "model.json").read_text())
    change(document["inference"])
    (folder / "model.json").write_text(json.dumps(document))
    return open_bundle(folder)


def test_what_was_converted_well_passes_with_numbers(
    shapes: Bundle, onnx: Bundle, scenes: Path, tmp_path: Path
) -> None:
    report = compare(shapes, onnx, scenes, tmp_path)
    report.refuse_if_exceeded()
    [single, half] = report.results
    assert report.pictures == report.annotated == 24
    assert report.source.detections > 30, "the network has learnt nothing; nothing would be proven"
    assert single.result is not None
    assert half.result is not None
    assert report.source.map50 == pytest.approx(single.result.map50, abs=1e-3)
    assert report.source.map50 is not None and report.source.map50 > 0.8
    assert single.matched_share == 1.0
    assert single.largest_shift_px is not None and single.largest_shift_px < 0.05
    assert set(single.output_errors) == {"distances", "scores"}
    assert (single.half, half.half) == (False, True)
    assert half.result.size_bytes < 0.7 * single.result.size_bytes
    assert "matched share" in table(report)


def swapped_outputs(weights: dict[str, Any]) -> None:
    """With four classes both outputs have the same shape."""
    weights["outputs"] = {"distances": weights["outputs"]["scores"], "scores": weights["outputs"]["distances"]}


def wrong_scale(weights: dict[str, Any]) -> None:
    weights["input"]["scale"] = 2 / 255


def unscaled(weights: dict[str, Any]) -> None:
    weights["input"]["scale"] = 1.0


def blue_for_red(weights: dict[str, Any]) -> None:
    weights["input"]["channels"] = "BGR"


def in_integers(weights: dict[str, Any]) -> None:
    """The wider limits hold, as of weights that were quantized."""
    weights["quantized"] = True


def in_floats(weights: dict[str, Any]) -> None:
    """As they are."""


PRECISIONS = pytest.mark.parametrize("precision", [in_floats, in_integers])


@PRECISIONS
@pytest.mark.parametrize("mistake", [wrong_scale, unscaled, blue_for_red])
def test_a_wrong_conversion_is_caught(
    mistake: Change, precision: Change, shapes: Bundle, onnx: Bundle, scenes: Path, tmp_path: Path
) -> None:
    def change(weights: dict[str, Any]) -> None:
        mistake(weights)
        precision(weights)

    wrong = changed(onnx, tmp_path / "wrong", change)
    report = compare(shapes, wrong, scenes, tmp_path)
    with pytest.raises(ParityExceeded, match="does not see what its source sees") as raised:
        report.refuse_if_exceeded()
    assert raised.value.report is report
    assert all(each.exceeded for each in report.results), "each of the two weight files is wrong"
    assert {each.quantized for each in report.results} == {precision is in_integers}
    # The detections alone tell it, too: raw outputs cannot always be compared.
    for each in report.results:
        assert judge(each.model_copy(update={"output_errors": {}}), report.source, Limits())


@PRECISIONS
def test_swapped_outputs_are_caught(
    precision: Change, shapes: Bundle, onnx: Bundle, scenes: Path, tmp_path: Path
) -> None:
    """By the head, which knows what scores are; and where they could be scores all the same, by what is seen."""

    def swap(weights: dict[str, Any]) -> None:
        swapped_outputs(weights)
        precision(weights)

    with pytest.raises(ModelFailed, match="do not run: Output 'scores' has scores from"):
        compare(shapes, changed(onnx, tmp_path / "wrong", swap), scenes, tmp_path)

    def as_logits(inference: dict[str, Any]) -> None:
        for weights in inference["weights"]:
            swap(weights)
        inference["head_options"]["activation"] = "sigmoid"

    report = compare(shapes, described_as(onnx, tmp_path / "logits", as_logits), scenes, tmp_path)
    for each in report.results:
        assert each.quantized == (precision is in_integers)
        assert {"distances", "scores"} == {name for name in each.output_errors if name in " ".join(each.exceeded)}
        assert judge(each.model_copy(update={"output_errors": {}}), report.source, Limits())
    with pytest.raises(ParityExceeded):
        report.refuse_if_exceeded()


def test_a_raw_output_that_is_no_number_in_one_picture_is_beyond_every_limit(
    shapes: Bundle, onnx: Bundle, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head may not look at all values; what it decodes is right here."""
    look_at, looks = verify._look_at, 0

    def overflow_once(*arguments: Any) -> verify.Look:
        nonlocal looks
        looks += 1
        look = look_at(*arguments)
        if looks != 30:  # in the second of the three sets of weights, which is the first of the result
            return look
        broken = look.outputs["scores"].copy()
        broken[0, 0, 0] = float("inf")
        return replace(look, outputs={**look.outputs, "scores": broken})

    monkeypatch.setattr(verify, "_look_at", overflow_once)
    report = compare(shapes, onnx, scenes, tmp_path)
    assert report.exceeded == ["model.onnx: the raw output scores has values that are infinite or no numbers"]


def test_categories_in_another_order_are_caught(shapes: Bundle, onnx: Bundle, scenes: Path, tmp_path: Path) -> None:
    """Boxes and raw outputs are the same; only the names are not."""

    def red_is_green(inference: dict[str, Any]) -> None:
        inference["class_indices"] = [1, 0, 2, 3]

    report = verify.compare(
        shapes, described_as(onnx, tmp_path / "wrong", red_is_green), pictures.find(scenes), cache=tmp_path
    )
    with pytest.raises(ParityExceeded, match="of the detections match"):
        report.refuse_if_exceeded()


def test_it_is_caught_without_annotations_and_with_quantized_limits(
    shapes: Bundle, onnx: Bundle, scenes: Path, tmp_path: Path
) -> None:
    def both(weights: dict[str, Any]) -> None:
        blue_for_red(weights)
        weights["quantized"] = True

    wrong = changed(onnx, tmp_path / "wrong", both)
    report = verify.compare(shapes, wrong, pictures.find(scenes), cache=tmp_path)
    assert report.source.map50 is None
    assert all(each.quantized and each.exceeded for each in report.results)


def test_a_network_that_sees_nothing_is_compared_by_its_raw_outputs(
    onnx: Bundle, shapes: Bundle, scenes: Path, tmp_path: Path
) -> None:
    blind = Bundle(shapes.folder, shapes.model.model_copy(update={"conf_threshold": 1.0}))
    report = verify.compare(blind, onnx, pictures.find(scenes), cache=tmp_path)
    assert report.source.detections == 0
    report.refuse_if_exceeded()
    wrong = changed(onnx, tmp_path / "wrong", blue_for_red)
    with pytest.raises(ParityExceeded, match="raw output"):
        verify.compare(blind, wrong, pictures.find(scenes), cache=tmp_path).refuse_if_exceeded()


def test_pictures_that_cannot_be_read_are_left_out_and_counted(
    shapes: Bundle, onnx: Bundle, scenes: Path, tmp_path: Path
) -> None:
    good = pictures.find(scenes)[:2]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    report = verify.compare(shapes, onnx, [*good, broken], cache=tmp_path)
    assert (report.pictures, report.unreadable) == (2, 1)
    with pytest.raises(InvalidInput, match="no picture to compare"):
        verify.compare(shapes, onnx, [broken], cache=tmp_path)


def test_weights_that_cannot_run_here_are_named(shapes: Bundle, onnx: Bundle, scenes: Path, tmp_path: Path) -> None:
    def for_a_coral(weights: dict[str, Any]) -> None:
        if weights["file"] == "model_float16.onnx":
            weights |= {"runtime": "litert", "accelerator": "edgetpu"}

    mixed = changed(onnx, tmp_path / "mixed", for_a_coral)
    report = compare(shapes, mixed, scenes, tmp_path)
    report.refuse_if_exceeded()
    assert report.results[1].not_run
    assert "not compared" in table(report)
    alone = report.model_copy(update={"results": report.results[1:]})
    with pytest.raises(ParityExceeded, match="nobody knows whether they are right"):
        alone.refuse_if_exceeded()


def test_weights_that_do_not_run_at_all_are_a_failure(
    shapes: Bundle, onnx: Bundle, scenes: Path, tmp_path: Path
) -> None:
    broken = changed(onnx, tmp_path / "broken", lambda _weights: None)
    (broken.folder / "model.onnx").write_bytes(b"no weights")
    with pytest.raises(ModelFailed, match=r"model.onnx do not run"):
        compare(shapes, broken, scenes, tmp_path)


SOURCE = Side(file="network.pt", runtime="torch/cpu/1", size_bytes=1, latency_ms=1, detections=50, map50=0.9)
GOOD: dict[str, Any] = {
    "file": "model_int8.tflite",
    "quantized": True,
    "result": SOURCE,
    "matched_share": 1.0,
    "mean_shift_input": 0.4,
    "largest_shift_input": 4.0,
    "mean_score_drift": 0.01,
    "output_errors": {"scores": 0.01},
}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({}, None, id="all within"),
        pytest.param({"matched_share": 0.95}, None, id="some do not match"),
        pytest.param({"matched_share": 0.85}, "85% of the detections match, at least 90%", id="many do not match"),
        pytest.param(
            {"mean_shift_input": 3.0}, "shifted by 3 pixels of the input on average, at most 2", id="mean shift"
        ),
        pytest.param({"largest_shift_input": 30.0}, "a box is shifted by 30 pixels", id="largest shift"),
        pytest.param({"mean_score_drift": 0.2}, "confidences differ by 0.2", id="score drift"),
        pytest.param({"result": SOURCE.model_copy(update={"map50": 0.85})}, "mAP50 is lower by 0.05", id="mAP"),
        pytest.param({"result": SOURCE.model_copy(update={"map50": 0.95})}, None, id="better mAP"),
        pytest.param({"output_errors": {"scores": 0.5}}, "raw output scores differs by 0.5", id="raw output"),
        pytest.param({"mean_shift_input": float("nan")}, "shifted by nan", id="not a number"),
        pytest.param({"quantized": False}, "shifted by 0.4 pixels", id="floats have to be exact"),
        pytest.param({"quantized": False, "half": True}, None, id="half precision has to be half as exact"),
        pytest.param(
            {"quantized": False, "half": True, "mean_shift_input": 1.2}, "at most 1 is allowed", id="but no less"
        ),
        pytest.param(
            {"matched_share": None, "output_errors": {}}, "neither of the two sees anything", id="nothing seen"
        ),
    ],
)
def test_limits(change: dict[str, Any], sentence: str | None) -> None:
    found = judge(Comparison(**{**GOOD, **change}), SOURCE, Limits())
    if sentence is None:
        assert found == []
    else:
        assert any(sentence in each for each in found), found


def test_one_detection_more_is_chance_where_there_are_few() -> None:
    few = SOURCE.model_copy(update={"detections": 2})
    assert judge(Comparison(**{**GOOD, "result": few, "matched_share": 0.5}), few, Limits()) == []
