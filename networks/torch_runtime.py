"""Runs the weights of `appliance_pytorch` bundles with PyTorch, so that a trained model detects before it is converted.

A device never has such a bundle. The trainer looks at a project's pictures with it, and the converter compares what it
made with it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.bundle import open_bundle
from models.bundle_format import WeightsSpec
from models.errors import BundleError, ModelFailed, RuntimeMissing
from models.runtimes.base import Choice, Concurrency, TensorSpec
from models.runtimes.pixels import to_tensor

if TYPE_CHECKING:
    from networks.base import Network


def _require_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise RuntimeMissing("PyTorch is not installed: install detector-appliance with its extra 'trainer'")


class TorchRuntime:
    """See `models.runtimes.base.Runtime`."""

    name = "torch"

    def choices(self, weights: WeightsSpec, cpu_threads: Sequence[int]) -> list[Choice]:
        """The graphics card, where PyTorch can use one, before the CPU."""
        _require_torch()
        gpus = [Choice(self.name, "cuda", 1)] if self.present("cuda") and weights.accelerator != "cpu" else []
        return gpus + [Choice(self.name, "cpu", threads) for threads in cpu_threads]

    def present(self, accelerator: str) -> bool:
        """Whether PyTorch can use it."""
        if accelerator != "cuda":
            return accelerator == "cpu"
        _require_torch()
        import torch

        return bool(torch.cuda.is_available())

    def version(self) -> str:
        """For example `torch 2.13.0`."""
        try:
            return f"torch {metadata.version('torch')}"
        except metadata.PackageNotFoundError:
            return "torch missing"

    def load(self, path: Path, weights: WeightsSpec, choice: Choice, cache: Path) -> TorchModel:  # noqa: ARG002 # the Protocol has it
        """See `models.runtimes.base.Runtime.load`. The network's layers are built as the bundle's model.json says."""
        _require_torch()
        from networks.bundles import read

        try:
            network = read(open_bundle(path.parent, verify_hashes=False))
        except BundleError as error:
            raise ModelFailed(str(error)) from error
        return TorchModel(network, weights, "cuda" if choice.accelerator == "cuda" else "cpu", choice.threads)


class TorchModel:
    """See `models.runtimes.base.LoadedModel`."""

    concurrency: Concurrency = "exclusive"

    def __init__(self, network: Network, weights: WeightsSpec, device: str, threads: int) -> None:
        self._network = network.eval().to(device)
        self._weights = weights
        self._device = device
        self._threads = threads
        spec = weights.input
        self.input = TensorSpec("pictures", (1, 3, spec.height, spec.width), "float32")
        self.outputs = [TensorSpec(name, (1, -1, -1), "float32") for name in network.output_names]

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """See `models.runtimes.base.LoadedModel.infer`."""
        return self.infer_batch(image[np.newaxis])[0]

    def infer_batch(self, images: NDArray[np.uint8]) -> list[list[NDArray[np.float32]]]:
        """See `models.runtimes.base.LoadedModel`."""
        import torch

        tensors = [to_tensor(image, self._weights.input, np.dtype(np.float32)) for image in images]
        torch.set_num_threads(self._threads)
        with torch.inference_mode():
            outputs = self._network(torch.from_numpy(np.concatenate(tensors)).to(self._device))
        arrays = [output.float().cpu().numpy() for output in outputs]
        return [[array[index : index + 1] for array in arrays] for index in range(len(images))]

    def close(self) -> None:
        """Frees the weights and what they take on a graphics card."""
        del self._network
