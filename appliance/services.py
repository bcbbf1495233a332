"""The services of one box, handed to everything that offers them: REST, Socket.IO, the dashboard."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast, get_args

from appliance.access import Access
from appliance.api.bodies import MIB, Budget
from appliance.budgets import PickBudgets
from appliance.detecting import NOT_OFFERED, Detecting
from appliance.inference.supervisor import Supervisor
from appliance.metrics import Metrics
from appliance.outbox.queue import Outbox
from appliance.outbox.writer import AutomaticPicks
from appliance.relevance import RelevanceFilter
from appliance.settings import Settings
from appliance.versions.service import Versions
from models.errors import InvalidInput, SettingsInvalid
from models.files import refusal
from models.images import ImageLimits
from models.wire.node_status import AboutResponse, OutboxMode

log = logging.getLogger(__name__)

INCOMING = ".incoming-"
"""How the names of folders begin that hold what is being received."""


def image_limits(settings: Settings) -> ImageLimits:
    """What pictures may have at most."""
    return ImageLimits(settings.max_image_mb * MIB, settings.max_image_megapixels * 1_000_000)


@dataclass(frozen=True)
class PickTotals:
    """Pictures picked for the Loop since the start: `wanted` = `kept` + `waiting` + all that were `dropped`, by reason."""

    wanted: int
    kept: int
    waiting: int
    dropped: dict[str, int]


@dataclass
class Services:
    """One of each; made by `appliance.app`."""

    settings: Settings
    supervisor: Supervisor
    versions: Versions
    detecting: Detecting
    outbox: Outbox
    picks: AutomaticPicks
    access: Access
    metrics: Metrics
    budget: Budget
    relevance: RelevanceFilter
    pick_budgets: PickBudgets
    reread: Callable[[], Settings]
    apply: Callable[[Services, Settings], None]
    _reloading: asyncio.Task[None] | None = None

    def trouble(self) -> str | None:
        """Why the box is not at its best, as a sentence; None if it is."""
        serving = self.supervisor.serving
        if serving is None:
            return self.versions.error or "No model is loaded"
        return serving.degraded or self.versions.error

    @property
    def image_limits(self) -> ImageLimits:
        """What pictures may have at most."""
        return image_limits(self.settings)

    def about(self) -> AboutResponse:
        """`GET /about` and the event `about`: upstream's keys, and what this box adds."""
        serving = self.supervisor.serving
        target = self.versions.target
        return AboutResponse.model_validate(
            {
                "operation_mode": self.versions.operation_mode,
                "state": "online",
                "model_info": self.detecting.model_information(),
                "target_model": target.version if target else None,
                "version_control": self.versions.state.mode,
                "runtime": str(serving.choice) if serving else None,
                "degraded": serving.degraded if serving else None,
                "error": self.versions.error,
                "ways": self.ways(),
            }
        )

    def ways(self) -> list[dict[str, Any]]:
        """How the serving model can be run on this box, as measured."""
        serving = self.supervisor.serving
        return [
            {"runtime": str(way.choice), "milliseconds": way.milliseconds, "reason": way.reason}
            for way in (serving.ways.measured if serving else ())
        ]

    def info(self) -> dict[str, Any]:
        """The event `info`: the model, or why there is none."""
        updating = self.supervisor.updating_to
        if updating is not None:
            return {"status": f"Updating model to version {updating}"}
        model = self.detecting.model_information()
        return model.model_dump(mode="json") if model is not None else {"status": "No model loaded"}

    def pick_totals(self) -> PickTotals:
        """What became of the pictures that detections picked."""
        offered, not_offered, encoding = self.picks.counts(), self.detecting.counters.not_offered, self.detecting.encoding
        dropped: Counter[str] = Counter({str(reason): count for reason, count in offered.dropped.items()})
        dropped.update({str(reason): not_offered[reason] for reason in NOT_OFFERED})
        return PickTotals(
            wanted=offered.wanted + encoding + sum(not_offered.values()),
            kept=offered.kept,
            waiting=offered.waiting + encoding,
            dropped=dict(dropped),
        )

    def outbox_mode(self) -> OutboxMode:
        """Whether pictures are sent to the Loop."""
        return self.outbox.mode

    async def set_outbox_mode(self, word: str) -> None:
        """Raises `InvalidInput` for what is no mode."""
        if word not in get_args(OutboxMode):
            raise InvalidInput(
                f"{word[:60]!r} is no outbox mode; it should be one of {', '.join(get_args(OutboxMode))}"
            )
        await asyncio.to_thread(self.outbox.set_mode, cast(OutboxMode, word))

    def soft_reload(self) -> None:
        """Read the settings again and load the serving bundle beside itself; returns at once.

        One reload at a time: more come to the same.
        """
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reload(), name="soft reload")

    async def _reload(self) -> None:
        try:
            self.apply(self, await asyncio.to_thread(self.reread))
        except SettingsInvalid as error:
            log.error("the settings stay as they are: %s", error)
        try:
            await self.supervisor.reload()
        except Exception:  # nobody waits for the outcome; what served serves on
            log.exception("soft reload failed")

    async def start(self) -> None:
        """Bring a model into service."""
        await asyncio.to_thread(self._sweep)
        await self.versions.start()

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """A folder for what is being received, on the disk where it will live; gone in the end, or at the next start.

        Raises `StorageRefused` where the disk does not let it be made.
        """
        try:
            folder = TemporaryDirectory(dir=self.settings.data_folder, prefix=INCOMING, ignore_cleanup_errors=True)
        except OSError as error:
            raise refusal(error, "receive anything") from error
        with folder as name:
            yield Path(name)

    def _sweep(self) -> None:
        for folder in self.settings.data_folder.glob(f"{INCOMING}*"):
            shutil.rmtree(folder, ignore_errors=True)

    async def reset(self) -> bool:
        """Delete pictures, models and modes; for tests."""
        await asyncio.to_thread(self.outbox.clear)
        await self.versions.reset()
        return True

    async def close(self) -> None:
        """End everything that runs, in the order in which one needs the other."""
        if self._reloading is not None:
            self._reloading.cancel()
            await asyncio.gather(self._reloading, return_exceptions=True)
        await self.versions.close()
        await self.supervisor.close()
        await self.detecting.close()
        await asyncio.to_thread(self.picks.close)
