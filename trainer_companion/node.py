"""A trainer as a node of a Loop: takes on one training at a time, walks its stages, tells how it is, obeys.

The stages are acted out by `preparing`, `running`, `publish` and `findings`; what follows a failure stands in `stages`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from companions.connection import Connection
from models.errors import DetectorApplianceError, InvalidInput, LoopError, LoopUnreachable
from models.files import FILE_SYSTEM, FileSystem, refusal
from models.identity import UUIDS_FILE, node_uuid
from models.loop.client import LoopClient
from models.loop.node import MakeSocket, make_socket
from models.wire.training import Context, PretrainedModel, SocketResponse, TrainingOut, TrainingStatus
from trainer_companion import findings, preparing, publish, recipes
from trainer_companion import job as jobs
from trainer_companion.children import end_leftover
from trainer_companion.download import Images
from trainer_companion.run_state import TRAININGS, Folders, LastRun, Run, RunStore, new_run
from trainer_companion.running import Command, Running, Watched
from trainer_companion.settings import TrainerSettings
from trainer_companion.slot import Slot
from trainer_companion.stages import HopelessError, Key, Stage, retry_delay, stage_at
from trainer_companion.workplace import Workplace

log = logging.getLogger(__name__)

STATUS_WITHIN_S = 30.0
METRICS_WITHIN_S = 60.0
SYNC_EVERY_S = 5.0
LOOK_AT_SLOT_S = 1.0
LOOK_AT_IDLENESS_S = 5.0
REFUSED = "refused"
"""Payload of the answer of a trainer that is busy, since node 0.25."""

IDLE = ("idle", "blocked")

Sleep = Callable[[float], Awaitable[None]]


@dataclass
class Backdoor:
    """What tests want to go wrong, or to wait; see `rest`."""

    provide_new_model: bool = True
    begin_training: bool = False
    crash_training: bool = False
    get_new_model: bool = False
    save_model: bool = False


class Trainer:
    """The node. `restart` and `stop` end the program and return at once.

    `variants` is what a person can choose from; `command` makes the command line of a training; `export` writes ONNX.
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
        self.slot = Slot(settings.training_slot_lock)
        self.folders = Folders(settings.data_folder)
        self.backdoor = Backdoor()
        self.watched = Watched()
        self.run: Run | None = None
        self.last: LastRun | None = None
        self.errors: dict[str, str] = {}
        self.progress: float | None = None
        self.connection = Connection(
            client if client is not None else settings.loop_client(),
            "trainer",
            heartbeat=self.beat,
            restart=self._restart,
            organization=settings.loop_organization or "",
            project=settings.loop_project or "",
            make_socket=make_socket,
        )
        self.connection.on("begin_training", self.begin)
        self.connection.on("stop_training", self._on_stop)
        self.connection.on("abort_training", self._on_abort)
        self.id = ""
        self._restart_program, self._stop_program = restart, stop
        self._files = files
        self._store = RunStore(settings.data_folder, files)
        self._variants_of = variants
        self._variants: list[PretrainedModel] = []
        self._command = command
        self._export = export
        self._sleep = sleep
        self._now = now
        self._during: str | None = None
        self._running: Running | None = None
        self._working: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._saving = asyncio.Lock()
        self._telling = asyncio.Lock()
        self._idle_since: float | None = None

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Go on with the training that was under way when the program ended. Raises `StorageRefused`, `ModelFailed`."""
        path = self.settings.data_folder / UUIDS_FILE
        self.id = await asyncio.to_thread(node_uuid, path, self.settings.node_name, self._files)
        self._variants = await asyncio.to_thread(self._variants_of)
        self.last = await asyncio.to_thread(self._store.last)
        if self.last is not None:
            self.errors = dict(self.last.errors)
        run = await asyncio.to_thread(self._store.read)
        if run is not None:
            log.info("going on with %s, which is %s", run.name, run.state)
            self._begin(run)
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
    def state(self) -> str:
        """In the words of learning-loop-node's trainers."""
        if self.run is None:
            return "blocked" if self.slot.holder() is not None else "idle"
        if not self.slot.held:
            return "waiting_for_slot"
        return self._during or self.run.state

    def status(self) -> Mapping[str, Any]:
        """For `/healthz`."""
        return {"state": self.state, "progress": self.progress, "errors": self.shown_errors}

    @property
    def shown_errors(self) -> dict[str, str]:
        """By key: those of the training under way, or those with which the last one ended."""
        return {**(self.run.errors if self.run is not None else {}), **self.errors}

    def training_status(self) -> TrainingStatus:
        """What `update_trainer` carries."""
        run = self.run
        return TrainingStatus(
            id=self.id,
            name=self.settings.node_name,
            state=self.state,
            uptime=None if run is None else max(0.0, self._now() - run.started),
            errors=self.shown_errors,
            progress=self.progress,
            pretrained_models=self._variants,
            architecture=run.architecture if run is not None and run.architecture is not None else "appliance",
            context=None if run is None else Context(organization=run.organization, project=run.project),
        )

    async def beat(self) -> bool:
        """Tell the Loop how it is; False where it does not want to know. Raises `LoopError`."""
        assert self.connection.node is not None
        status = await asyncio.to_thread(self.training_status)  # it looks at the slot's file
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

    # ── what it is told to do ───────────────────────────────────────────────────────────────────────────────────────

    async def begin(self, organization: Any, project: Any, details: Any, *_more: Any) -> SocketResponse:
        """The event `begin_training`. Raises `InvalidInput` and `StorageRefused`; a busy trainer refuses."""
        async with self._changing:
            if self.backdoor.begin_training:
                raise InvalidInput("beginning fails, as it was told to (/error_configuration)")
            if self.run is not None:
                return _refused(f"{self.run.name} is still active")
            run = new_run(organization, project, details, now=self._now())
            try:
                holder = await asyncio.to_thread(self.slot.claim, f"node {self.id}, {run.name}")
            except OSError as error:
                raise refusal(error, f"claim the training slot {self.settings.training_slot_lock}") from error
            if holder is not None:
                return _refused(f"the training slot is held by {holder}")
            try:
                await asyncio.to_thread(self._clear_former_trainings, run)
                await asyncio.to_thread(self._store.write, run)
            except BaseException:
                self.slot.release()
                raise
            log.info("begin %s", run.name)
            self.errors, self.last = {}, None
            self._begin(run)
            return SocketResponse(success=True)

    async def stop(self) -> None:
        """End a running training and keep its model. In every other state nothing happens, as with upstream."""
        async with self._changing:
            running = self._running
            if running is None or self.state != "running":
                log.info("asked to stop while %s: nothing to do", self.state)
                return
            if running.is_running:
                await running.stop()
                return
        await self.abort()  # it has not begun: there is nothing to keep

    async def abort(self) -> None:
        """Throw the training away; on return it is gone."""
        async with self._changing:
            run, working = self.run, self._working
            if run is None or working is None:
                return
            log.info("aborting %s", run.name)
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            if self.run is None:
                return  # it came to its end at this very moment
            run.aborted, run.state = True, "ready_for_cleanup"
            self.errors = {}
            try:
                await self._finish(run)
            except DetectorApplianceError as error:
                # The disk resists: the cleaning up is tried again like every other stage.
                log.error("cannot clean up: %s", error)
                self._begin(run)

    async def kill_training_process(self) -> bool:
        """For tests: end the process as a crash would; whether there was one."""
        if self._running is None or not self._running.is_running:
            return False
        await self._running.kill()
        return True

    async def _on_stop(self, *_arguments: Any) -> bool:
        await self.stop()
        return True

    async def _on_abort(self, *_arguments: Any) -> bool:
        await self.abort()
        return True

    def _restart(self) -> None:
        self._restart_program()

    # ── the training ────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, run: Run) -> None:
        self.run, self.watched, self.progress, self._during = run, Watched(), None, None
        self._working = asyncio.create_task(self._work(run), name=run.name)

    async def _work(self, run: Run) -> None:
        try:
            await self._wait_for_slot(run)
            await self._walk(run)
        except asyncio.CancelledError:
            raise
        except Exception:
            # Supervises the whole training: a bug must be seen, and must not leave a trainer that seems busy.
            log.exception("unforeseen error in %s", run.name)
            self.errors["trainer"] = "unforeseen error; the log of the trainer tells more, and starting it anew goes on"
        finally:
            self._during = self._running = self.progress = None

    async def _wait_for_slot(self, run: Run) -> None:
        while True:
            try:
                holder = await asyncio.to_thread(self.slot.claim, f"node {self.id}, {run.name}")
            except OSError as error:
                holder = str(refusal(error, f"claim the training slot {self.settings.training_slot_lock}"))
            if holder is None:
                return
            log.info("waiting for the training slot, which is held by %s", holder)
            await self._sleep(LOOK_AT_SLOT_S)

    async def _walk(self, run: Run) -> None:
        """Act out one stage after the other; those that fail again and again."""
        client = self.connection.client
        failures = 0
        while True:
            stage = stage_at(run.state)
            key = "cleanup" if stage is None else stage.key
            if failures:
                await self._sleep(retry_delay(failures))
            try:
                if stage is None:
                    await self._finish(run)
                    return
                if client is None:
                    raise HopelessError("no Loop is set (LOOP_HOST), but this training belongs to one")
                self._during, self.progress = stage.during, None
                await self._act(stage, self._workplace(run, client))
                before, run.state = run.state, stage.ends
                try:
                    await self._save(run)
                except DetectorApplianceError:
                    run.state = before
                    raise
            except HopelessError as error:
                log.error("%s, %s: %s", run.name, key, error)
                run.errors[key] = str(error)
                run.state = "ready_for_cleanup"
            except DetectorApplianceError as error:
                failures += 1
                log.warning("%s, %s (try %d): %s", run.name, key, failures, error)
                self.errors[key] = str(error)
                self._during = None
                continue
            except Exception as error:
                # Supervises every stage: a bug in one must be seen by people, and another try may go better.
                failures += 1
                log.exception("%s, %s: unforeseen error (try %d)", run.name, key, failures)
                self.errors[key] = f"unforeseen error ({type(error).__name__}: {error})"[:500]
                self._during = None
                continue
            failures = 0
            self.errors.pop(key, None)

    async def _act(self, stage: Stage, work: Workplace) -> None:
        actions: dict[Key, Callable[[Workplace], Awaitable[None]]] = {
            "prepare": preparing.download_data,
            "download_model": preparing.download_base_model,
            "run_training": self._train,
            "sync_confusion_matrix": self._sync_at_last,
            "upload_model": lambda work: publish.upload_model(work, self._export),
            "detecting": findings.detect,
            "upload_detections": findings.upload,
        }
        try:
            await actions[stage.key](work)
        finally:
            self.progress = None

    async def _train(self, work: Workplace) -> None:
        self._running = running = Running(work, self.watched, self._found, self._command)
        syncing = asyncio.create_task(self._sync_now_and_then(), name="metrics")
        try:
            await running.run()
        finally:
            self._running = None
            syncing.cancel()
            await asyncio.gather(syncing, return_exceptions=True)

    async def _found(self) -> None:
        """A better model: a test may want the process to crash now."""
        self.errors.pop("run_training", None)
        if self.backdoor.crash_training:
            await self.kill_training_process()

    async def _sync_now_and_then(self) -> None:
        """Tell the Loop of better models while the training runs; where that fails, it goes on, and says so."""
        while True:
            await self._sleep(SYNC_EVERY_S)
            try:
                await self.sync()
            except DetectorApplianceError as error:
                log.warning("the Loop does not know of the best model yet: %s", error)
                self.errors["sync_confusion_matrix"] = str(error)

    async def _sync_at_last(self, _work: Workplace) -> None:
        await self.sync(at_last=True)

    async def sync(self, *, at_last: bool = False, again: bool = False) -> None:
        """Tell the Loop of the best model, if it does not know of it; `again`: if it does, too.

        Raises `LoopError` and `StorageRefused`.
        """
        async with self._telling:
            run = self.run
            if run is None or run.best is None or not (again or not run.best_is_told):
                return
            if not (self.backdoor.provide_new_model or again or at_last):
                return
            if self.backdoor.get_new_model or self.backdoor.save_model:
                raise LoopUnreachable("telling of the best model fails, as it was told to (/error_configuration)")
            if self.connection.node is None:
                return
            best = run.best
            found = TrainingOut(
                trainer_id=self.id,
                trainer_name=self.settings.node_name,
                confusion_matrix={key: each.model_dump() for key, each in best.confusion_matrix.items()},
                train_image_count=run.train_images,
                test_image_count=run.test_images,
                hyperparameters={**run.details.hyperparameters, **run.hyperparameters},
                best_epoch=best.epoch,
            )
            answer = await self.connection.node.call(
                "update_training", run.organization, run.project, found, timeout=METRICS_WITHIN_S
            )
            if answer is None or not answer.success:
                said = None if answer is None else answer.error_msg
                raise LoopUnreachable(
                    f"the Loop does not take the metrics of the best model: {said or 'no reason given'}"
                )
            if run.best is best:
                run.best_is_told = True
                await self._save(run)
            self.errors.pop("sync_confusion_matrix", None)

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _finish(self, run: Run) -> None:
        """Clean up, tell, and be idle. Raises `StorageRefused`; then it can be done again."""
        self._during = "ready_for_cleanup"
        await self._save(run)
        await self.tell_now()
        last = LastRun(
            organization=run.organization,
            project=run.project,
            training_number=run.details.training_number,
            ended=self._now(),
            outcome="aborted"
            if run.aborted
            else "finished"
            if run.state == "ready_for_cleanup" and run.uploaded
            else "failed",
            model_id=run.model_id,
            map50=run.best.map50 if run.best is not None else None,
            errors=run.errors,
        )
        await asyncio.to_thread(self._clean_up, run)
        await asyncio.to_thread(self._store.finish, last)
        self.last, self.errors, self.run = last, dict(run.errors), None
        self._during = self.progress = None
        self.slot.release()
        log.info("%s: %s", run.name, last.outcome)
        await self.tell_now()
        if self.settings.restart_after_training:
            self._restart_program()

    def _clean_up(self, run: Run) -> None:
        """What is large and of no use any more. The best model and the log stay until the next training begins. Blocks."""
        folder = self.folders.training(run)
        end_leftover(self.folders.job(run))
        try:
            useless = [
                self.folders.detections(run),
                self.folders.detector(run),
                self.folders.base(run),
                folder / "export",
            ]
            if run.aborted:
                useless = [folder]
            for path in [*useless, self.folders.job(run) / "checkpoints"]:
                self._files.remove_tree(path)
        except OSError as error:
            raise refusal(error, "clean up after the training") from error

    def _clear_former_trainings(self, run: Run) -> None:
        """Blocks. Raises `StorageRefused`."""
        Images(self.folders.images(run), self._files).forget_damage()
        if self.settings.keep_old_trainings:
            return
        try:
            self._files.remove_tree(self.folders.project(run) / TRAININGS)
        except OSError as error:
            raise refusal(error, "remove former trainings") from error

    # ── small things ────────────────────────────────────────────────────────────────────────────────────────────────

    def _workplace(self, run: Run, client: LoopClient) -> Workplace:
        def tell(share: float | None) -> None:
            self.progress = share

        return Workplace(
            run=run,
            project=client.project(run.organization, run.project),
            folders=self.folders,
            settings=self.settings,
            files=self._files,
            save=lambda: self._save(run),
            tell=tell,
        )

    async def _save(self, run: Run) -> None:
        async with self._saving:
            copy = run.model_copy(deep=True)
            await asyncio.to_thread(self._store.write, copy)

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
            await self._sleep(LOOK_AT_IDLENESS_S)


def _refused(sentence: str) -> SocketResponse:
    log.warning("refused to begin a training: %s", sentence)
    return SocketResponse(success=False, error_msg=sentence, payload=REFUSED)
