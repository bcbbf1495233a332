"""LiteRT's Python API as far as it is used, with an Edge TPU that is there or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class FakeDelegate:
    """What `load_delegate` gives; it knows its library."""

    library: str


class FakeInterpreter:
    """See `ai_edge_litert.interpreter.Interpreter`: one input; each output is the input's mean, quantized as declared."""

    def __init__(self, library: FakeLiteRt, arguments: dict[str, Any]) -> None:
        self._library = library
        self.arguments = arguments
        self.allocated = False
        self.tensors: dict[int, NDArray[Any]] = {}

    def allocate_tensors(self) -> None:
        self.allocated = True
        if self._library.wants_delegate and not self.arguments["experimental_delegates"]:
            raise RuntimeError(
                "Encountered unresolved custom op: edgetpu-custom-op.\nSee instructions: https://…\nNode number 0"
            )

    def get_input_details(self) -> list[dict[str, Any]]:
        return self._library.inputs

    def get_output_details(self) -> list[dict[str, Any]]:
        return self._library.outputs

    def set_tensor(self, index: int, tensor: NDArray[Any]) -> None:
        assert self.allocated
        self.tensors[index] = tensor

    def invoke(self) -> None:
        if self._library.pulled_out:
            raise RuntimeError("Failed to execute request. Could not map pages : 13 (Device or resource busy)")

    def get_tensor(self, index: int) -> NDArray[Any]:
        details = next(output for output in self._library.outputs if output["index"] == index)
        mean = float(np.mean(self.tensors[0]))
        return np.full(details["shape"], mean, details["dtype"])


def tensor(
    index: int, name: str, shape: list[int], dtype: type[np.generic], quantization: tuple[float, int] = (0.0, 0)
) -> dict[str, Any]:
    """An entry of `get_input_details` or `get_output_details`."""
    return {
        "index": index,
        "name": name,
        "shape": np.array(shape),
        "shape_signature": np.array(shape),
        "dtype": dtype,
        "quantization": quantization,
    }


@dataclass
class FakeLiteRt:
    """The module `ai_edge_litert.interpreter`. `no_delegate`: what `load_delegate` raises, if it does."""

    no_delegate: Exception | None = None
    wants_delegate: bool = False
    pulled_out: bool = False
    inputs: list[dict[str, Any]] = field(default_factory=lambda: [tensor(0, "image", [1, 2, 2, 3], np.uint8)])
    outputs: list[dict[str, Any]] = field(default_factory=lambda: [tensor(1, "scores", [1, 4], np.float32)])
    asked: list[str] = field(default_factory=list)
    made: list[FakeInterpreter] = field(default_factory=list)

    def load_delegate(self, library: str) -> FakeDelegate:
        self.asked.append(library)
        if self.no_delegate is not None:
            raise self.no_delegate
        return FakeDelegate(library)

    def Interpreter(self, **arguments: Any) -> FakeInterpreter:  # noqa: N802 - the library's name
        self.made.append(FakeInterpreter(self, arguments))
        return self.made[-1]
