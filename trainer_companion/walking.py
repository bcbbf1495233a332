"""One training on its way through its stages: each is acted out, written down when it is done, tried again when it fails.

The stages are acted out by `preparing`, `running`, `publish` and `findings`; what follows a failure stands in `stages`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from models.errors import DetectorApplianceError, LoopUnreachable
from models.files import FileSystem
from models.loop.client import LoopClient
from models.loop.node import LoopNode
from models.uninterrupted import in_thread
from models.wire.training import TrainingOut
from trainer_companion import findings, learning_curve, preparing, publish
from trainer_companion.learning_curve import LearningCurve
from trainer_companion.run_state import Folders, Run, RunStore
from trainer_companion.running import Command, Running, Watched
from trainer_companion.settings import TrainerSettings
from trainer_companion.stages import HopelessError, Key, Stage, retry_delay, stage_at
from trainer_companion.workplace import Workplace

log = logging.getLogger(__name__)

METRICS_WITHIN_S = 60.0
SYNC_EVERY_S = 5.0

Sleep = Callable[[float], Awaitable[None]]


@dataclass
class Backdoor:
    """What tests want to go wrong, or to wait; see `rest`."""

    provide_new_model: bool = True
    begin_training: bool = False
    crash_training: bool = False
    get_new_model: bool = False
    save_model: bool = False


@dataclass(frozen=True)
class Tools:
    """What every training of a trainer is done with. `client` and `node` are None where no Loop is set.

    `command` makes the command line of a training; `export` writes ONNX.
    """

    settings: TrainerSettings
    files: FileSystem
    folders: Folders
    store: RunStore
    client: LoopClient | None
    node: LoopNode | None
    sleep: Sleep
    command: Command
    export: publish.Export | None


class Walk:
    """A training under way. `finish` cleans up at its end; what it raises is tried again."""

    def __init__(
        self, run: Run, trainer_id: str, tools: Tools, backdoor: Backdoor, finish: Callable[[Run], Awaitable[None]]
    ) -> None:
        self.run = run
        self.watched = Watched(curve=LearningCurve(tools.folders.job(run) / learning_curve.FILE, tools.files))
        self.during: str | None = None
        """What is being done now, in upstream's words; None between two stages."""
        self.progress: float | None = None
        self.errors: dict[str, str] = {}
        """Of stages that failed and will be tried again."""
        self.backdoor = backdoor
        self._trainer_id = trainer_id
        self._tools = tools
        self._finish = finish
        self._running: Running | None = None
        self._telling = asyncio.Lock()
        self._saving = asyncio.Lock()

    async def walk(self) -> None:
        """Act out one stage after the other, to the end. Raises nothing; may be cancelled, and then begun again."""
        failures = 0
        while True:
            stage = stage_at(self.run.state)
            key = "cleanup" if stage is None else stage.key
            if failures:
                await self._tools.sleep(retry_delay(failures))
            try:
                if stage is None:
                    self.during = self.run.state
                    await self._finish(self.run)
                    return
                await self._step(stage)
            except HopelessError as error:
                log.error("%s, %s: %s", self.run.name, key, error)
                self.run.errors[key] = str(error)
                self.run.state = "ready_for_cleanup"
            except DetectorApplianceError as error:
                failures += 1
                log.warning("%s, %s (try %d): %s", self.run.name, key, failures, error)
                self.errors[key] = str(error)
                continue
            except Exception as error:
                # Supervises every stage: a bug in one must be seen by people, and another try may go better.
                failures += 1
                log.exception("%s, %s: unforeseen error (try %d)", self.run.name, key, failures)
                self.errors[key] = f"unforeseen error ({type(error).__name__}: {error})"[:500]
                continue
            finally:
                self.during = self.progress = None
            failures = 0
            self.errors.pop(key, None)

    async def stop(self) -> bool:
        """End the training that runs and keep its model; False where none runs."""
        if self._running is None:
            return False
        await self._running.stop()
        return True

    async def kill_training_process(self) -> bool:
        """For tests: end the process as a crash would; whether there was one."""
        if self._running is None or not self._running.is_running:
            return False
        await self._running.kill()
        return True

    async def save(self) -> None:
        """Write down how the training stands. Raises `StorageRefused`."""
        async with self._saving:
            copy = self.run.model_copy(deep=True)
            # A thread writes on when this task is cancelled; the next must not write beside it.
            await in_thread(self._tools.store.write, copy)

    async def sync(self, *, at_last: bool = False, again: bool = False) -> None:
        """Tell the Loop of the best model, if it does not know of it; `again`: if it does, too. `at_last`: tests that want
        to hold it back are not asked.

        Raises `LoopError` and `StorageRefused`.
        """
        async with self._telling:
            run, best = self.run, self.run.best
            if best is None or not (again or not run.best_is_told):
                return
            if not (self.backdoor.provide_new_model or again or at_last):
                return
            if self.backdoor.get_new_model or self.backdoor.save_model:
                raise LoopUnreachable("telling of the best model fails, as it was told to (/error_configuration)")
            if self._tools.node is None:
                raise HopelessError("no Loop is set (LOOP_HOST), but this training belongs to one")
            found = TrainingOut(
                trainer_id=self._trainer_id,
                trainer_name=self._tools.settings.node_name,
                confusion_matrix={key: each.model_dump() for key, each in best.confusion_matrix.items()},
                train_image_count=run.train_images,
                test_image_count=run.test_images,
                hyperparameters={**run.details.hyperparameters, **run.hyperparameters},
                best_epoch=best.epoch,
            )
            answer = await self._tools.node.call(
                "update_training", run.organization, run.project, found, timeout=METRICS_WITHIN_S
            )
            if answer is None or not answer.success:
                said = None if answer is None else answer.error_msg
                raise LoopUnreachable(
                    f"the Loop does not take the metrics of the best model: {said or 'no reason given'}"
                )
            if run.best is best:
                run.best_is_told = True
                await self.save()
            self.errors.pop("sync_confusion_matrix", None)

    async def _step(self, stage: Stage) -> None:
        """Act out one stage, and write down that it is done."""
        if self._tools.client is None:
            raise HopelessError("no Loop is set (LOOP_HOST), but this training belongs to one")
        work = self._workplace(self._tools.client)
        actions: dict[Key, Callable[[Workplace], Awaitable[None]]] = {
            "prepare": preparing.download_data,
            "download_model": preparing.download_base_model,
            "run_training": self._train,
            "sync_confusion_matrix": self._sync_at_last,
            "upload_model": lambda work: publish.upload_model(work, self._tools.export),
            "detecting": findings.detect,
            "upload_detections": findings.upload,
        }
        self.during, self.progress = stage.during, None
        await actions[stage.key](work)
        before, self.run.state = self.run.state, stage.ends
        try:
            await self.save()
        except DetectorApplianceError:
            self.run.state = before
            raise

    async def _train(self, work: Workplace) -> None:
        self._running = running = Running(work, self.watched, self._found, self._tools.command)
        syncing = asyncio.create_task(self._sync_now_and_then(), name="metrics")
        try:
            await running.run()
        finally:
            self._running = None
            syncing.cancel()
            await asyncio.gather(syncing, return_exceptions=True)

    async def _found(self) -> None:
        """A better model: what had failed before goes well again. A test may want the process to crash now."""
        self.errors.pop("run_training", None)
        if self.backdoor.crash_training:
            await self.kill_training_process()

    async def _sync_now_and_then(self) -> None:
        """Tell the Loop of better models while the training runs; where that fails, it goes on, and says so."""
        while True:
            await self._tools.sleep(SYNC_EVERY_S)
            try:
                await self.sync()
            except DetectorApplianceError as error:
                log.warning("the Loop does not know of the best model yet: %s", error)
                self.errors["sync_confusion_matrix"] = str(error)

    async def _sync_at_last(self, _work: Workplace) -> None:
        await self.sync(at_last=True)

    def _workplace(self, client: LoopClient) -> Workplace:
        def tell(share: float | None) -> None:
            self.progress = share

        return Workplace(
            run=self.run,
            project=client.project(self.run.organization, self.run.project),
            folders=self._tools.folders,
            settings=self._tools.settings,
            files=self._tools.files,
            save=self.save,
            tell=tell,
        )
