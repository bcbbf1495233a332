"""From a bundle to something that detects: weights under a runtime, a head, non-maximum suppression, names."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import geometry, heads, images, runtimes
from models.bundle import Bundle
from models.bundle_format import InferenceSpec, InputSpec, WeightsSpec
from models.errors import BundleError, ModelFailed, RuntimeMissing
from models.heads.base import Candidates, HeadContext
from models.heads.recognise import recognise
from models.images import ImageLimits, Prepared
from models.runtimes.base import Choice, LoadedModel, TensorSpec
from models.wire.detections import BoxDetection, ClassificationDetection, Detections, PointDetection

MAX_DETECTIONS = 300
"""Of one picture; the most certain ones are kept."""

MAX_CPU_THREADS = 4
"""More threads than this gain nothing with models of this size, and take the cores from everything else."""

_RUNTIME_OF_SUFFIX = {".tflite": "litert", ".onnx": "onnx"}


@dataclass(frozen=True)
class Timings:
    """Where the time of one picture went, milliseconds."""

    decode: float
    inference: float
    postprocess: float


@dataclass(frozen=True)
class Answer:
    """What is in one picture. `width` and `height` are those of the picture as displayed, pixels."""

    detections: Detections
    timings: Timings
    width: int
    height: int


def cpu_threads() -> list[int]:
    """The thread counts worth trying on this box: one, and all that may be used up to `MAX_CPU_THREADS`."""
    usable = min(len(os.sched_getaffinity(0)), MAX_CPU_THREADS)
    return sorted({1, usable})


def inference_of(bundle: Bundle, cache: Path) -> InferenceSpec:
    """How the bundle is run: what it says, or what can be recognised from its only weight file.

    Raises `BundleError` saying what `model.json` must tell, `ModelFailed` if the file does not load.
    """
    if bundle.model.inference is not None:
        return bundle.model.inference
    file = bundle.weight_files[0]
    runtime = runtimes.runtime(_RUNTIME_OF_SUFFIX[file.suffix])
    guess = WeightsSpec(runtime=runtime.name, file=file.name, accelerator="cpu", input=InputSpec(width=1, height=1))
    loaded = runtime.load(file, guess, Choice(runtime.name, "cpu", 1), cache)
    try:
        seen = recognise(list(loaded.outputs))
        found_input = input_of(loaded.input)
    finally:
        loaded.close()
    if seen is None or found_input is None:
        shapes = ", ".join(str(list(output.shape)) for output in loaded.outputs)
        raise BundleError(
            f"{file.name} has the input {list(loaded.input.shape)} and the outputs {shapes}, which fit no known head for sure: "
            'say it in model.json under "inference" (head, weights, input)'
        )
    head, outputs, options = seen
    weights = guess.model_copy(update={"input": found_input, "outputs": outputs, "accelerator": "any"})
    return InferenceSpec(head=head, weights=[weights], head_options=options)


def input_of(spec: TensorSpec) -> InputSpec | None:
    """What a declared input tensor says of itself; None where it is no picture of fixed size. Floats are taken as 0..1."""
    match spec.shape:
        case (_, height, width, 3) if height > 0 and width > 0:
            layout = "NHWC"
        case (_, 3, height, width) if height > 0 and width > 0:
            layout = "NCHW"
        case _:
            return None
    is_float = spec.dtype.startswith("float")
    return InputSpec.model_validate(
        {
            "width": width,
            "height": height,
            "layout": layout,
            "dtype": spec.dtype,
            "scale": 1 / 255 if is_float else 1.0,
        }
    )


def ways(inference: InferenceSpec, wanted: str = "auto") -> list[tuple[Choice, WeightsSpec]]:
    """The ways in which this box might run a model, in the bundle's order.

    `wanted` is `auto` or the beginning of a choice: `litert`, `onnx/cpu`, `litert/cpu/2`; a thread count that is not among
    the usual ones is taken as given. Raises `RuntimeMissing` naming what would be needed where there is no way.
    """
    wish = [] if wanted == "auto" else wanted.split("/")
    threads = [int(wish[2])] if len(wish) > 2 else cpu_threads()
    found: list[tuple[Choice, WeightsSpec]] = []
    missing: list[str] = []
    for weights in inference.weights:
        try:
            choices = runtimes.runtime(weights.runtime).choices(weights, threads)
        except (RuntimeMissing, BundleError) as error:
            missing.append(str(error))
            continue
        found += [(choice, weights) for choice in choices if str(choice).split("/")[: len(wish)] == wish]
    if not found:
        carried = ", ".join(f"{weights.runtime} for {weights.accelerator}" for weights in inference.weights)
        asked = "" if wanted == "auto" else f" as {wanted}, which the settings ask for"
        raise RuntimeMissing(f"This model cannot run here{asked}. It carries {carried}. {' '.join(missing)}".strip())
    return found


def load(
    bundle: Bundle,
    choice: Choice | None = None,
    *,
    cache: Path,
    floor: float = 0.0,
    lanes: int = 2,
    limits: ImageLimits | None = None,
) -> Detector:
    """Load a bundle's weights. Without a `choice` the first way that works is taken.

    `floor`: confidence (0..1) below which nobody wants to hear of a detection. `lanes`: how many pictures may be under way
    at once. Raises `ModelFailed` (`RuntimeMissing` where the box lacks something) or `BundleError`.
    """
    inference = inference_of(bundle, cache)
    failures: list[ModelFailed] = []
    for way, weights in ways(inference, "auto" if choice is None else str(choice)):
        runtime = runtimes.runtime(way.runtime)
        path = bundle.weights_path(weights)
        try:
            loaded = [runtime.load(path, weights, way, cache)]
            if loaded[0].concurrency == "copies":
                loaded += [runtime.load(path, weights, way, cache) for _ in range(lanes - 1)]
            return Detector(bundle, inference, weights, way, loaded, floor=floor, limits=limits or ImageLimits())
        except ModelFailed as error:
            failures.append(error)
    raise failures[0]


class Detector:
    """A loaded model. `detect` may be called by as many threads as there are lanes; more wait for one to be free."""

    def __init__(
        self,
        bundle: Bundle,
        inference: InferenceSpec,
        weights: WeightsSpec,
        choice: Choice,
        loaded: Sequence[LoadedModel],
        *,
        floor: float,
        limits: ImageLimits,
    ) -> None:
        self.bundle = bundle
        self.choice = choice
        self.input = weights.input
        self._inference = inference
        self._head = heads.head(inference.head)
        self._limits = limits
        self._categories = bundle.model.categories_by_class()
        self._version = bundle.model.version or ""
        self._floor = floor
        self._context = HeadContext(
            width=weights.input.width,
            height=weights.input.height,
            outputs=weights.outputs,
            options=inference.head_options,
            min_score=floor,
            class_count=len(self._categories),
        )
        self._loaded = list(loaded)
        self._free: queue.SimpleQueue[LoadedModel] = queue.SimpleQueue()
        for model in self._loaded:
            self._free.put(model)
        self._shared = self._loaded[0] if self._loaded[0].concurrency == "shared" else None

    def prepare(self, picture: bytes | memoryview | NDArray[np.uint8]) -> Prepared:
        """Decode an encoded picture, or take an array (height, width, 3) uint8 RGB, at the size the model needs."""
        spec = self.input
        if isinstance(picture, np.ndarray):
            return images.prepare_array(picture, spec.width, spec.height, spec.resize)
        return images.prepare(picture, spec.width, spec.height, spec.resize, self._limits)

    def candidates(self, pixels: NDArray[np.uint8]) -> Candidates:
        """Run a prepared picture; unnamed, unsuppressed. Raises `ModelFailed`."""
        return self._head.decode(self._infer(pixels), self._context)

    def detect(self, picture: bytes | memoryview | NDArray[np.uint8]) -> Answer:
        """What is in the picture, down to the floor. Raises `InvalidInput` or `ModelFailed`."""
        started = time.perf_counter()
        prepared = self.prepare(picture)
        decoded = time.perf_counter()
        outputs = self._infer(prepared.pixels)
        inferred = time.perf_counter()
        detections = self.name(self._head.decode(outputs, self._context), prepared)
        ended = time.perf_counter()
        return Answer(
            detections,
            Timings(1e3 * (decoded - started), 1e3 * (inferred - decoded), 1e3 * (ended - inferred)),
            prepared.source_width,
            prepared.source_height,
        )

    def name(self, candidates: Candidates, prepared: Prepared) -> Detections:
        """Suppress, limit, put into the picture's pixels and name. Classes without a category are dropped."""
        known = np.isin(candidates.classes, np.fromiter(self._categories, dtype=np.int64, count=len(self._categories)))
        keep = np.flatnonzero(known & (candidates.scores >= self._floor))
        boxes, classes, scores = candidates.boxes, candidates.classes[keep], candidates.scores[keep]
        if boxes is not None:
            boxes = boxes[keep]
            if self._head.needs_nms:
                best = geometry.nms(boxes, scores, classes, self._inference.nms_iou, MAX_DETECTIONS)
                boxes, classes, scores = boxes[best], classes[best], scores[best]
        order = np.argsort(-scores, kind="stable")[:MAX_DETECTIONS]
        found = Detections()
        in_picture = None if boxes is None else prepared.placement.to_source(boxes)
        for index in order:
            category = self._categories[int(classes[index])]
            named: dict[str, Any] = {
                "category_name": category.name,
                "category_id": category.id,
                "model_name": self._version,
                "confidence": round(float(scores[index]), 4),
            }
            if in_picture is None:
                found.classification_detections.append(ClassificationDetection.model_construct(**named))
                continue
            x1, y1, x2, y2 = (float(value) for value in in_picture[index])
            if category.type == "point":
                named |= {"x": round((x1 + x2) / 2, 2), "y": round((y1 + y2) / 2, 2)}
                found.point_detections.append(PointDetection.model_construct(**named))
                continue
            left, top = round(x1), round(y1)
            named |= {"x": left, "y": top, "width": max(round(x2) - left, 1), "height": max(round(y2) - top, 1)}
            found.box_detections.append(BoxDetection.model_construct(**named))
        return found

    def close(self) -> None:
        """Free the weights and the accelerator. Nothing may be under way."""
        for model in self._loaded:
            model.close()

    def _infer(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        with self._borrowed() as model:
            return model.infer(pixels)

    @contextmanager
    def _borrowed(self) -> Iterator[LoadedModel]:
        if self._shared is not None:
            yield self._shared
            return
        model = self._free.get()
        try:
            yield model
        finally:
            self._free.put(model)
