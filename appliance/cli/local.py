"""Detecting without a server: the same worker process and supervision, for as long as the command runs.

A process of its own also here: weights can crash the runtime that runs them, and the other pictures are still to be
answered.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from appliance.inference.choosing import Ways
from appliance.inference.supervisor import InferenceLimits, Picture, Supervisor
from appliance.settings import Settings
from models import runtimes
from models.bundle import Bundle
from models.errors import RuntimeMissing
from models.load import inference_of, ways
from models.wire.image_metadata import ImageMetadata

T = TypeVar("T")

MEGABYTE = 2**20


class LocalModel:
    """A loaded model, between `with` and its end. Belongs to one thread, which has no event loop running.

    Entering raises `ModelFailed` (`RuntimeMissing`) or `BundleError`.
    """

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        self._bundle = bundle
        self._settings = settings
        self._ends = ExitStack()

    def __enter__(self) -> LocalModel:
        with ExitStack() as ends:
            cache = _cache(self._settings, ends)
            self._loop = asyncio.new_event_loop()
            ends.callback(self._loop.close)
            self._supervisor = Supervisor(Unmeasured(self._settings.runtime, cache), cache, self._limits())
            ends.callback(lambda: self._run(self._supervisor.close()))
            self._run(self._supervisor.load(self._bundle))
            self._ends = ends.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    def detect(self, picture: bytes) -> ImageMetadata:
        """What is in a picture. Raises `InvalidInput`, `ModelFailed` or `DetectionUnavailable`."""
        seen = self._run(self._supervisor.detect(Picture(picture), self._settings.load_deadline_s))
        return ImageMetadata.model_validate(seen.detections)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        task = self._loop.create_task(work)
        try:
            return self._loop.run_until_complete(task)
        except KeyboardInterrupt:
            task.cancel()
            self._loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            raise

    def _limits(self) -> InferenceLimits:
        return InferenceLimits(
            inference_deadline=self._settings.inference_deadline_s,
            load_deadline=self._settings.load_deadline_s,
            max_image_bytes=self._settings.max_image_mb * MEGABYTE,
            max_image_pixels=self._settings.max_image_megapixels * 1_000_000,
            floor=1.0,  # nobody looks for uncertain detections here: the model's own threshold counts
        )


class Unmeasured:
    """The ways in which this box can run a model, accelerators first. Measuring pays for a server, not for a picture."""

    def __init__(self, wanted: str, cache: Path) -> None:
        self.wanted = wanted
        self._cache = cache

    async def choose(self, bundle: Bundle) -> Ways:
        """Raises `RuntimeMissing` where there is none."""
        inference = await asyncio.to_thread(inference_of, bundle, self._cache)
        there = [
            choice
            for choice, _ in ways(inference, self.wanted)
            if choice.accelerator == "cpu" or runtimes.runtime(choice.runtime).present(choice.accelerator)
        ]
        if not there:
            raise RuntimeMissing(f"The accelerator that {self.wanted} needs is not there.")
        return Ways(tuple(sorted(there, key=lambda choice: (choice.accelerator == "cpu", -choice.threads))))


def _cache(settings: Settings, ends: ExitStack) -> Path:
    """Where the server caches too; a folder for the time being where that may not be written to."""
    cache = settings.data_folder / "cache"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="appliance-")))
    return cache
