"""The services of one box, handed to everything that offers them: REST, Socket.IO, the dashboard."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

from access import Access
from appliance import overlay
from appliance.accelerator_vitals import Accelerators
from appliance.adopting.record import Record
from appliance.api.bodies import MIB, Budget
from appliance.budgets import PickBudgets
from appliance.connection import LoopConnection
from appliance.detecting import NOT_OFFERED, Detecting
from appliance.inference.supervisor import Supervisor
from appliance.logins import Logins
from appliance.logs import RecentLines
from appliance.metrics import Metrics
from appliance.outbox.queue import Outbox
from appliance.outbox.report import OutboxReport, report
from appliance.outbox.uploader import Uploader
from appliance.outbox.writer import AutomaticPicks
from appliance.relevance import RelevanceFilter
from appliance.reporting import Reporter
from appliance.settings import OVERLAY_FILE, Settings
from appliance.versions.service import Versions
from models.errors import InvalidInput, SettingsInvalid
from models.files import FILE_SYSTEM, refusal
from models.identity import UUIDS_FILE, node_uuid
from models.images import ImageLimits
from models.loop.client import LoopClient
from models.uninterrupted import in_thread, to_its_end
from models.wire.loop import DetectorStatus
from models.wire.node_status import AboutResponse, OutboxMode
from models.zoo import SEED_ORGANIZATION

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
    logins: Logins
    metrics: Metrics
    budget: Budget
    relevance: RelevanceFilter
    pick_budgets: PickBudgets
    adopted: Record
    connection: LoopConnection
    reread: Callable[[], Settings]
    apply: Callable[[Services, Settings], None]
    loop: LoopClient | None = None
    reporter: Reporter | None = None
    uploader: Uploader | None = None
    restart: Callable[[], None] | None = None
    """Ends this process in good order, and has another one take its place; None where somebody else started it."""
    accelerators: Accelerators = field(default_factory=Accelerators)
    logs: RecentLines = field(default_factory=RecentLines)
    due: dict[str, Any] = field(default_factory=dict)
    """Settings that were changed and count from the next start on, with the values that they will have."""
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _reloading: asyncio.Task[None] | None = None
    _uuid: str = ""
    started: float = field(default_factory=time.monotonic)

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
                "update": self.versions.update.model_dump(),
                "update_lock": self.update_lock(),
                "loop": self.loop_in_words(),
            }
        )

    def ways(self) -> list[dict[str, Any]]:
        """How the serving model can be run on this box, as measured."""
        serving = self.supervisor.serving
        return [
            {"runtime": str(way.choice), "milliseconds": way.milliseconds, "reason": way.reason}
            for way in (serving.ways.measured if serving else ())
        ]

    def update_lock(self) -> dict[str, Any]:
        """The lease under which no model is swapped."""
        left = self.versions.lock.seconds_left
        return {"held": left > 0, "seconds_left": round(left, 1)}

    def loop_in_words(self) -> dict[str, Any]:
        """Whether the Loop answers, and whether it knows how this box is."""
        reporter = self.reporter
        return {**self.connection.in_words(), "not_reported": reporter.problem if reporter is not None else None}

    def detector_status(self) -> DetectorStatus:
        """What the Loop is told of this box. The seed model is none of the Loop's: while it serves there is no model."""
        versions, serving = self.versions, self.supervisor.serving
        current, target = versions.current, versions.target
        ours = current is not None and current.organization != SEED_ORGANIZATION
        errors = {"update_model": versions.error, "inference": serving.degraded if serving is not None else None}
        return DetectorStatus(
            uuid=self._uuid,
            name=self.settings.node_name,
            uptime=int(time.monotonic() - self.started),
            model_format=current.format if current is not None and ours else versions.scope.formats[0],
            current_model=current.version if current is not None and ours else None,
            target_model=target.version if target is not None else None,
            errors={key: sentence for key, sentence in errors.items() if sentence is not None},
            operation_mode=versions.operation_mode,
            node_version=self.settings.node_version,
        )

    def set_repeating(self, on: bool) -> None:
        """Whether the box asks and tells the Loop, and changes its model by itself; for tests of whole systems."""
        self.versions.set_paused(not on)
        if self.reporter is not None:
            self.reporter.set_paused(not on)
        if self.uploader is not None:
            self.uploader.set_paused(not on)

    def info(self) -> dict[str, Any]:
        """The event `info`: the model, or why there is none."""
        updating = self.supervisor.updating_to
        if updating is not None:
            return {"status": f"Updating model to version {updating}"}
        model = self.detecting.model_information()
        return model.model_dump(mode="json") if model is not None else {"status": "No model loaded"}

    def pick_totals(self) -> PickTotals:
        """What became of the pictures that detections picked."""
        offered, not_offered, encoding = (
            self.picks.counts(),
            self.detecting.counters.not_offered,
            self.detecting.encoding,
        )
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

    async def outbox_report(self) -> OutboxReport:
        """How the outbox is."""
        status = self.uploader.status() if self.uploader is not None else None
        return await asyncio.to_thread(report, self.outbox, status, self.settings.loop_host, asdict(self.pick_totals()))

    async def set_outbox_mode(self, word: str) -> None:
        """With `stopped`, no byte leaves once this returns. Raises `InvalidInput` for what is no mode."""
        if word not in get_args(OutboxMode):
            raise InvalidInput(
                f"{word[:60]!r} is no outbox mode; it should be one of {', '.join(get_args(OutboxMode))}"
            )
        if self.uploader is None:
            await asyncio.to_thread(self.outbox.set_mode, word)
        else:
            await self.uploader.set_mode(word)

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

    async def change_settings(self, changes: Mapping[str, Any]) -> None:
        """Change what people may change, for good, and put it into force as far as that goes; None goes back to what a file
        or the default says. Raises as `appliance.overlay.change_all`.
        """
        async with self._changing:
            await to_its_end(self._put_into_force(changes))

    async def _put_into_force(self, changes: Mapping[str, Any]) -> None:
        self.apply(self, await in_thread(self._write_and_read, changes))

    def _write_and_read(self, changes: Mapping[str, Any]) -> Settings:
        path = self.settings.data_folder / OVERLAY_FILE
        before = overlay.read(path)
        overlay.change_all(self.settings, changes, FILE_SYSTEM)
        try:
            return self.reread()
        except SettingsInvalid:  # with what files say besides they would contradict each other at the next start
            overlay.write(path, before, FILE_SYSTEM)
            raise

    async def start(self) -> None:
        """Bring a model into service, and begin to speak with the Loop; nothing waits for its answers."""
        await self.logins.start()  # before lines of the log are remembered: it may say a secret
        self.logs.begin()
        await asyncio.to_thread(self._sweep)
        settings, versions = self.settings, self.versions
        if self.reporter is not None:
            path = settings.data_folder / UUIDS_FILE
            self._uuid = await asyncio.to_thread(node_uuid, path, settings.node_name, FILE_SYSTEM)
        if settings.skip_repeat_on_start and versions.watch is not None and self.reporter is not None:
            versions.watch.set_paused(True)
            self.reporter.set_paused(True)
        await versions.start()
        if self.reporter is not None:
            self.reporter.start()
        if self.uploader is not None:
            self.uploader.start(paused=settings.skip_repeat_on_start)

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
        if self.uploader is not None:
            await self.uploader.close()
        if self.reporter is not None:
            await self.reporter.close()
        await self.logins.close()
        await self.versions.close()
        await self.supervisor.close()
        await self.detecting.close()
        await asyncio.to_thread(self.picks.close)
        await asyncio.to_thread(self.outbox.close)
        if self.loop is not None:
            await self.loop.close()
        self.logs.end()
