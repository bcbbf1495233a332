"""The Edge TPU's compiler, played by a script that takes the options that Google documents."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from converter_companion import convert, pairs, pictures
from converter_companion.edgetpu import COMPILER, compile_into, weights_beside
from converter_companion.pairs.base import Work
from converter_companion.pairs.onnx import PytorchToOnnx
from converter_companion.report import table
from models.bundle import Bundle, sha256_of
from models.bundle_format import InputSpec, WeightsSpec
from models.errors import ModelFailed

COMPILES = 'out=$3; name=$(basename "$4" .tflite); { cat "$4"; echo compiled; } > "$out/${name}_edgetpu.tflite"'


@pytest.fixture
def weights(tmp_path: Path) -> WeightsSpec:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "model_int8.tflite").write_bytes(b"int8\n")
    spec = InputSpec(width=64, height=64, dtype="int8")
    return WeightsSpec(
        runtime="litert", accelerator="cpu", file="model_int8.tflite", input=spec, outputs={"distances": 1, "scores": 0}
    )


def compiler(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a compiler in the PATH."""
    path = folder / "bin" / COMPILER
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")


def test_without_a_compiler_there_are_no_such_weights(
    weights: WeightsSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compile_into(tmp_path / "bundle", weights, threading.Event()) is None


def test_compiled_weights_stand_beside_those_of_the_processor(
    weights: WeightsSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path, f'[ "$1 $2" = "-s -o" ] || exit 2; {COMPILES}', monkeypatch)
    made = compile_into(tmp_path / "bundle", weights, threading.Event())
    assert made is not None
    assert (made.accelerator, made.file, made.outputs) == ("edgetpu", "model_int8_edgetpu.tflite", weights.outputs)
    path = tmp_path / "bundle" / made.file
    assert path.read_bytes() == b"int8\ncompiled\n"
    assert made.sha256 == sha256_of(path)


@pytest.mark.parametrize("script", ["echo 'Internal compiler error' >&2; exit 1", "echo 'Internal compiler error'"])
def test_a_compiler_that_fails_is_told(
    script: str, weights: WeightsSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path, script, monkeypatch)
    with pytest.raises(ModelFailed, match=r"did not compile model_int8.tflite: Internal compiler error"):
        compile_into(tmp_path / "bundle", weights, threading.Event())


class OnnxForACoral(PytorchToOnnx):
    """Quick to make, and compiled all the same."""

    target = "onnx_for_a_coral"

    def convert(self, work: Work) -> None:
        """Floats, and weights that the compiler makes of a file of integers."""
        super().convert(work)
        integers = work.out / "model_int8.tflite"
        integers.write_bytes(b"int8")
        spec = InputSpec(width=64, height=64, dtype="int8")
        weights = WeightsSpec(runtime="litert", accelerator="cpu", file=integers.name, input=spec, outputs={})
        made = weights_beside(work, weights)
        assert made == []
        integers.unlink()


def test_where_the_compiler_fails_the_other_weights_go_on_with_its_words(
    shapes: Bundle, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pairs.BUILT_IN, "appliance_pytorch-to-onnx_for_a_coral", f"{__name__}:OnnxForACoral")
    compiler(tmp_path, "echo 'Internal compiler error. Aborting!' >&2; exit 1", monkeypatch)
    done = convert.convert(
        shapes,
        "onnx_for_a_coral",
        tmp_path / "made",
        pictures.find(scenes)[:4],
        lambda _share, _doing: None,
        means=convert.Means(tmp_path),
    )
    inference = done.bundle.model.inference
    assert inference is not None
    assert [each.file for each in inference.weights] == ["model.onnx", "model_float16.onnx"]
    [left_out] = json.loads((done.bundle.folder / "parity.json").read_text())["left_out"]
    assert left_out == (
        "There are no weights for the Edge TPU: edgetpu_compiler did not compile model_int8.tflite: "
        "Internal compiler error. Aborting!"
    )
    assert done.report is not None
    assert left_out in table(done.report)
