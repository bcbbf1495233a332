"""What a runtime is: something that loads one weight file and runs it on one prepared image.

To add one, write a module with a class that has these methods and name it in `models.runtimes.BUILT_IN`, or in the
entry-point group `detector_appliance.runtimes` of another package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from models.bundle_format import WeightsSpec


@dataclass(frozen=True)
class TensorSpec:
    """An input or output as the weight file declares it. Unknown (dynamic) dimensions are -1."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, order=True)
class Choice:
    """One way to run a model on this box: written `litert/cpu/2`, the number being CPU threads.

    Where a bundle has several weight files for one runtime and accelerator (float and int8, say), the file's name follows:
    `litert/cpu/2/model_int8.tflite`. A choice without it means any of them.
    """

    runtime: str
    accelerator: str
    threads: int
    file: str = ""

    def __str__(self) -> str:
        return "/".join(self.parts)

    @property
    def parts(self) -> tuple[str, ...]:
        """What stands between the slashes."""
        return (self.runtime, self.accelerator, str(self.threads), *([self.file] if self.file else []))

    @staticmethod
    def parse(text: str) -> Choice:
        """Inverse of `str`. Raises ValueError."""
        runtime, accelerator, threads, *file = text.split("/")
        if len(file) > 1:
            raise ValueError(f"{text!r} is no way to run a model; that would be runtime/accelerator/threads")
        return Choice(runtime, accelerator, int(threads), *file)


Concurrency = Literal["exclusive", "copies", "shared"]
"""What happens when two pictures are to run at once: `exclusive`, one after the other (a single accelerator); `copies`, the
weights are loaded twice (LiteRT on a CPU); `shared`, several threads may call `infer` of one (ONNX Runtime)."""


class LoadedModel(Protocol):
    """Weights, ready to run. One thread at a time calls `infer`, unless `concurrency` is `shared`.

    A model may have a method `infer_batch`, too: like `infer` for several pictures, (B, height, width, 3), with a list of
    what `infer` returns.
    """

    @property
    def concurrency(self) -> Concurrency: ...

    @property
    def input(self) -> TensorSpec: ...

    @property
    def outputs(self) -> Sequence[TensorSpec]: ...

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Run on one picture: uint8 RGB (height, width, 3) at the size of the weights' `input`.

        Scaling, channel order, layout and quantization are done here. Outputs come in the file's order, as float32
        (quantized ones dequantized), with their batch dimension. Raises `ModelFailed`.
        """

    def close(self) -> None:
        """Free the weights and the accelerator."""


class Runtime(Protocol):
    """A library that runs weights: LiteRT, ONNX Runtime, or somebody's own."""

    name: str

    def choices(self, weights: WeightsSpec, cpu_threads: Sequence[int]) -> list[Choice]:
        """The ways in which these weights could be run here, whether or not the hardware answers: `load` finds that out.

        `cpu_threads` are the thread counts worth trying. Raises `RuntimeMissing` if the library is not installed.
        """

    def present(self, accelerator: str) -> bool:
        """Whether an accelerator seems to be plugged in and usable. Cheap; asked again and again while it is missing."""

    def version(self) -> str:
        """Name and version of the library, for the log and as part of cache keys."""

    def load(self, path: Path, weights: WeightsSpec, choice: Choice, cache: Path) -> LoadedModel:
        """Load the file at `path`. `cache` is a folder for what may be kept between starts (compiled engines).

        Raises `RuntimeMissing` (library or accelerator is not there) or `ModelFailed`.
        """
