"""ONNX Runtime on the CPU, as it is, and on a GPU, against its API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models import zoo
from models.bundle import open_bundle
from models.bundle_format import InputSpec, WeightsSpec
from models.errors import ModelFailed, RuntimeMissing
from models.runtimes.base import Choice, TensorSpec
from models.runtimes.nvidia import Gpu
from models.runtimes.onnx import OnnxRuntime
from tests.support.fake_onnx_runtime import CPU, CUDA, TENSORRT, FakeNode, FakeOnnxRuntime

ORIN = Gpu("NVIDIA Jetson Orin Nano Developer Kit", "R36.4.0")
SQUARE: NDArray[np.uint8] = np.full((2, 2, 3), 100, np.uint8)


def weights(accelerator: str = "any", sha256: str | None = None, **input_keys: Any) -> WeightsSpec:
    spec = InputSpec.model_validate({"width": 2, "height": 2, "layout": "NCHW", "dtype": "float32", **input_keys})
    return WeightsSpec.model_validate(
        {"runtime": "onnx", "accelerator": accelerator, "file": "model.onnx", "sha256": sha256, "input": spec}
    )


def runtime(library: FakeOnnxRuntime, gpu: Gpu | None = ORIN, tensorrt: str = "10.3.0") -> OnnxRuntime:
    return OnnxRuntime(lambda: library, lambda: gpu, lambda: tensorrt)


def load(
    library: FakeOnnxRuntime, accelerator: str, folder: Path, *, made_by: OnnxRuntime | None = None, **keys: Any
) -> Any:
    path = folder / "model.onnx"
    if not path.exists():
        path.write_bytes(b"weights")
    choice = Choice("onnx", accelerator, 2)
    return (made_by or runtime(library)).load(path, weights(**keys), choice, folder / "cache")


def provider_of(library: FakeOnnxRuntime) -> Sequence[Any]:
    """What the last session was asked to run on."""
    return library.sessions[-1][2].providers


def test_threads_sleep_while_they_wait_and_do_nothing_beside_each_other(tmp_path: Path) -> None:
    library = FakeOnnxRuntime()
    load(library, "cpu", tmp_path)
    _, options, _ = library.sessions[0]
    assert options.entries == {"session.intra_op.allow_spinning": "0"}
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert provider_of(library) == [CPU]


def test_cuda_is_asked_for_with_the_cpu_behind_it(tmp_path: Path) -> None:
    library = FakeOnnxRuntime()
    load(library, "cuda", tmp_path)
    assert provider_of(library) == [(CUDA, {"cudnn_conv_algo_search": "HEURISTIC"}), CPU]


def test_tensorrt_keeps_its_engines(tmp_path: Path) -> None:
    library = FakeOnnxRuntime()
    load(library, "tensorrt", tmp_path)
    (first, options), (second, _), third = provider_of(library)
    assert (first, second, third) == (TENSORRT, CUDA, CPU)
    engines = Path(options.pop("trt_engine_cache_path"))
    assert engines.is_dir()
    assert engines.parent == tmp_path / "cache" / "tensorrt"
    assert options == {
        "trt_engine_cache_enable": "1",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(engines),
        "trt_fp16_enable": "1",
    }


def engines(
    folder: Path, sha256: str = "1" * 64, gpu: Gpu | None = ORIN, tensorrt: str = "10.3.0", ort: str = "1.32.0"
) -> str:
    """The folder in which TensorRT keeps the engine of a model."""
    library = FakeOnnxRuntime(version=ort)
    load(library, "tensorrt", folder, made_by=runtime(library, gpu, tensorrt), sha256=sha256)
    folder_of_engines: str = provider_of(library)[0][1]["trt_engine_cache_path"]
    return folder_of_engines


def test_an_engine_is_found_again_by_the_same_model_on_the_same_box(tmp_path: Path) -> None:
    assert engines(tmp_path) == engines(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "2" * 64},
        {"gpu": Gpu("NVIDIA Jetson AGX Orin", ORIN.driver)},
        {"gpu": Gpu(ORIN.name, "R36.5.0")},
        {"gpu": None},
        {"tensorrt": "10.4.0"},
        {"ort": "1.33.0"},
    ],
    ids=["model", "GPU", "driver", "no GPU", "TensorRT", "ONNX Runtime"],
)
def test_an_engine_is_of_no_use_after_a_change(tmp_path: Path, change: dict[str, Any]) -> None:
    assert engines(tmp_path) != engines(tmp_path, **change)


def test_a_model_without_a_hash_in_its_bundle_is_hashed(tmp_path: Path) -> None:
    library, folders = FakeOnnxRuntime(), []
    for content in (b"one", b"other", b"one"):
        (tmp_path / "model.onnx").write_bytes(content)
        load(library, "tensorrt", tmp_path)
        folders.append(provider_of(library)[0][1]["trt_engine_cache_path"])
    assert folders[0] == folders[2] != folders[1]


@pytest.mark.parametrize(
    ("accelerator", "working"), [("cuda", (CPU,)), ("tensorrt", (CUDA, CPU)), ("tensorrt", (CPU,))]
)
def test_a_silent_fall_back_is_noticed(tmp_path: Path, accelerator: str, working: tuple[str, ...]) -> None:
    with pytest.raises(
        RuntimeMissing, match=f"could not start {accelerator} on this box; NVIDIA's driver or libraries"
    ):
        load(FakeOnnxRuntime(working=working), accelerator, tmp_path)


@pytest.mark.parametrize("accelerator", ["cuda", "tensorrt", "edgetpu"])
def test_a_library_without_gpus_says_what_to_install(tmp_path: Path, accelerator: str) -> None:
    with pytest.raises(RuntimeMissing, match=f"has no {accelerator}: install onnxruntime-gpu"):
        load(FakeOnnxRuntime(built_for=(CPU,), working=(CPU,)), accelerator, tmp_path)


@pytest.mark.parametrize(
    ("accelerator", "built_for", "ways"),
    [
        ("any", (TENSORRT, CUDA, CPU), ["onnx/tensorrt/1", "onnx/cuda/1", "onnx/cpu/1", "onnx/cpu/4"]),
        ("any", (CPU,), ["onnx/cpu/1", "onnx/cpu/4"]),
        ("cuda", (CUDA, CPU), ["onnx/cuda/1"]),
        ("cpu", (TENSORRT, CUDA, CPU), ["onnx/cpu/1", "onnx/cpu/4"]),
        ("edgetpu", (TENSORRT, CUDA, CPU), []),
    ],
)
def test_the_ways_to_run_weights(accelerator: str, built_for: tuple[str, ...], ways: list[str]) -> None:
    found = runtime(FakeOnnxRuntime(built_for=built_for)).choices(weights(accelerator), [1, 4])
    assert [str(way) for way in found] == ways


def test_a_gpu_is_there_if_it_shows_itself() -> None:
    with_gpu, without = runtime(FakeOnnxRuntime()), runtime(FakeOnnxRuntime(), gpu=None)
    assert [with_gpu.present(each) for each in ("cpu", "cuda", "tensorrt", "edgetpu")] == [True, True, True, False]
    assert [without.present(each) for each in ("cpu", "cuda", "tensorrt", "edgetpu")] == [True, False, False, False]


def test_a_gpu_that_fails_while_it_works(tmp_path: Path) -> None:
    library = FakeOnnxRuntime()
    model = load(library, "cuda", tmp_path)
    assert model.infer(SQUARE)[0].tolist() == [[100.0] * 4]
    assert model.infer(SQUARE)[0].dtype == np.float32
    library.breaks = True
    with pytest.raises(ModelFailed, match=r"failed while running the model: CUDA failure 719: [^\n]*GPU=0$"):
        model.infer(SQUARE)


def test_dimensions_that_are_not_fixed(tmp_path: Path) -> None:
    model = load(FakeOnnxRuntime(), "cpu", tmp_path)
    assert model.outputs == [TensorSpec("scores", (-1, 4), "float32")]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([FakeNode("a", [1, 2, 2, 3], "tensor(float)"), FakeNode("b", [2], "tensor(int64)")], "has 2 inputs"),
        ([FakeNode("a", [1, 2, 2, 3], "tensor(int64)")], r"wants a picture as tensor\(int64\); known are"),
    ],
)
def test_what_is_no_detector(tmp_path: Path, inputs: list[FakeNode], words: str) -> None:
    with pytest.raises(ModelFailed, match=words):
        load(FakeOnnxRuntime(inputs=inputs), "cpu", tmp_path)


# What follows runs the installed library.


def test_the_seed_model_declares_what_it_wants_and_gives(tmp_path: Path) -> None:
    bundle = open_bundle(zoo.seed_folder())
    assert bundle.model.inference is not None
    spec = next(each for each in bundle.model.inference.weights if each.runtime == "onnx")
    model = OnnxRuntime().load(bundle.weights_path(spec), spec, Choice("onnx", "cpu", 1), tmp_path)
    assert (model.input.shape, model.input.dtype) == ((1, 300, 300, 3), "uint8")
    assert model.concurrency == "shared"
    outputs = model.infer(np.zeros((300, 300, 3), np.uint8))
    assert [output.shape for output in outputs] == [(1, 20, 4), (1, 20), (1, 20), (1,)]
    assert all(output.dtype == np.float32 for output in outputs)
    model.close()


@pytest.mark.parametrize("content", [b"", b"not a model at all", bytes(1000)])
def test_a_file_that_is_no_model_is_an_error_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelFailed, match=r"ONNX Runtime cannot load model\.onnx: \S"):
        OnnxRuntime().load(tmp_path / "model.onnx", weights(), Choice("onnx", "cpu", 1), tmp_path)


def test_the_installed_library_is_named_with_its_version() -> None:
    assert OnnxRuntime().version().startswith("onnxruntime")
