"""LiteRT on the CPU, as it is, and on an Edge TPU, against its API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import zoo
from models.bundle import open_bundle
from models.bundle_format import InputSpec, WeightsSpec
from models.errors import ModelFailed, RuntimeMissing
from models.runtimes.base import Choice, TensorSpec
from models.runtimes.litert import LiteRtRuntime, interpreter_module
from tests.support.fake_litert_runtime import FakeDelegate, FakeLiteRt, tensor

CPU, TPU = Choice("litert", "cpu", 2), Choice("litert", "edgetpu", 1)
SQUARE = np.full((2, 2, 3), 100, np.uint8)


def weights(accelerator: str = "cpu", **input_keys: Any) -> WeightsSpec:
    spec = InputSpec.model_validate({"width": 2, "height": 2, **input_keys})
    return WeightsSpec.model_validate(
        {"runtime": "litert", "accelerator": accelerator, "file": "model.tflite", "input": spec}
    )


def runtime(library: FakeLiteRt, root: Path = Path("/nowhere")) -> LiteRtRuntime:
    return LiteRtRuntime(lambda: library, root)


def test_the_delegate_is_asked_for_and_given_to_the_interpreter(tmp_path: Path) -> None:
    library = FakeLiteRt(wants_delegate=True)
    model = runtime(library).load(tmp_path / "model.tflite", weights("edgetpu"), TPU, tmp_path)
    assert library.asked == ["libedgetpu.so.1"]
    [interpreter] = library.made
    assert interpreter.arguments == {
        "model_path": str(tmp_path / "model.tflite"),
        "num_threads": 1,
        "experimental_delegates": [FakeDelegate("libedgetpu.so.1")],
    }
    assert model.concurrency == "exclusive"  # one picture at a time: there is one Edge TPU
    assert model.infer(SQUARE)[0].tolist() == [[100.0] * 4]


def test_a_cpu_needs_no_delegate(tmp_path: Path) -> None:
    library = FakeLiteRt()
    model = runtime(library).load(tmp_path / "model.tflite", weights(), CPU, tmp_path)
    assert library.asked == []
    assert library.made[0].arguments["experimental_delegates"] == []
    assert library.made[0].arguments["num_threads"] == 2
    assert model.concurrency == "copies"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError("libedgetpu.so.1: cannot open shared object file"), "install Google's package libedgetpu1-std"),
        (ValueError("Failed to load delegate from libedgetpu.so.1\n"), "no Edge TPU is plugged in"),
    ],
)
def test_an_edge_tpu_that_cannot_be_used_is_told_in_words(tmp_path: Path, error: Exception, words: str) -> None:
    with pytest.raises(RuntimeMissing, match=words):
        runtime(FakeLiteRt(no_delegate=error)).load(tmp_path / "model.tflite", weights("edgetpu"), TPU, tmp_path)


def test_an_edge_tpu_that_is_pulled_out_while_it_works(tmp_path: Path) -> None:
    library = FakeLiteRt()
    model = runtime(library).load(tmp_path / "model.tflite", weights("edgetpu"), TPU, tmp_path)
    library.pulled_out = True
    with pytest.raises(ModelFailed, match=r"LiteRT failed while running the model: Failed to execute request"):
        model.infer(SQUARE)


def test_weights_for_an_edge_tpu_do_not_load_on_a_cpu(tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match=r"cannot load model\.tflite: .*edgetpu-custom-op\.$"):
        runtime(FakeLiteRt(wants_delegate=True)).load(tmp_path / "model.tflite", weights(), CPU, tmp_path)


def test_an_edge_tpu_is_looked_for(tmp_path: Path) -> None:
    coral = runtime(FakeLiteRt(), tmp_path)
    assert not coral.present("edgetpu")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "apex_0").touch()
    assert coral.present("edgetpu")
    assert coral.present("cpu")
    assert not coral.present("cuda")


@pytest.mark.parametrize(
    ("accelerator", "ways"),
    [
        ("cpu", ["litert/cpu/1", "litert/cpu/4"]),
        ("any", ["litert/cpu/1", "litert/cpu/4"]),
        ("edgetpu", ["litert/edgetpu/1"]),
        ("cuda", []),
    ],
)
def test_the_ways_to_run_weights(accelerator: str, ways: list[str]) -> None:
    assert [str(way) for way in runtime(FakeLiteRt()).choices(weights(accelerator), [1, 4])] == ways


def test_without_the_library_that_is_said() -> None:
    def missing() -> None:
        raise RuntimeMissing("LiteRT is not installed")

    with pytest.raises(RuntimeMissing):
        LiteRtRuntime(missing).choices(weights(), [1])


def test_quantized_outputs_come_as_real_numbers(tmp_path: Path) -> None:
    library = FakeLiteRt(
        outputs=[
            tensor(3, "scores", [1, 2], np.uint8, (0.25, 20)),
            tensor(5, "boxes", [1, 1, 4], np.int8, (0.5, -10)),
            tensor(4, "count", [1], np.float32),
        ]
    )
    model = runtime(library).load(tmp_path / "model.tflite", weights(), CPU, tmp_path)
    outputs = model.infer(SQUARE)
    assert [output.tolist() for output in outputs] == [[[20.0, 20.0]], [[[55.0] * 4]], [100.0]]
    assert all(output.dtype == np.float32 for output in outputs)
    assert [spec.name for spec in model.outputs] == ["scores", "boxes", "count"]


def test_int8_weights_get_quantized_pixels(tmp_path: Path) -> None:
    library = FakeLiteRt(inputs=[tensor(0, "image", [1, 2, 2, 3], np.int8, (1 / 255, -128))])
    model = runtime(library).load(tmp_path / "model.tflite", weights(dtype="int8", scale=1 / 255), CPU, tmp_path)
    model.infer(SQUARE)
    assert library.made[0].tensors[0].tolist() == np.full((1, 2, 2, 3), 100 - 128).tolist()


def test_a_model_with_two_inputs_is_no_detector(tmp_path: Path) -> None:
    library = FakeLiteRt(inputs=[tensor(0, "image", [1, 2, 2, 3], np.uint8), tensor(7, "size", [1, 2], np.int32)])
    with pytest.raises(ModelFailed, match=r"model\.tflite has 2 inputs; a detector has one, the picture"):
        runtime(library).load(tmp_path / "model.tflite", weights(), CPU, tmp_path)


# What follows runs the installed library.


def test_the_seed_model_declares_what_it_wants_and_gives(tmp_path: Path) -> None:
    bundle = open_bundle(zoo.seed_folder())
    assert bundle.model.inference is not None
    spec = next(weights for weights in bundle.model.inference.weights if weights.file.endswith("postprocess.tflite"))
    model = LiteRtRuntime().load(bundle.weights_path(spec), spec, CPU, tmp_path)
    assert model.input == TensorSpec("normalized_input_image_tensor", (1, 300, 300, 3), "uint8")
    assert [output.shape for output in model.outputs] == [(1, 20, 4), (1, 20), (1, 20), (1,)]
    outputs = model.infer(np.zeros((300, 300, 3), np.uint8))
    assert [output.shape for output in outputs] == [(1, 20, 4), (1, 20), (1, 20), (1,)]
    model.close()


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x1c\x00\x00\x00TFL3" + bytes(100)])
def test_a_file_that_is_no_model_is_an_error_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelFailed, match=r"LiteRT cannot load model\.tflite: \S"):
        LiteRtRuntime().load(path, weights(), CPU, tmp_path)


def test_a_file_that_is_missing_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(ModelFailed, match=r"LiteRT cannot load model\.tflite: Could not open"):
        LiteRtRuntime().load(tmp_path / "model.tflite", weights(), CPU, tmp_path)


def test_the_installed_library_is_named_with_its_version() -> None:
    assert LiteRtRuntime().version().split()[0] in ("ai-edge-litert", "tflite-runtime")
    assert hasattr(interpreter_module(), "load_delegate")
