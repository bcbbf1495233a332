"""ONNX Runtime on the CPU, on CUDA, and through TensorRT.

TensorRT engines are built by the execution provider at the first load and kept in the cache folder; they are of use only
to the same model, TensorRT, driver and GPU, so all of these are in the folder's name.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bundle_format import WeightsSpec
from models.errors import ModelFailed, RuntimeMissing
from models.runtimes import nvidia
from models.runtimes.base import Choice, Concurrency, TensorSpec
from models.runtimes.pixels import to_tensor

PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""Our name of an accelerator -> ONNX Runtime's execution provider."""

DISTRIBUTIONS = ("onnxruntime-gpu", "onnxruntime")
"""Packages that bring the library. Who has both has the GPU's."""

_DTYPES = {"tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(float)": "float32", "tensor(float16)": "float16"}


def library() -> ModuleType:
    """ONNX Runtime. Raises `RuntimeMissing` with the way to get it."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise RuntimeMissing("ONNX Runtime is not installed: pip install onnxruntime (with a GPU: onnxruntime-gpu)")
    return importlib.import_module("onnxruntime")


class OnnxRuntime:
    """See `models.runtimes.base.Runtime`. The arguments give the module, the GPU of this box, and TensorRT's version."""

    name = "onnx"

    def __init__(
        self,
        library: Callable[[], Any] = library,
        gpu: Callable[[], nvidia.Gpu | None] = nvidia.identity,
        tensorrt_version: Callable[[], str] = nvidia.tensorrt_version,
    ) -> None:
        self._library = library
        self._gpu = gpu
        self._tensorrt_version = tensorrt_version

    def choices(self, weights: WeightsSpec, cpu_threads: Sequence[int]) -> list[Choice]:
        """The GPU, where the installed ONNX Runtime was built for one, before the CPU."""
        available = self._library().get_available_providers()
        gpus = [
            Choice(self.name, accelerator, 1)
            for accelerator in ("tensorrt", "cuda")
            if weights.accelerator in ("cuda", "any") and PROVIDERS[accelerator] in available
        ]
        cpus = [Choice(self.name, "cpu", threads) for threads in cpu_threads if weights.accelerator in ("cpu", "any")]
        return gpus + cpus

    def present(self, accelerator: str) -> bool:
        """Whether a GPU shows itself; a CPU always does."""
        return accelerator == "cpu" or (accelerator in PROVIDERS and self._gpu() is not None)

    def version(self) -> str:
        """For example `onnxruntime 1.31.0`. Nothing is imported for it where the package says its version."""
        for distribution in DISTRIBUTIONS:
            try:
                return f"{distribution} {metadata.version(distribution)}"
            except metadata.PackageNotFoundError:
                continue
        try:
            return f"onnxruntime {self._library().__version__}"
        except RuntimeMissing:
            return "onnxruntime missing"

    def load(self, path: Path, weights: WeightsSpec, choice: Choice, cache: Path) -> OnnxModel:
        """See `models.runtimes.base.Runtime.load`."""
        ort = self._library()
        provider = PROVIDERS.get(choice.accelerator)
        if provider is None or provider not in ort.get_available_providers():
            raise RuntimeMissing(
                f"The installed ONNX Runtime has no {choice.accelerator}: install onnxruntime-gpu and NVIDIA's libraries"
            )
        engines = cache
        if choice.accelerator == "tensorrt":
            engines = self._engines(cache, weights.sha256 or hashlib.sha256(path.read_bytes()).hexdigest())
            engines.mkdir(parents=True, exist_ok=True)
        options = ort.SessionOptions()
        options.intra_op_num_threads = choice.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only: the rest would repeat for every model
        # Threads that spin while they wait cost a whole core between two pictures.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(str(path), options, providers=providers(choice.accelerator, engines))
        except Exception as error:  # ONNX Runtime raises classes of its own that derive from Exception only
            raise ModelFailed(f"ONNX Runtime cannot load {path.name}: {_first_line(error)}") from error
        if session.get_providers()[0] != provider:
            # ONNX Runtime falls back to the CPU without a word to the caller.
            raise RuntimeMissing(
                f"ONNX Runtime could not start {choice.accelerator} on this box; NVIDIA's driver or libraries are missing"
            )
        return OnnxModel(session, weights)

    def _engines(self, cache: Path, model: str) -> Path:
        gpu = self._gpu() or nvidia.Gpu("unknown", "unknown")
        return engine_folder(cache, model, gpu.name, gpu.driver, self._tensorrt_version(), self._library().__version__)


def providers(accelerator: str, engines: Path) -> list[str | tuple[str, dict[str, str]]]:
    """Execution providers with their options, the wanted one first and those that take what it cannot run behind it."""
    chain: list[str | tuple[str, dict[str, str]]] = []
    if accelerator == "tensorrt":
        options = {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(engines),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(engines),
            "trt_fp16_enable": "1",
        }
        chain.append((PROVIDERS["tensorrt"], options))
    if accelerator in ("tensorrt", "cuda"):
        # The default search tries every convolution algorithm at the first picture of each shape: seconds on a Jetson.
        chain.append((PROVIDERS["cuda"], {"cudnn_conv_algo_search": "HEURISTIC"}))
    chain.append(PROVIDERS["cpu"])
    return chain


def engine_folder(cache: Path, *key: str) -> Path:
    """Folder for TensorRT's engine and timing cache. `key`: everything that makes an engine useless when it changes."""
    return cache / "tensorrt" / hashlib.sha256("|".join(key).encode()).hexdigest()[:32]


class OnnxModel:
    """See `models.runtimes.base.LoadedModel`. A session may be run by several threads at once."""

    concurrency: Concurrency = "shared"

    def __init__(self, session: Any, weights: WeightsSpec) -> None:
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise ModelFailed(f"{weights.file} has {len(inputs)} inputs; a detector has one, the picture")
        if inputs[0].type not in _DTYPES:
            raise ModelFailed(f"{weights.file} wants a picture as {inputs[0].type}; known are {', '.join(_DTYPES)}")
        self.input = _spec(inputs[0])
        self.outputs = [_spec(output) for output in session.get_outputs()]
        self._session = session
        self._input_spec = weights.input
        self._input_dtype = np.dtype(_DTYPES[inputs[0].type])

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """See `models.runtimes.base.LoadedModel.infer`."""
        tensor = to_tensor(image, self._input_spec, self._input_dtype)
        try:
            outputs = self._session.run(None, {self.input.name: tensor})
        except Exception as error:  # as in `load`
            raise ModelFailed(f"ONNX Runtime failed while running the model: {_first_line(error)}") from error
        return [np.asarray(output, dtype=np.float32) for output in outputs]

    def close(self) -> None:
        """Frees the session and its memory on the GPU."""
        self._session = None


def _spec(node: Any) -> TensorSpec:
    shape = tuple(side if isinstance(side, int) else -1 for side in node.shape)
    return TensorSpec(node.name, shape, _DTYPES.get(node.type, node.type))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
