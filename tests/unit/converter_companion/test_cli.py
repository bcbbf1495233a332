"""The command line: what people type, and what they are told when it cannot be done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from converter_companion import tools
from converter_companion.cli import main
from converter_companion.pairs.base import Work
from converter_companion.pairs.litert import PytorchToLiteRt
from models.bundle import Bundle, open_bundle, pack, unpack
from models.errors import NotApplicable
from trainer_companion.cli import main as train


@pytest.fixture
def model(shapes: Bundle, tmp_path: Path) -> Path:
    path = tmp_path / "squares.zip"
    pack(shapes.folder, path)
    return path


def test_from_pytorch_over_onnx_to_int8(
    model: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    common = ["--images", str(scenes), "--out", str(out), "--data-dir", str(tmp_path)]
    assert main(["convert", str(model), "--to", "onnx", *common]) == 0
    assert "mAP50" in capsys.readouterr().out
    assert main(["convert", str(out / "squares-onnx.zip"), "--to", "onnx_int8", "--json", *common]) == 0
    [result] = json.loads(capsys.readouterr().out)["onnx_int8"]["results"]
    assert result["quantized"] is True
    assert result["matched_share"] > 0.9
    unpack(out / "squares-onnx_int8.zip", tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    assert (bundle.model.format, bundle.model.version) == ("onnx", "1.0")
    assert (tmp_path / "bundle" / "parity.json").is_file()
    assert sorted(path.name for path in out.iterdir()) == ["squares-onnx.zip", "squares-onnx_int8.zip"]


def test_the_zip_of_a_training_is_taken_as_it_is(scenes: Path, tmp_path: Path) -> None:
    """As the README has it: the usual variant, and the folder that it learnt from."""
    shown = [str(scenes), "--out", str(tmp_path / "trained")]
    assert train(["train", "--coco", *shown, "--epochs", "1", "--processes", "1", "--set", "resolution=64"]) == 0
    trained = tmp_path / "trained" / "edge-residual-320.zip"
    arguments = ["convert", str(trained), "--to", "onnx", "--images", str(scenes)]
    assert main([*arguments, "--out", str(tmp_path / "converted"), "--data-dir", str(tmp_path)]) == 0
    unpack(tmp_path / "converted" / "edge-residual-320-onnx.zip", tmp_path / "bundle")
    model = open_bundle(tmp_path / "bundle").model
    assert model.format == "onnx"
    assert [category.name for category in model.categories] == ["red", "green", "blue", "yellow"]
    assert json.loads((tmp_path / "bundle" / "parity.json").read_text())["annotated"] == 24


def test_beyond_the_limits_nothing_is_written(
    model: Path,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PARITY_MEAN_SHIFT", "0.0000001")
    arguments = ["convert", str(model), "--to", "onnx", "--images", str(scenes), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--data-dir", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "matched share" in said, "the numbers"
    assert "at most 1e-08 is allowed" in said
    assert list((tmp_path / "out").iterdir()) == []


def test_without_the_tools_the_way_to_them_is_told(
    model: Path,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("LITERT_TOOLS_PYTHON", raising=False)
    monkeypatch.setattr(tools, "NEEDED", ("litert_nowhere",))
    arguments = ["convert", str(model), "--to", "litert", "--images", str(scenes), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--data-dir", str(tmp_path)]) == 1
    assert "converter-companion install-tools" in capsys.readouterr().err


def test_of_several_formats_those_that_can_be_made_are(
    model: Path,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("LITERT_TOOLS_PYTHON", raising=False)
    monkeypatch.setattr(tools, "NEEDED", ("litert_nowhere",))
    arguments = ["convert", str(model), "--to", "litert,onnx", "--images", str(scenes), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--data-dir", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "To litert: What turns networks into LiteRT is not installed" in told.err
    assert "Error: Not converted to litert; see above." in told.err
    assert "Wrote" in told.out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["squares-onnx.zip"]


def test_a_transformer_is_refused_for_litert_with_the_way_out(
    shapes: Bundle, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(shapes.folder, tmp_path / "model")
    document = json.loads((tmp_path / "model" / "model.json").read_text())
    document["inference"]["head"] = "detr"
    (tmp_path / "model" / "model.json").write_text(json.dumps(document))
    arguments = ["convert", str(tmp_path / "model"), "--to", "litert", "--images", str(scenes)]
    assert main([*arguments, "--out", str(tmp_path / "out"), "--data-dir", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "Transformer detectors" in said
    assert "Devices run them as onnx." in said
    work = Work(open_bundle(tmp_path / "model"), tmp_path, [], tmp_path, lambda _share, _doing: None)
    with pytest.raises(NotApplicable, match="Devices run them as onnx"):  # which the node does not call a failure
        PytorchToLiteRt().convert(work)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["--to", "litert"], "no picture to calibrate", id="no pictures"),
        pytest.param(
            ["--to", "tensorrt"], "Nothing converts appliance_pytorch to tensorrt; there is", id="no such pair"
        ),
        pytest.param(["--to", "onnx", "--images", "{empty}"], "no pictures in", id="an empty folder"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    arguments: list[str], sentence: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    filled = [argument.format(empty=empty) for argument in arguments]
    assert main(["convert", str(model), *filled, "--out", str(tmp_path / "out"), "--data-dir", str(tmp_path)]) == 1
    assert sentence in capsys.readouterr().err


def test_a_model_without_its_weights_is_refused(
    shapes: Bundle, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(shapes.folder, tmp_path / "model")
    (tmp_path / "model" / "network.pt").unlink()
    arguments = ["convert", str(tmp_path / "model"), "--to", "onnx", "--images", str(scenes)]
    assert main([*arguments, "--out", str(tmp_path / "out"), "--data-dir", str(tmp_path)]) == 1
    assert "'network.pt' that model.json names is not in the bundle" in capsys.readouterr().err
