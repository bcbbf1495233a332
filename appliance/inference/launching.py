"""Starting a worker for a model: the first of several ways that works."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from appliance.inference.dispatching import LANES, Worker
from appliance.inference.serving import InferenceLimits
from appliance.inference.trials import loading_deadline
from appliance.inference.worker import WorkerOrder
from models.bundle import Bundle
from models.errors import ModelFailed
from models.runtimes.base import Choice

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds, and so many times what it took before: an accelerator that needs longer to load a model again hangs."""


Launch = Callable[[WorkerOrder, float], Awaitable[Worker]]
"""See `appliance.inference.process.WorkerProcess.launch`."""


class Launcher:
    """Knows what every worker is told, and how long it may take."""

    def __init__(self, cache: Path, limits: InferenceLimits, launch: Launch) -> None:
        self._cache = cache
        self.limits = limits
        self._launch = launch

    async def first_that_starts(
        self, bundle: Bundle, choices: tuple[Choice, ...], usual: float | None = None
    ) -> tuple[Worker, str | None]:
        """The first worker that starts, and why those did not that were tried before it.

        `usual`: seconds that the first of several choices took when it was started last.
        """
        failures: list[str] = []
        for choice in choices:
            order = WorkerOrder(
                folder=str(bundle.folder),
                choice=str(choice),
                cache=str(self._cache),
                floor=min(self.limits.floor, bundle.model.score_threshold),
                lanes=LANES,
                max_bytes=self.limits.max_image_bytes,
                max_pixels=self.limits.max_image_pixels,
            )
            deadline = loading_deadline(choice, self.limits.load_deadline)
            if usual is not None and choice is not choices[-1]:
                deadline = min(deadline, PATIENCE * (1.0 + usual))
            try:
                return await self._launch(order, deadline), "; ".join(failures) or None
            except ModelFailed as error:
                log.warning("the model does not load as %s: %s", choice, error)
                failures.append(f"It does not load as {choice}: {error}")
        raise ModelFailed("; ".join(failures))
