"""From a bundle to something that detects: which weights, under which runtime, with how many threads."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from models import runtimes
from models.bundle import Bundle
from models.bundle_format import InferenceSpec, WeightsSpec
from models.copies import Copies
from models.detector import Answer, Detector, Timings, mapped
from models.errors import BundleError, ModelFailed, RuntimeMissing
from models.images import ImageLimits
from models.runtimes.base import Choice, LoadedModel
from models.undescribed import inference_of

__all__ = ["MAX_CPU_THREADS", "Answer", "Detector", "Timings", "cpu_threads", "inference_of", "load", "ways"]

MAX_CPU_THREADS = 4
"""More threads than this gain nothing with models of this size, and take the cores from everything else."""


def cpu_threads() -> list[int]:
    """The thread counts worth trying on this box: one, and all that may be used up to `MAX_CPU_THREADS`."""
    usable = min(len(os.sched_getaffinity(0)), MAX_CPU_THREADS)
    return sorted({1, usable})


def ways(inference: InferenceSpec, wanted: str = "auto") -> list[tuple[Choice, WeightsSpec]]:
    """The ways in which this box might run a model, in the bundle's order.

    `wanted` is `auto` or the beginning of a choice: `litert`, `onnx/cpu`, `litert/cpu/2`; a thread count that is not among
    the usual ones is taken as given. Raises `RuntimeMissing` naming what would be needed where there is no way.
    """
    wish = () if wanted == "auto" else tuple(wanted.split("/"))
    threads = [int(wish[2])] if len(wish) > 2 else cpu_threads()
    possible: list[tuple[Choice, WeightsSpec]] = []
    missing: list[str] = []
    for weights in inference.weights:
        try:
            with mapped(ModelFailed, f"The runtime {weights.runtime} cannot say how it would run {weights.file}"):
                choices = runtimes.runtime(weights.runtime).choices(weights, threads)
        except (ModelFailed, BundleError) as error:
            missing.append(str(error))
            continue
        possible += [(choice, weights) for choice in choices]
    found = [(choice, weights) for choice, weights in _told_apart(possible) if choice.parts[: len(wish)] == wish]
    if not found:
        carried = ", ".join(f"{weights.runtime} for {weights.accelerator}" for weights in inference.weights)
        asked = "" if wanted == "auto" else f" as {wanted}, which the settings ask for"
        raise RuntimeMissing(f"This model cannot run here{asked}. It carries {carried}. {' '.join(missing)}".strip())
    return found


def _told_apart(possible: Sequence[tuple[Choice, WeightsSpec]]) -> list[tuple[Choice, WeightsSpec]]:
    """The same, with the name of the weight file in every choice that could mean two."""
    meanings = Counter(choice for choice, _ in possible)
    return [
        (replace(choice, file=weights.file) if meanings[choice] > 1 else choice, weights)
        for choice, weights in possible
    ]


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
        loaded: list[LoadedModel] = []
        try:
            _load_into(loaded, bundle.weights_path(weights), weights, way, cache, lanes)
            copies = Copies(loaded, one_for_itself=len(loaded) > lanes)
            return Detector(bundle, inference, weights, way, copies, floor=floor, limits=limits or ImageLimits())
        except ModelFailed as error:
            _close_all(loaded)
            failures.append(error)
        except BaseException:
            _close_all(loaded)
            raise
    raise failures[0]


def _load_into(
    loaded: list[LoadedModel], path: Path, weights: WeightsSpec, way: Choice, cache: Path, lanes: int
) -> None:
    """Load once, or as often as pictures may be under way where one thread at a time may use a model.

    Pictures side by side get one processor thread each: several threads for each would only wait for one another. So where
    a model is run with several, the copy that has them comes first, for pictures that come alone.
    """
    runtime = runtimes.runtime(way.runtime)
    with mapped(ModelFailed, f"The runtime {way.runtime} cannot load {weights.file}"):
        loaded.append(runtime.load(path, weights, way, cache))
        if loaded[0].concurrency != "copies" or lanes == 1:
            return
        beside = replace(way, threads=1)
        for _ in range(lanes if way.threads > 1 else lanes - 1):
            loaded.append(runtime.load(path, weights, beside, cache))


def _close_all(loaded: Sequence[LoadedModel]) -> None:
    for model in loaded:
        model.close()
