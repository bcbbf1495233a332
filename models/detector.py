"""A loaded model as a whole: picture in, named detections in the picture's pixels out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import geometry, heads, images
from models.bundle import Bundle
from models.bundle_format import InferenceSpec, WeightsSpec
from models.copies import Copies
from models.errors import DetectorApplianceError, ModelFailed, OutputsImplausible
from models.heads.base import Candidates, HeadContext
from models.images import ImageLimits, Prepared
from models.runtimes.base import Choice, LoadedModel
from models.wire.detections import BoxDetection, ClassificationDetection, Detections, PointDetection

MAX_DETECTIONS = 300
"""Of one picture; the most certain ones are kept."""


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


class Detector:
    """A loaded model. `detect` may be called by as many threads as there are lanes; more wait for one to be free."""

    def __init__(
        self,
        bundle: Bundle,
        inference: InferenceSpec,
        weights: WeightsSpec,
        choice: Choice,
        copies: Copies,
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
        self._copies = copies

    def prepare(self, picture: bytes | memoryview | NDArray[np.uint8]) -> Prepared:
        """Decode an encoded picture, or take an array (height, width, 3) uint8 RGB, at the size the model needs."""
        spec = self.input
        if isinstance(picture, np.ndarray):
            return images.prepare_array(picture, spec.width, spec.height, spec.resize)
        return images.prepare(picture, spec.width, spec.height, spec.resize, self._limits)

    def candidates(self, pixels: NDArray[np.uint8]) -> Candidates:
        """Run a prepared picture; unnamed, unsuppressed. Raises `ModelFailed`."""
        return self.decode(self.outputs(pixels))

    def outputs(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """What the weights say of a prepared picture, before the head reads it. Raises `ModelFailed`."""
        with self._copies.borrowed() as model:
            return self._infer_with(model, pixels)

    def decode(self, outputs: list[NDArray[np.float32]]) -> Candidates:
        """What the head reads from `outputs`. Raises `ModelFailed`."""
        with mapped(OutputsImplausible, f"The head {self._inference.head} cannot read what the model returned"):
            return _checked(self._head.decode(outputs, self._context))

    def suppressed(self, candidates: Candidates) -> Candidates:
        """The candidates that stay after non-maximum suppression (where the head needs one), at most `MAX_DETECTIONS`."""
        boxes, classes, scores = candidates.boxes, candidates.classes, candidates.scores
        if boxes is None or not self._head.needs_nms:
            return candidates
        best = geometry.nms(boxes, scores, classes, self._inference.nms_iou, MAX_DETECTIONS)
        return Candidates(boxes[best], classes[best], scores[best])

    def detect(self, picture: bytes | memoryview | NDArray[np.uint8]) -> Answer:
        """What is in the picture, down to the floor. Raises `InvalidInput` or `ModelFailed`."""
        started = time.perf_counter()
        prepared = self.prepare(picture)
        decoded = time.perf_counter()
        outputs = self.outputs(prepared.pixels)
        inferred = time.perf_counter()
        detections = self.name(self.decode(outputs), prepared)
        ended = time.perf_counter()
        return Answer(
            detections,
            Timings(1e3 * (decoded - started), 1e3 * (inferred - decoded), 1e3 * (ended - inferred)),
            prepared.source_width,
            prepared.source_height,
        )

    def detect_together(self, prepared: Sequence[Prepared]) -> list[Detections]:
        """What is in pictures that were prepared here, in their order, run as one batch where the runtime can do that.

        Raises `ModelFailed`.
        """
        if not prepared:
            return []
        with self._copies.borrowed() as model:
            together = getattr(model, "infer_batch", None)
            if together is None:
                outputs = [self._infer_with(model, each.pixels) for each in prepared]
            else:
                with mapped(ModelFailed, f"The runtime {self.choice.runtime} failed"):
                    outputs = together(np.stack([each.pixels for each in prepared]))
        return [self.name(self.decode(found), each) for found, each in zip(outputs, prepared, strict=True)]

    def name(self, candidates: Candidates, prepared: Prepared) -> Detections:
        """Suppress, limit, put into the picture's pixels and name. Classes without a category are dropped."""
        known = np.isin(candidates.classes, np.fromiter(self._categories, dtype=np.int64, count=len(self._categories)))
        keep = np.flatnonzero(known & (candidates.scores >= self._floor))
        boxes = None if candidates.boxes is None else candidates.boxes[keep]
        kept = self.suppressed(Candidates(boxes, candidates.classes[keep], candidates.scores[keep]))
        boxes, classes, scores = kept.boxes, kept.classes, kept.scores
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
            if x1 >= x2 or y1 >= y2:  # filling without area, or something beside the picture
                continue
            if category.type == "point":
                named |= {"x": round((x1 + x2) / 2, 2), "y": round((y1 + y2) / 2, 2)}
                found.point_detections.append(PointDetection.model_construct(**named))
                continue
            left, width = _whole_pixels(x1, x2, prepared.source_width)
            top, height = _whole_pixels(y1, y2, prepared.source_height)
            named |= {"x": left, "y": top, "width": width, "height": height}
            found.box_detections.append(BoxDetection.model_construct(**named))
        return found

    def close(self) -> None:
        """Free the weights and the accelerator. Nothing may be under way."""
        for model in self._copies.loaded:
            model.close()

    def warm_up(self, picture: bytes | memoryview | NDArray[np.uint8]) -> None:
        """Have every copy look at a picture once, and see that it can. Raises `ModelFailed`."""
        prepared = self.prepare(picture)
        for model in self._copies.loaded:
            self.name(self.decode(self._infer_with(model, prepared.pixels)), prepared)

    def _infer_with(self, model: LoadedModel, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        with mapped(ModelFailed, f"The runtime {self.choice.runtime} failed"):
            return model.infer(pixels)


@contextmanager
def mapped(kind: type[ModelFailed], what: str) -> Iterator[None]:
    """Runtimes and heads of other packages may raise anything; here that becomes `kind`. Our own errors pass."""
    try:
        yield
    except DetectorApplianceError:
        raise
    except Exception as error:
        raise kind(f"{what}: {type(error).__name__}: {error}") from error


def _checked(candidates: Candidates) -> Candidates:
    """The same, if its parts fit each other. Raises ValueError, which says what a head has to return."""
    boxes, classes, scores = candidates.boxes, candidates.classes, candidates.scores
    count = len(scores)
    if scores.shape != (count,) or classes.shape != (count,) or (boxes is not None and boxes.shape != (count, 4)):
        shapes = f"boxes {None if boxes is None else boxes.shape}, classes {classes.shape}, scores {scores.shape}"
        raise ValueError(f"it must give boxes (N, 4), classes (N,) and scores (N,), but gave {shapes}")
    return candidates


def _whole_pixels(low: float, high: float, size: int) -> tuple[int, int]:
    """Start and length, at least one pixel, of what reaches from `low` to `high` in a picture of `size` pixels."""
    start = min(round(low), size - 1)
    return start, max(round(high) - start, 1)
