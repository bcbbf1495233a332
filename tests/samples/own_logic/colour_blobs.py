"""Own detection logic in a page of code: a runtime that finds blobs of given colours, and a head that reads its output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.bundle_format import WeightsSpec
from models.errors import ModelFailed, OutputsImplausible
from models.heads.base import Candidates, HeadContext
from models.runtimes.base import Choice, Concurrency, TensorSpec


class ColourBlobs:
    """The runtime: says how it can run here, and loads a file of colours. See `models.runtimes.base.Runtime`."""

    name = "colour_blobs"

    def choices(self, weights: WeightsSpec, cpu_threads: Sequence[int]) -> list[Choice]:
        """There is one way to run this: on the CPU, in one thread."""
        return [Choice(self.name, "cpu", 1)]

    def present(self, accelerator: str) -> bool:
        """It needs nothing but a CPU."""
        return accelerator == "cpu"

    def version(self) -> str:
        """For the log, and for what is remembered of measurements."""
        return f"colour_blobs 1.0 with OpenCV {cv2.__version__}"

    def load(self, path: Path, weights: WeightsSpec, choice: Choice, cache: Path) -> LoadedColours:
        """Read the "weights": a JSON file with colours as hue (degrees, from and to), saturation and value (at least)."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            ranges = [(*colour["hue"], colour["saturation"], colour["value"]) for colour in document["colours"]]
            return LoadedColours(np.array(ranges, np.float32).reshape(-1, 4), float(document["smallest"]), weights)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelFailed(
                f"{path.name} is no file of colours, each with hue, saturation, value: {error!r}."
            ) from error


class LoadedColours:
    """The loaded model: picture in, numbers out. See `models.runtimes.base.LoadedModel`."""

    def __init__(self, ranges: NDArray[np.float32], smallest: float, weights: WeightsSpec) -> None:
        self.concurrency: Concurrency = "shared"  # `infer` keeps nothing, so several threads may call it
        self.input = TensorSpec("picture", (1, weights.input.height, weights.input.width, 3), "uint8")
        self.outputs = (TensorSpec("blobs", (1, -1, 6), "float32"),)
        self._ranges = ranges
        self._smallest = smallest

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """uint8 RGB (height, width, 3) -> one output (1, N, 6): x1, y1, x2, y2 in pixels, number of the colour, score."""
        hue, saturation, value = cv2.split(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV))
        rows: list[list[Any]] = []
        for number, (first, last, least_saturation, least_value) in enumerate(self._ranges):
            in_hue = (hue - first) % 360 <= (last - first) % 360  # a range may go across 360, as that of red does
            mask = in_hue & (saturation >= least_saturation) & (value >= least_value)
            _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
            for left, top, width, height, area in statistics[1:]:  # the first one is everything else
                if area >= self._smallest * mask.size:
                    rows.append([left, top, left + width, top + height, number, area / (width * height)])
        return [np.array(rows, np.float32).reshape(1, -1, 6)]

    def close(self) -> None:
        """There is nothing to free."""


class BlobTable:
    """The head: rows of x1, y1, x2, y2, class, score -> candidates. See `models.heads.base.Head`."""

    name = "blob_table"
    needs_nms = False

    def decode(self, outputs: Sequence[NDArray[np.float32]], context: HeadContext) -> Candidates:
        """Anything that cannot be right is told, not passed on."""
        if len(outputs) != 1 or outputs[0].ndim != 3 or outputs[0].shape[2] != 6 or not np.isfinite(outputs[0]).all():
            raise OutputsImplausible(
                f"Expected one output (1, N, 6) of finite numbers, got {[o.shape for o in outputs]}."
            )
        rows = outputs[0][0]
        rows = rows[rows[:, 5] >= context.min_score]
        return Candidates(rows[:, :4], rows[:, 4].astype(np.int64), rows[:, 5])
