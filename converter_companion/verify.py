"""The parity gate: the same pictures through a model and through what was made of it, and how far the two are apart."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converter_companion import classified
from converter_companion import pictures as picture_files
from converter_companion.outputs import by_rank, difference
from converter_companion.pairs.base import Progress
from converter_companion.report import Comparison, Limits, ParityReport, Side, judge, mean
from converter_companion.truth import Boxes, Truth, known, map50
from models import geometry, heads, runtimes
from models.bundle import Bundle
from models.bundle_format import InferenceSpec, WeightsSpec
from models.detector import Detector
from models.errors import DetectorApplianceError, ImageUnreadable, InputTooLarge, InvalidInput, ModelFailed
from models.load import inference_of, load, ways

PICTURES = 100
"""Compared as a rule: each costs its time."""

FLOOR = 0.05
"""Confidence from which detections count for mAP."""

MARGIN = 0.1
"""A detection just above the threshold may be just below it in the other: so far below it is looked for."""

SAME = 0.5
"""IoU from which two boxes of a category are the same thing."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Look:
    """What one set of weights said of one picture. `scale`: pixels of the picture for one of the input, x and y.

    `classes`: confidence of every class of the whole picture; None of a detector. What classifies has no boxes.
    """

    boxes: Boxes
    classes: classified.Classes | None
    outputs: Mapping[str, NDArray[np.float32]]
    scale: tuple[float, float]
    seconds: float


@dataclass
class _Drift:
    """What is collected over all pictures."""

    shifts: list[float] = field(default_factory=list)
    shifts_input: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    matched: int = 0
    counted: int = 0


def compare(
    source: Bundle,
    result: Bundle,
    pictures: Sequence[Path],
    *,
    cache: Path,
    truth: Truth | None = None,
    limits: Limits | None = None,
    progress: Progress = lambda _share, _doing: None,
    clock: Clock = time.perf_counter,
    most: int = PICTURES,
) -> ParityReport:
    """Run both over at most `most` of the pictures; weights that cannot be run on this machine are named. Blocks.

    `truth` gives what is really in the pictures, by file name. Raises `InvalidInput` where no picture can be read, and
    `ModelFailed` or `BundleError` where the source does not run.
    """
    limits = limits or Limits()
    truth = known(truth or {}, (category.name for category in source.model.categories))
    files, unreadable = _readable(picture_files.sample(pictures, most))
    threshold = source.model.score_threshold
    inference = inference_of(source, cache)
    choice, weights = next(
        ((choice, weights) for choice, weights in ways(inference) if choice.accelerator == "cpu"), ways(inference)[0]
    )
    progress(0.0, "showing the source pictures")
    before = _look(source, weights, str(choice), files, cache, clock)
    described = _side(source, weights, str(choice), before, threshold, truth)
    results = []
    made = inference_of(result, cache)
    for number, each in enumerate(made.weights):
        progress((number + 1) / (len(made.weights) + 1), f"comparing {each.file} with its source")
        results.append(_compared(result, made, each, files, cache, clock, before, described, threshold, truth, limits))
    return ParityReport(
        pictures=len(files),
        unreadable=unreadable,
        annotated=sum(name in truth for name in files),
        threshold=threshold,
        source=described,
        results=results,
        limits=limits,
    )


def _compared(
    result: Bundle,
    made: InferenceSpec,
    weights: WeightsSpec,
    files: Mapping[str, bytes],
    cache: Path,
    clock: Clock,
    before: Mapping[str, Look],
    source: Side,
    threshold: float,
    truth: Truth,
    limits: Limits,
) -> Comparison:
    more = weights.model_extra or {}
    quantized = weights.input.dtype in ("int8", "uint8") or bool(more.get("quantized"))
    compared = Comparison(file=weights.file, quantized=quantized, half=bool(more.get("half")))
    try:
        way = _way(made, weights)
    except DetectorApplianceError as error:
        return compared.model_copy(update={"not_run": str(error)})
    accelerator = way.split("/")[1]
    if not runtimes.runtime(weights.runtime).present(accelerator):
        return compared.model_copy(update={"not_run": f"there is no {accelerator} on this machine"})
    try:
        after = _look(result, weights, way, files, cache, clock)
    except DetectorApplianceError as error:
        if weights.accelerator in ("cpu", "any"):
            raise ModelFailed(f"The converted weights {weights.file} do not run: {error}") from error
        return compared.model_copy(update={"not_run": str(error)})
    drift, classes = _Drift(), classified.Drift()
    errors: dict[str, list[float]] = {}
    ranks = not heads.head(made.head).needs_nms
    for name, look in after.items():
        known_classes = before[name].classes
        if (known_classes is None) != (look.classes is None):
            raise ModelFailed(f"{weights.file} is another kind of model: only one of the two finds things in boxes.")
        if known_classes is not None and look.classes is not None:
            classes.add(known_classes, look.classes)
        else:
            _collect(drift, before[name], look, threshold)
        for output in look.outputs.keys() & before[name].outputs.keys():
            one, other = before[name].outputs[output], look.outputs[output]
            if (
                one.shape != other.shape
            ):  # another kind of output, of which only what the head makes of it can be compared
                continue
            if ranks and look.classes is None:  # it puts out things by rank, and may rank those that are nothing anew
                one, other = by_rank(one), by_rank(other)
            errors.setdefault(output, []).append(difference(one, other))
    compared = compared.model_copy(
        update={
            "result": _side(result, weights, way, after, threshold, truth),
            "matched_share": drift.matched / drift.counted if drift.counted else None,
            "same_best": classes.same_best / classes.pictures if classes.pictures else None,
            "mean_shift_px": mean(drift.shifts),
            "largest_shift_px": max(drift.shifts, default=None),
            "mean_shift_input": mean(drift.shifts_input),
            "largest_shift_input": max(drift.shifts_input, default=None),
            "mean_score_drift": mean(drift.scores + classes.scores),
            "largest_score_drift": max(drift.scores + classes.scores, default=None),
            "output_errors": {name: sum(values) / len(values) for name, values in sorted(errors.items())},
        }
    )
    return compared.model_copy(update={"exceeded": judge(compared, source, limits)})


def _way(inference: InferenceSpec, weights: WeightsSpec) -> str:
    """How these weights are run here, with one thread on the CPU where they can be."""
    alone = inference.model_copy(update={"weights": [weights]})
    found = [choice for choice, _ in ways(alone)]
    cpu = [choice for choice in found if choice.accelerator == "cpu"]
    return str((cpu or found)[0])


def _look(
    bundle: Bundle, weights: WeightsSpec, way: str, files: Mapping[str, bytes], cache: Path, clock: Clock
) -> dict[str, Look]:
    """Run one set of weights over all pictures."""
    inference = inference_of(bundle, cache).model_copy(update={"weights": [weights]})
    alone = Bundle(bundle.folder, bundle.model.model_copy(update={"inference": inference}))
    choice = next(choice for choice, _ in ways(inference, "/".join(way.split("/")[:3])))
    detector = load(alone, choice, cache=cache, lanes=1)
    try:
        first = next(iter(files.values()))
        detector.outputs(detector.prepare(first).pixels)  # the first run of everything is slow
        names = weights.outputs
        return {name: _look_at(detector, alone, data, names, clock) for name, data in files.items()}
    finally:
        detector.close()


def _look_at(detector: Detector, bundle: Bundle, data: bytes, names: Mapping[str, int], clock: Clock) -> Look:
    prepared = detector.prepare(data)
    started = clock()
    outputs = detector.outputs(prepared.pixels)
    seconds = clock() - started
    candidates = detector.decode(outputs)
    categories = bundle.model.categories_by_class()
    named = np.array([number in categories for number in candidates.classes], dtype=bool)
    seen = named & (candidates.scores >= FLOOR)
    whole: dict[str, float] | None = None
    if candidates.boxes is None:
        whole = {
            categories[int(number)].name: float(score)
            for number, score in zip(candidates.classes[named], candidates.scores[named], strict=True)
        }
        corners, classes, scores = np.empty((0, 4), np.float32), candidates.classes[:0], candidates.scores[:0]
    else:
        kept = detector.suppressed(
            type(candidates)(candidates.boxes[seen], candidates.classes[seen], candidates.scores[seen])
        )
        assert kept.boxes is not None
        corners, classes, scores = prepared.placement.to_source(kept.boxes), kept.classes, kept.scores
        area = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
        corners, classes, scores = corners[area], classes[area], scores[area]
    return Look(
        Boxes(corners, [categories[int(number)].name for number in classes], scores),
        whole,
        {name: outputs[index] for name, index in names.items() if index < len(outputs)},
        (1 / prepared.placement.scale_x, 1 / prepared.placement.scale_y),
        seconds,
    )


def _collect(drift: _Drift, before: Look, after: Look, threshold: float) -> None:
    """Match both ways: what the source sees and the result lacks counts like what only the result sees."""
    pairs = _pairs(before.boxes, after.boxes, threshold)
    for one, other in pairs:
        shift = np.abs(before.boxes.corners[one] - after.boxes.corners[other])
        in_input = shift / np.array(before.scale * 2, np.float32)
        drift.shifts.append(float(shift.max()))
        drift.shifts_input.append(float(in_input.max()))
        drift.scores.append(abs(float(before.boxes.scores[one] - after.boxes.scores[other])))
    ours = set(np.flatnonzero(before.boxes.scores >= threshold).tolist())
    theirs = set(np.flatnonzero(after.boxes.scores >= threshold).tolist())
    drift.counted += len(ours) + len(theirs)
    drift.matched += len(ours & {one for one, _ in pairs}) + len(theirs & {other for _, other in pairs})


def _pairs(before: Boxes, after: Boxes, threshold: float) -> list[tuple[int, int]]:
    """Indices of the same things, each once, the best overlap first; at least one of the two is above the threshold."""
    overlap = geometry.iou_matrix(before.corners, after.corners)
    same = np.array([[one == other for other in after.names] for one in before.names], dtype=bool).reshape(
        overlap.shape
    )
    lowest = max(FLOOR, threshold - MARGIN)
    sure = (before.scores[:, None] >= threshold) | (after.scores[None, :] >= threshold)
    near = (before.scores[:, None] >= lowest) & (after.scores[None, :] >= lowest)
    overlap = np.where(same & sure & near, overlap, 0.0)
    pairs: list[tuple[int, int]] = []
    while overlap.size and overlap.max() >= SAME:
        one, other = (int(index) for index in np.unravel_index(int(overlap.argmax()), overlap.shape))
        pairs.append((one, other))
        overlap[one, :] = 0.0
        overlap[:, other] = 0.0
    return pairs


def _side(
    bundle: Bundle, weights: WeightsSpec, way: str, looks: Mapping[str, Look], threshold: float, truth: Truth
) -> Side:
    whole = {name: look.classes for name, look in looks.items() if look.classes is not None}
    annotated = {name: look.boxes for name, look in looks.items() if name in truth and look.classes is None}
    reached = map50(truth, annotated) if annotated else math.nan
    right = classified.accuracy(truth, whole)
    return Side(
        file=weights.file,
        runtime=way,
        size_bytes=bundle.weights_path(weights).stat().st_size,
        latency_ms=1e3 * float(np.median([look.seconds for look in looks.values()])),
        detections=sum(int((look.boxes.scores >= threshold).sum()) for look in looks.values())
        + classified.sure(whole.values(), threshold),
        map50=None if math.isnan(reached) else reached,
        classified=len(whole),
        accuracy=None if math.isnan(right) else right,
    )


def _readable(paths: Sequence[Path]) -> tuple[dict[str, bytes], int]:
    """File name -> bytes of the pictures that can be decoded, and the number of the others."""
    from models.images import check_picture

    found: dict[str, bytes] = {}
    for path in paths:
        try:
            data = path.read_bytes()
            check_picture(data)
        except (ImageUnreadable, InputTooLarge, OSError):
            continue
        found[path.name] = data
    if not found:
        raise InvalidInput(
            "There is no picture to compare the converted model with its source on: the project has none that can be read, "
            "nor has the folder that --images names on the command line."
        )
    return found, len(paths) - len(found)
