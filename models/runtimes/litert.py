"""LiteRT (TensorFlow Lite) on the CPU and on the Edge TPU.

The interpreter comes from `ai-edge-litert`, or from `tflite-runtime` where no LiteRT wheel exists (armv7l). The Edge TPU
needs nothing but its delegate, `libedgetpu.so.1`, and weights compiled for it.
"""

from __future__ import annotations

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
from models.runtimes import edgetpu
from models.runtimes.base import Choice, Concurrency, TensorSpec
from models.runtimes.pixels import to_tensor

LIBRARIES = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
"""Distribution -> module with the `Interpreter`, in order of preference."""


def interpreter_module() -> ModuleType:
    """The installed interpreter. Raises `RuntimeMissing` with the way to get one."""
    for module in LIBRARIES.values():
        if importlib.util.find_spec(module.split(".", maxsplit=1)[0]) is not None:
            return importlib.import_module(module)
    raise RuntimeMissing("LiteRT is not installed: pip install ai-edge-litert (on 32-bit ARM: tflite-runtime)")


class LiteRtRuntime:
    """See `models.runtimes.base.Runtime`. `library` gives the module with the interpreter; `root`: of the file system."""

    name = "litert"

    def __init__(self, library: Callable[[], Any] = interpreter_module, root: Path = Path("/")) -> None:
        self._library = library
        self._root = root

    def choices(self, weights: WeightsSpec, cpu_threads: Sequence[int]) -> list[Choice]:
        """Edge TPU weights run on an Edge TPU only, all others on the CPU only."""
        self._library()
        if weights.accelerator == "edgetpu":
            return [Choice(self.name, "edgetpu", 1)]
        if weights.accelerator in ("cpu", "any"):
            return [Choice(self.name, "cpu", threads) for threads in cpu_threads]
        return []

    def present(self, accelerator: str) -> bool:
        """Whether an Edge TPU is plugged in; a CPU always is."""
        return accelerator == "cpu" or (accelerator == "edgetpu" and bool(edgetpu.devices(self._root)))

    def version(self) -> str:
        """For example `ai-edge-litert 2.3.0`."""
        for distribution in LIBRARIES:
            try:
                return f"{distribution} {metadata.version(distribution)}"
            except metadata.PackageNotFoundError:
                continue
        return "litert missing"

    def load(self, path: Path, weights: WeightsSpec, choice: Choice, cache: Path) -> LiteRtModel:  # noqa: ARG002 - LiteRT compiles nothing that could be kept
        """See `models.runtimes.base.Runtime.load`."""
        module = self._library()
        delegates = [edgetpu.delegate(module.load_delegate, self._root)] if choice.accelerator == "edgetpu" else []
        try:
            interpreter = module.Interpreter(
                model_path=str(path), num_threads=choice.threads, experimental_delegates=delegates
            )
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError, SystemError) as error:
            # SystemError: tflite-runtime 2.14 beside numpy 2 fails only here.
            raise ModelFailed(f"LiteRT cannot load {path.name}: {_first_line(error)}") from error
        return LiteRtModel(interpreter, weights, choice)


class LiteRtModel:
    """See `models.runtimes.base.LoadedModel`. An interpreter serves one thread at a time."""

    def __init__(self, interpreter: Any, weights: WeightsSpec, choice: Choice) -> None:
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        if len(inputs) != 1:
            raise ModelFailed(f"{weights.file} has {len(inputs)} inputs; a detector has one, the picture")
        self.concurrency: Concurrency = "copies" if choice.accelerator == "cpu" else "exclusive"
        self.input = _spec(inputs[0])
        self.outputs = [_spec(output) for output in outputs]
        self._interpreter = interpreter
        self._input_spec = weights.input
        self._input_index = inputs[0]["index"]
        self._input_dtype = np.dtype(inputs[0]["dtype"])
        self._input_quantization: tuple[float, int] = inputs[0]["quantization"]
        self._outputs = [(output["index"], output["quantization"]) for output in outputs]

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """See `models.runtimes.base.LoadedModel.infer`."""
        tensor = to_tensor(image, self._input_spec, self._input_dtype, self._input_quantization)
        try:
            self._interpreter.set_tensor(self._input_index, tensor)
            self._interpreter.invoke()
            return [self._output(index, *quantization) for index, quantization in self._outputs]
        except (ValueError, RuntimeError) as error:
            raise ModelFailed(f"LiteRT failed while running the model: {_first_line(error)}") from error

    def _output(self, index: int, step: float, zero_point: int) -> NDArray[np.float32]:
        tensor: NDArray[Any] = self._interpreter.get_tensor(index)
        real: NDArray[np.float32] = tensor.astype(np.float32, copy=False)
        if step != 0.0 and tensor.dtype != np.float32:
            real = (real - np.float32(zero_point)) * np.float32(step)
        return real

    def close(self) -> None:
        """Frees the interpreter and with it the Edge TPU."""
        self._interpreter = None


def _spec(details: dict[str, Any]) -> TensorSpec:
    shape = details.get("shape_signature", details["shape"])
    return TensorSpec(str(details["name"]), tuple(int(side) for side in shape), np.dtype(details["dtype"]).name)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
