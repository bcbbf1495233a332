"""The converter as a node of a Loop: looks every minute for models that lack a format, makes it, and gives it back.

One conversion at a time, in a thread; what it needs lies in `DATA/work` meanwhile and is removed afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from companions.connection import Connection
from converter_companion import convert as conversion
from converter_companion import project_pictures
from converter_companion.circumstances import Pictures
from converter_companion.circumstances import of as circumstances_of
from converter_companion.convert import Conversion, Means
from converter_companion.pairs.base import Progress
from converter_companion.plan import Failure, Task, due, is_settled, past
from converter_companion.report import ParityExceeded, ParityReport
from converter_companion.settings import ConverterSettings
from converter_companion.state import Memory
from converter_companion.truth import Truth
from models.bundle import Bundle, bundle_files, unpack
from models.errors import (
    AlreadyInLoop,
    DetectorApplianceError,
    LoginFailed,
    LoopBusy,
    LoopError,
    LoopUnreachable,
    NotApplicable,
    NotInLoop,
    StorageRefused,
)
from models.files import FILE_SYSTEM, FileSystem, refusal
from models.loop.client import LoopClient, LoopProject
from models.loop.node import MakeSocket, make_socket
from models.uninterrupted import in_thread, to_its_end

log = logging.getLogger(__name__)

NODE_TYPE = "converter"
MOST_RECENT = 50
"""Conversions that are remembered for the page."""

ENDS_WITHIN_S = 3.0
"""A conversion that is not wanted any more; what it leaves behind is removed at the next start."""

_MIB = 1024 * 1024

Sleep = Callable[[float], Awaitable[None]]


class Convert(Protocol):
    """`converter_companion.convert.convert`."""

    def __call__(
        self,
        bundle: Bundle,
        target: str,
        out: Path,
        images: Any,
        progress: Progress,
        *,
        means: Means,
        source_format: str | None = None,
        annotations: Truth | None = None,
        stopped: threading.Event | None = None,
    ) -> Conversion: ...


@dataclass(frozen=True)
class Done:
    """What came of one conversion. `reason` is None if it worked; `report` where source and result were compared."""

    task: Task
    when: float
    seconds: float
    reason: str | None = None
    report: ParityReport | None = None


@dataclass
class Now:
    """What is being done."""

    task: Task
    share: float = 0.0
    doing: str = ""


class ConverterNode:
    """See `companions.server.Companion`. `restart` ends the program and starts it anew."""

    def __init__(
        self,
        settings: ConverterSettings,
        *,
        restart: Callable[[], None],
        client: LoopClient | None = None,
        files: FileSystem = FILE_SYSTEM,
        convert: Convert = conversion.convert,
        sleep: Sleep = asyncio.sleep,
        now: Callable[[], float] = time.time,
        make_socket: MakeSocket = make_socket,
    ) -> None:
        self.settings = settings
        self.connection = Connection(
            client if client is not None else settings.loop_client(),
            NODE_TYPE,
            heartbeat=self._beat,
            restart=restart,
            organization=settings.loop_organization or "",
            project=settings.loop_project or "",
            make_socket=make_socket,
        )
        self.memory = Memory(settings.data_folder / "converter.json", files)
        self.current: Now | None = None
        self.recent: list[Done] = []
        self.trouble: str | None = None
        self.looked_at: float | None = None
        self._files = files
        self._convert = convert
        self._sleep = sleep
        self._now = now
        self._stopped = threading.Event()
        self._working: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    async def start(self) -> None:
        """Read what is remembered, and begin to look. Raises `StorageRefused`."""
        await in_thread(self.memory.load)
        await in_thread(self._clear_work)
        self._working = asyncio.create_task(self._work(), name="conversions")

    async def close(self) -> None:
        """End within seconds; a conversion that is under way is begun anew after the next start."""
        self._stopped.set()
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

    def status(self) -> Mapping[str, Any]:
        """See `companions.server.Companion.status`."""
        current = self.current
        return {
            "state": "idle" if current is None else "converting",
            "converting": None if current is None else current.task.words,
            "progress": None if current is None else round(current.share, 3),
            "doing": None if current is None else current.doing,
            "trouble": self.trouble,
            "failed": sum(each.applies for each in self.memory.failures.values()),
            "not_applicable": sum(not each.applies for each in self.memory.failures.values()),
        }

    async def try_again(self, key: str) -> None:
        """Forget that a conversion failed, and look again at once. Raises `StorageRefused`."""
        await in_thread(self.memory.forget, key)
        self._wanted.set()

    async def _beat(self) -> bool:
        """A converter has nothing to tell; the connection is how people see it and can restart it."""
        return True

    async def _work(self) -> None:
        while True:
            self._wanted.clear()
            if self.connection.is_on:
                try:
                    await self.look()
                except DetectorApplianceError as error:
                    self._tell(str(error))
                except Exception as error:
                    # Supervises the node's work: a bug in one look must be seen, and must not end all others.
                    log.exception("looking for models to convert failed")
                    self._tell(f"looking for models to convert failed ({type(error).__name__}); the log tells more")
            await self._pause()

    async def _pause(self) -> None:
        """Until it is time for the next look, or somebody wants one."""
        pauses = [
            asyncio.ensure_future(self._sleep(self.settings.poll_seconds)),
            asyncio.ensure_future(self._wanted.wait()),
        ]
        try:
            await asyncio.wait(pauses, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pause in pauses:
                pause.cancel()

    async def look(self) -> None:
        """Look once at every project, and make what is missing. Raises `LoopError` where the Loop cannot be asked."""
        client = self.connection.client
        if client is None:
            return
        trouble: str | None = None
        lacking: list[Task] = []
        unread: list[tuple[str, str]] = []
        for listed in await client.projects():
            project = client.project(listed.organization_id, listed.project_id)
            try:
                models = await project.models()
            except LoopUnreachable:
                raise
            except LoopError as error:
                trouble = str(error)
                unread.append((listed.organization_id, listed.project_id))
                continue
            pictures = Pictures(project)
            tasks = due(listed.organization_id, listed.project_id, models, self.settings.pairs)
            lacking += tasks
            for task in tasks:
                trouble = await self._try(project, task, pictures) or trouble
        await in_thread(self.memory.forget, *past(self.memory.failures, lacking, unread))
        self.looked_at = self._now()
        self._tell(trouble)

    async def _try(self, project: LoopProject, task: Task, counted: Pictures) -> str | None:
        """Do one task unless it is settled; the sentence of what is wrong but not the model's fault."""
        circumstances = await in_thread(circumstances_of, self.settings, task)
        if (before := self.memory.failures.get(task.key)) is not None:
            try:
                number = await counted.number() if before.applies else 0
                circumstances_now = circumstances.that_matter(before.applies, number)
                probe = await project.probe_model(task.model_id, task.source)
            except NotInLoop:
                await in_thread(self.memory.forget, task.key)
                return None
            file = None if probe is None else f"{probe.etag} {probe.size}"
            if is_settled(task, self.memory.failures, file, circumstances_now):
                return None
        started = self._now()
        self.current = Now(task)
        log.info("converting %s", task.words)
        pictures, file, report = 0, "", None
        try:
            try:
                report = await self._make(project, task)
            except _Failed as failed:
                pictures, file = failed.pictures, failed.file
                raise failed.error from None
        except NotInLoop as error:
            log.info("%s is gone: %s", task.words, error)
            await in_thread(self.memory.forget, task.key)
            return None
        except (LoopUnreachable, LoopBusy, LoginFailed, StorageRefused) as error:
            # Not the model's fault: it is tried again at the next look.
            self._note(Done(task, self._now(), self._now() - started, str(error)))
            return str(error)
        except DetectorApplianceError as error:
            applies = not isinstance(error, NotApplicable)
            failure = Failure(
                reason=str(error),
                file=file,
                circumstances=circumstances.that_matter(applies, pictures),
                applies=applies,
                version=task.version,
                when=self._now(),
            )
            await in_thread(self.memory.remember, task.key, failure)
            if applies:
                log.warning("%s cannot be converted: %s", task.words, error)
                compared = error.report if isinstance(error, ParityExceeded) else None
                self._note(Done(task, self._now(), self._now() - started, str(error), compared))
            else:
                log.info("not for this network: %s: %s", task.words, error)
            return None
        finally:
            self.current = None
        await in_thread(self.memory.forget, task.key)
        self._note(Done(task, self._now(), self._now() - started, report=report))
        for sentence in report.left_out if report is not None else ():
            log.warning("%s: %s", task.words, sentence)
        log.info("converted %s in %.0f s", task.words, self._now() - started)
        return None

    async def _make(self, project: LoopProject, task: Task) -> ParityReport | None:
        """Download, convert, upload. Raises `_Failed` around every error of ours once there is something to remember."""
        work = self.settings.data_folder / "work"
        await in_thread(self._clear_work)
        pictures, file = 0, ""
        try:
            probe = await project.probe_model(task.model_id, task.source)
            file = "" if probe is None else f"{probe.etag} {probe.size}"
            await in_thread(self._make_work, work)
            self._progress(0.0, "downloading the model")
            zipped = work / "source.zip"
            limit = self.settings.max_model_mb * _MIB
            await project.download_model(task.model_id, task.source, zipped, max_bytes=limit)
            source = await in_thread(self._unpacked, zipped, work / "source")
            self._progress(0.05, "downloading pictures")
            shown = await project_pictures.fetch(
                project, work / "images", self.settings.calibration_pictures, self._files
            )
            pictures = shown.of
            means = Means(
                self.settings.data_folder, self.settings.litert_tools_python, self.settings.limits, self._files
            )
            loop = asyncio.get_running_loop()

            def progress(share: float, doing: str) -> None:
                loop.call_soon_threadsafe(self._progress, 0.1 + 0.85 * share, doing)

            converting = asyncio.to_thread(
                self._convert,
                source,
                task.target,
                work / "result",
                shown.files,
                progress,
                means=means,
                source_format=task.source,
                annotations=shown.truth,
                stopped=self._stopped,
            )
            done = await to_its_end(converting, within=ENDS_WITHIN_S)
            self._progress(0.95, "uploading")
            try:
                await project.add_format(task.model_id, task.target, bundle_files(done.bundle.folder))
            except AlreadyInLoop:
                log.info(
                    "%s is there already", task.words
                )  # from another converter, or from a try whose answer was lost
        except DetectorApplianceError as error:
            raise _Failed(error, pictures, file) from error
        finally:
            await self._put_away()
        return done.report

    async def _put_away(self) -> None:
        """What a conversion needed. What cannot be removed now is removed before the next one, or told then."""
        try:
            await in_thread(self._clear_work)
        except StorageRefused as error:
            log.warning("%s", error)

    def _unpacked(self, zipped: Path, folder: Path) -> Bundle:
        unpack(zipped, folder, file_system=self._files)
        return conversion.opened(folder)

    def _make_work(self, work: Path) -> None:
        try:
            self._files.make_folders(work / "images")
        except OSError as error:
            raise refusal(error, "make room for a conversion") from error

    def _clear_work(self) -> None:
        try:
            self._files.remove_tree(self.settings.data_folder / "work")
        except OSError as error:
            raise refusal(error, "clear away the last conversion") from error

    def _progress(self, share: float, doing: str) -> None:
        if self.current is not None:
            self.current.share, self.current.doing = share, doing

    def _note(self, done: Done) -> None:
        self.recent = [done, *self.recent][:MOST_RECENT]

    def _tell(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self.trouble:
            log.warning("%s", trouble)
        self.trouble = trouble


class _Failed(Exception):  # never leaves this module
    """An error with what has to be remembered beside it."""

    def __init__(self, error: DetectorApplianceError, pictures: int, file: str) -> None:
        super().__init__(str(error))
        self.error, self.pictures, self.file = error, pictures, file
