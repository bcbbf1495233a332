"""ONNX Runtime's Python API as far as it is used, on a box with a GPU or without."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


class FakeSessionOptions:
    """Takes whatever is set."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.intra_op_num_threads = self.inter_op_num_threads = self.log_severity_level = 0

    def add_session_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value


@dataclass
class FakeNode:
    """An input or output."""

    name: str
    shape: list[Any]
    type: str


class FakeSession:
    """See `onnxruntime.InferenceSession`: the output is the mean of the input."""

    def __init__(self, library: FakeOnnxRuntime, providers: list[Any]) -> None:
        self._library = library
        self.providers = providers

    def get_providers(self) -> list[str]:
        names = [provider if isinstance(provider, str) else provider[0] for provider in self.providers]
        return [name for name in names if name in self._library.working]

    def get_inputs(self) -> list[FakeNode]:
        return self._library.inputs

    def get_outputs(self) -> list[FakeNode]:
        return [FakeNode("scores", ["batch", 4], "tensor(float)")]

    def run(self, outputs: object, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        if self._library.breaks:
            raise FakeOnnxError("CUDA failure 719: unspecified launch failure ; GPU=0\nmore of it")
        [picture] = feeds.values()
        return [np.full((1, 4), picture.mean(), np.float64)]


class FakeOnnxError(Exception):
    """ONNX Runtime's errors derive from Exception and from nothing else."""


@dataclass
class FakeOnnxRuntime:
    """The module `onnxruntime`. `built_for`: providers in it; `working`: those that start on this box."""

    built_for: tuple[str, ...] = (TENSORRT, CUDA, CPU)
    working: tuple[str, ...] = (TENSORRT, CUDA, CPU)
    breaks: bool = False
    inputs: list[FakeNode] = field(default_factory=lambda: [FakeNode("image", [1, 3, 2, 2], "tensor(float)")])
    version: str = "1.32.0"
    sessions: list[tuple[str, FakeSessionOptions, FakeSession]] = field(default_factory=list)

    SessionOptions = FakeSessionOptions

    @property
    def __version__(self) -> str:
        return self.version

    def get_available_providers(self) -> list[str]:
        return list(self.built_for)

    def InferenceSession(self, path: str, options: FakeSessionOptions, providers: list[Any]) -> FakeSession:  # noqa: N802 - the library's name
        session = FakeSession(self, providers)
        self.sessions.append((path, options, session))
        return session
