"""The fastest way in which this box can run a model: measured once, checked that all ways agree, remembered.

What is fast differs from box to box (on x86 ONNX Runtime often wins, on ARM often LiteRT), so it is measured and not
looked up. Measuring happens in a process of its own: it loads libraries that the winner does not need, and weights may crash.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import geometry
from models.bundle import Bundle
from models.errors import DetectorApplianceError
from models.heads.base import Candidates
from models.load import inference_of, load, ways
from models.runtimes.base import Choice

BUDGET = 2.0
"""Seconds for the inferences of all ways together."""

INFERENCES = 5
"""At most, for each way."""

ABOUT_AS_FAST = 1.1
"""Times within this factor of the best one are no difference that a robot would notice."""

COMPARED = 5
"""So many of the most certain candidates have to be found by the other way, too."""

SCORE_TOLERANCE = 0.15
"""Quantized and float weights of one model differ by a few hundredths; this is well above and far below nonsense."""


@dataclass(frozen=True)
class Measured:
    """One way to run the model: milliseconds an inference takes, or the reason why it is out of question."""

    choice: Choice
    milliseconds: float | None
    reason: str | None = None


def machine() -> str:
    """What measured times depend on, beside the model."""
    cores = len(os.sched_getaffinity(0))
    return "|".join((platform.machine(), _processor(), str(cores), platform.python_version()))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))), "")


def sample(width: int, height: int) -> NDArray[np.uint8]:
    """A drawn scene, uint8 RGB (height, width, 3): large round and angular things on a gradient. The same every time."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    scene: NDArray[np.uint8] = np.ascontiguousarray(np.stack([x, y, 255 - (x + y) / 2], axis=-1).astype(np.uint8))
    unit = min(width, height)
    import cv2  # here: who only compares measurements need not carry it

    cv2.circle(scene, (width // 3, height // 3), unit // 5, (240, 120, 20), -1)
    cv2.circle(scene, (width // 3, height // 3), unit // 6, (250, 240, 230), max(unit // 60, 1))
    cv2.rectangle(scene, (width // 2, height // 2), (width * 9 // 10, height * 9 // 10), (30, 30, 40), -1)
    cv2.rectangle(
        scene, (width * 11 // 20, height * 11 // 20), (width * 17 // 20, height * 16 // 20), (90, 160, 220), -1
    )
    return scene


def agree(reference: Candidates, other: Candidates) -> bool:
    """Whether another way sees the same things: the most certain candidates of each, with about the same score.

    A second class that the other way sees in the same place is no contradiction: runtimes differ in whether they report
    it. Boxes without area are filling that some heads append, and are not compared.
    """
    return _seen_by(other, reference) and _seen_by(reference, other, as_any_class=other.boxes is not None)


def _seen_by(viewer: Candidates, candidates: Candidates, *, as_any_class: bool = False) -> bool:
    """Whether the viewer is about as sure of the most certain candidates. What it does not see it sees with a score of 0."""
    scores = candidates.scores
    if candidates.boxes is not None:
        width, height = (candidates.boxes[:, 2:] - candidates.boxes[:, :2]).T
        scores = np.where((width > 0) & (height > 0), scores, 0.0)
    for index in np.argsort(-scores, kind="stable")[:COMPARED]:
        similar = (viewer.classes == candidates.classes[index]) | as_any_class
        if candidates.boxes is not None and viewer.boxes is not None:
            similar &= geometry.iou_matrix(candidates.boxes[index : index + 1], viewer.boxes)[0] >= 0.5
        if viewer.scores[similar].max(initial=0.0) < scores[index] - SCORE_TOLERANCE:
            return False
    return True


def measure(
    bundle: Bundle,
    cache: Path,
    wanted: str = "auto",
    skip: Sequence[Choice] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Choice | Measured]:
    """Try every way to run the bundle; yields a way before it is tried, and what came of it afterwards.

    The yield before is for whoever has to know what was being tried when the process died. `skip`: ways that did that.
    Ways that do not agree with the first CPU way are out of question.
    """
    inference = inference_of(bundle, cache)
    candidates = [choice for choice, _ in ways(inference, wanted) if choice not in skip]
    # A CPU way first: it is what the others have to agree with.
    candidates.sort(key=lambda choice: choice.accelerator != "cpu")
    reference: Candidates | None = None
    for choice in candidates:
        yield choice
        try:
            detector = load(bundle, choice, cache=cache, lanes=1)
            try:
                picture = sample(detector.input.width, detector.input.height)
                seen = detector.candidates(picture)
                milliseconds = _best_time(partial(detector.candidates, picture), BUDGET / len(candidates), clock)
            finally:
                detector.close()
        except DetectorApplianceError as error:
            yield Measured(choice, None, str(error))
            continue
        if reference is None:
            reference = seen
        if agree(reference, seen):
            yield Measured(choice, milliseconds)
        else:
            yield Measured(choice, None, "sees other things than the CPU does in the same picture")


def _best_time(run: Callable[[], object], seconds: float, clock: Callable[[], float]) -> float:
    """Milliseconds of the fastest of as many runs as fit into `seconds`, two at least and `INFERENCES` at most.

    The fastest, because the box does other things while it measures, and they only ever make a run slower.
    """
    times: list[float] = []
    until = clock() + seconds
    while len(times) < INFERENCES and (len(times) < 2 or clock() < until):
        started = clock()
        run()
        times.append(clock() - started)
    return 1e3 * min(times)


def ranked(measured: Sequence[Measured]) -> list[Measured]:
    """The ways that work, fastest first. Of those that are about as fast as the fastest, one with fewer threads: what it
    leaves of the processor serves the next picture.
    """
    working = [(way.milliseconds, way) for way in measured if way.milliseconds is not None]
    as_fast = ABOUT_AS_FAST * min((milliseconds for milliseconds, _ in working), default=0.0)

    def rank(entry: tuple[float, Measured]) -> tuple[bool, int, float, Choice]:
        milliseconds, way = entry
        slower = milliseconds > as_fast
        return slower, 0 if slower else way.choice.threads, milliseconds, way.choice

    return [way for _, way in sorted(working, key=rank)]
