"""A trainer as a node of a Loop: takes on one training at a time, tells how it is, obeys, and goes on after a restart."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from companions.connection import Connection
from models.errors import DetectorApplianceError, InvalidInput, LoopError
from models.files import FILE_SYSTEM, FileSystem, refusal
from models.identity import UUIDS_FILE, node_uuid
from models.loop.client import LoopClient
from models.loop.node import MakeSocket, make_socket
from models.uninterrupted import in_thread, to_its_end
from models.wire.training import Context, PretrainedModel, SocketResponse, TrainingStatus
from trainer_companion import job as jobs
from trainer_companion import learning_curve, publish, recipes, samples
from trainer_companion.children import GROUP_FILE, LOG_FILE, end_leftover
from trainer_companion.download import Images
from trainer_companion.run_state import TRAININGS, Folders, LastRun, Run, RunStore, new_run
from trainer_companion.running import Command
from trainer_companion.settings import TrainerSettings
from trainer_companion.slot import Slot
from trainer_companion.walking import Backdoor, Sleep, Tools, Walk

log = logging.getLogger(__name__)

STATUS_WITHIN_S = 30.0
LOOK_AT_SLOT_S = 1.0
LOOK_AT_IDLENESS_S = 5.0

REFUSED = "refused"
"""Payload of the answer of a trainer that is busy, since node 0.25."""

IDLE = ("idle", "blocked")

KEPT = frozenset({jobs.JOB_JSON, jobs.BEST, samples.FILE, learning_curve.FILE, LOG_FILE, GROUP_FILE})
"""Of a job's folder, until the next training begins; checkpoints and decoded pictures are large and go at once."""


class Trainer:
    """The node. `restart` and `stop` end the program and return at once; `variants` is what a person can choose from.

    `command` and `export` as in `Tools`.
    """

    def __init__(
        self,
        settings: TrainerSettings,
        *,
        restart: Callable[[], None],
        stop: Callable[[], None],
        client: LoopClient | None = None,
        files: FileSystem = FILE_SYSTEM,
        variants: Callable[[], list[PretrainedModel]] = recipes.variants,
        command: Command = jobs.command,
        export: publish.Export | None = None,
        sleep: Sleep = asyncio.sleep,
        now: Callable[[], float] = time.time,
        make_socket: MakeSocket = make_socket,
    ) -> None:
        self.settings = settings
        self.id = ""
        self.slot = Slot(settings.training_slot_lock)
        self.backdoor = Backdoor()
        self.walk: Walk | None = None
        """The training under way."""
        self.ended: Walk | None = None
        """The last one since the start of this program: what people look at until the next one begins."""
        self.last: LastRun | None = None
        self.connection = Connection(
            client if client is not None else settings.loop_client(),
            "trainer",
            heartbeat=self.beat,
            restart=restart,
            organization=settings.loop_organization or "",
            project=settings.loop_project or "",
            make_socket=make_socket,
        )
        self.connection.on("begin_training", self.begin)
        self.connection.on("stop_training", self._on_stop)
        self.connection.on("abort_training", self._on_abort)
        self._restart_program, self._stop_program = restart, stop
        self._variants_of = variants
        self._variants: list[PretrainedModel] = []
        self._now = now
        self._tools = Tools(
            settings=settings,
            files=files,
            folders=Folders(settings.data_folder),
            store=RunStore(settings.data_folder, files),
            client=self.connection.client,
            node=self.connection.node,
            sleep=sleep,
            command=command,
            export=export,
        )
        self.folders = self._tools.folders
        self._working: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._idle_since: float | None = None

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Go on with the training that was under way when the program ended. Raises `StorageRefused`."""
        path = self.settings.data_folder / UUIDS_FILE
        self.id = await asyncio.to_thread(node_uuid, path, self.settings.node_name, self._tools.files)
        self._variants = await asyncio.to_thread(self._variants_of)
        self.last = await asyncio.to_thread(self._tools.store.last)
        run = await asyncio.to_thread(self._tools.store.read)
        if run is not None:
            log.info("going on with %s, which is %s", run.name, run.state)
            walk = self._walk_for(run)
            await asyncio.to_thread(walk.watched.curve.load)
            self._begin(walk)
        self._watching = asyncio.create_task(self._watch_idleness(), name="idleness")

    async def close(self) -> None:
        """Leave off within seconds, so that the next start goes on."""
        async with self._changing:
            for task in (self._watching, self._working):
                if task is not None:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
            self.slot.release()

    # ── what the Loop and people see ────────────────────────────────────────────────────────────────────────────────

    @property
    def run(self) -> Run | None:
        """The training under way."""
        return None if self.walk is None else self.walk.run

    @property
    def state(self) -> str:
        """In the words of learning-loop-node's trainers. Looks at the slot's file."""
        if self.walk is None:
            return "blocked" if self.slot.holder() is not None else "idle"
        if not self.slot.held:
            return "waiting_for_slot"
        return self.walk.during or self.walk.run.state

    @property
    def progress(self) -> float | None:
        """How far the stage is, 0..1."""
        return None if self.walk is None else self.walk.progress

    @property
    def errors(self) -> dict[str, str]:
        """By the names of stages: those of the training under way, or those with which the last one ended."""
        if self.walk is None:
            return {} if self.last is None else self.last.errors
        return {**self.walk.run.errors, **self.walk.errors}

    def status(self) -> Mapping[str, Any]:
        """For `/healthz`."""
        return {"state": self.state, "progress": self.progress, "errors": self.errors}

    def training_status(self) -> TrainingStatus:
        """What `update_trainer` carries. Looks at the slot's file."""
        run = self.run
        return TrainingStatus(
            id=self.id,
            name=self.settings.node_name,
            state=self.state,
            uptime=None if run is None else max(0.0, self._now() - run.started),
            errors=self.errors,
            progress=self.progress,
            pretrained_models=self._variants,
            architecture=run.architecture if run is not None and run.architecture is not None else "appliance",
            context=None if run is None else Context(organization=run.organization, project=run.project),
        )

    async def beat(self) -> bool:
        """Tell the Loop how it is; False where it does not want to know. Raises `LoopError`."""
        assert self.connection.node is not None
        status = await asyncio.to_thread(self.training_status)
        answer = await self.connection.node.call("update_trainer", status, timeout=STATUS_WITHIN_S)
        return answer is None or answer.success

    async def tell_now(self) -> None:
        """Tell it without waiting for the next heartbeat, if there is somebody to tell it to."""
        if self.connection.node is None or not self.connection.node.is_connected:
            return
        try:
            await self.beat()
        except LoopError as error:
            log.info("the Loop will hear of it later: %s", error)

    # ── what it is told to do: once begun, each is done to its end, also where nobody waits for the answer any more ───

    async def begin(
        self, organization: Any = None, project: Any = None, details: Any = None, *_more: Any
    ) -> SocketResponse:
        """The event `begin_training`. Raises `InvalidInput` and `StorageRefused`; a busy trainer refuses."""
        async with self._changing:
            if self.backdoor.begin_training:
                raise InvalidInput("beginning fails, as it was told to (/error_configuration)")
            if self.run is not None:
                return _refused(f"{self.run.name} is still active")
            return await to_its_end(self._take_on(new_run(organization, project, details, now=self._now())))

    async def _take_on(self, run: Run) -> SocketResponse:
        holder = await in_thread(self._claim, run)
        if holder is not None:
            return _refused(f"the training slot is held by {holder}")
        try:
            await in_thread(self._clear_former_trainings, run)
            await in_thread(self._tools.store.write, run)
        except BaseException:
            self.slot.release()
            raise
        log.info("begin %s", run.name)
        self._begin(self._walk_for(run))
        return SocketResponse(success=True)

    async def stop(self) -> None:
        """End a running training and keep its model. In every other state nothing happens, as with upstream."""
        async with self._changing:
            if self.walk is None or not await to_its_end(self.walk.stop()):
                log.info("asked to stop while %s: nothing to do", self.state)

    async def abort(self) -> None:
        """Throw the training away; on return it is gone."""
        async with self._changing:
            await to_its_end(self._throw_away())

    async def _throw_away(self) -> None:
        walk, working = self.walk, self._working
        if walk is None or working is None:
            return
        log.info("aborting %s", walk.run.name)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        if self.walk is None:
            return  # it came to its end at this very moment
        run = walk.run
        run.aborted, run.state = True, "ready_for_cleanup"
        walk.errors, walk.during = {}, run.state
        try:
            await self._finish(run)
        except DetectorApplianceError as error:
            # The disk resists: the cleaning up is tried again like every other stage.
            log.error("cannot clean up: %s", error)
            self._begin(self._walk_for(run))

    def forget(self) -> None:
        """For tests: what failed, and what shall fail."""
        self.last = self.ended = None
        vars(self.backdoor).update(vars(Backdoor()))

    async def _on_stop(self, *_arguments: Any) -> bool:
        await self.stop()
        return True

    async def _on_abort(self, *_arguments: Any) -> bool:
        await self.abort()
        return True

    # ── the training ────────────────────────────────────────────────────────────────────────────────────────────────

    def _walk_for(self, run: Run) -> Walk:
        return Walk(run, self.id, self._tools, self.backdoor, self._finish)

    def _begin(self, walk: Walk) -> None:
        self.last = self.ended = None
        self.walk = walk
        self._working = asyncio.create_task(self._work(walk), name=walk.run.name)

    async def _work(self, walk: Walk) -> None:
        while True:
            try:
                holder: str | None = await in_thread(self._claim, walk.run)
                walk.errors.pop("training_slot", None)
            except DetectorApplianceError as error:
                holder = walk.errors["training_slot"] = str(error)
            if holder is None:
                break
            log.info("waiting for the training slot, which is held by %s", holder)
            await self._tools.sleep(LOOK_AT_SLOT_S)
        await walk.walk()

    def _claim(self, run: Run) -> str | None:
        """Take the slot; who has it, if that is somebody else. Blocks. Raises `StorageRefused`."""
        try:
            return self.slot.claim(f"node {self.id}, {run.name}")
        except OSError as error:
            raise refusal(error, f"claim the training slot {self.settings.training_slot_lock}") from error

    async def _finish(self, run: Run) -> None:
        """Clean up, tell, and be idle. Raises `StorageRefused`; then it can be done again."""
        assert self.walk is not None
        await self.walk.save()
        await self.tell_now()
        last = LastRun(
            organization=run.organization,
            project=run.project,
            training_number=run.details.training_number,
            ended=self._now(),
            outcome="aborted" if run.aborted else "finished" if run.uploaded else "failed",
            model_id=run.model_id,
            map50=run.best.map50 if run.best is not None and run.best.accuracy is None else None,
            accuracy=run.best.accuracy if run.best is not None else None,
            errors=run.errors,
        )
        await in_thread(self._clean_up, run)
        await in_thread(self._tools.store.finish, last)
        self.last, self.ended, self.walk = last, self.walk, None
        self.slot.release()
        log.info("%s: %s", run.name, last.outcome)
        await self.tell_now()
        if self.settings.restart_after_training:
            self._restart_program()

    def _clean_up(self, run: Run) -> None:
        """What is large and of no use any more. The best model and the log stay until the next training begins. Blocks."""
        folders, files = self._tools.folders, self._tools.files
        job = folders.job(run)
        try:
            end_leftover(job)
            if run.aborted:
                files.remove_tree(folders.training(run))
                return
            rest = [path for path in job.iterdir() if path.name not in KEPT] if job.is_dir() else []
            for path in [folders.detections(run), folders.detector(run), folders.base(run), *rest]:
                files.remove_tree(path)
        except OSError as error:
            raise refusal(error, "clean up after the training") from error

    def _clear_former_trainings(self, run: Run) -> None:
        """Blocks. Raises `StorageRefused`."""
        Images(self._tools.folders.images(run), self._tools.files).forget_damage()
        if self.settings.keep_old_trainings:
            return
        try:
            self._tools.files.remove_tree(self._tools.folders.project(run) / TRAININGS)
        except OSError as error:
            raise refusal(error, "remove former trainings") from error

    async def _watch_idleness(self) -> None:
        limit = self.settings.trainer_idle_timeout_sec
        while limit:
            idle = await asyncio.to_thread(lambda: self.state in IDLE)
            if not idle:
                self._idle_since = None
            elif self._idle_since is None:
                self._idle_since = self._now()
            elif self._now() - self._idle_since >= limit:
                log.info("idle for %.0f s: the program ends (TRAINER_IDLE_TIMEOUT_SEC)", limit)
                self._stop_program()
                return
            await self._tools.sleep(LOOK_AT_IDLENESS_S)


def _refused(sentence: str) -> SocketResponse:
    log.warning("refused to begin a training: %s", sentence)
    return SocketResponse(success=False, error_msg=sentence, payload=REFUSED)
