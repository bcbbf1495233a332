"""Keeps one inference worker serving: replaces what dies or hangs, swaps models, falls back and returns.

Pictures wait in the server, not in the worker, so that a worker that dies takes at most a handful of them with it, and
each of those is tried once more on its successor (`appliance.inference.dispatching`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from appliance.inference.dispatching import Dispatcher, Worker
from appliance.inference.launching import Launch, Launcher
from appliance.inference.planning import Chooses, make_plan
from appliance.inference.process import WorkerProcess
from appliance.inference.serving import Counters, InferenceLimits, Serving, pause_before, pause_before_looking
from appliance.inference.waiting import Picture, Request, Seen, WaitingRoom
from models import runtimes
from models.bundle import Bundle
from models.detector import mapped
from models.errors import (
    DetectionUnavailable,
    DetectorApplianceError,
    ModelFailed,
    ModelUpdating,
    NoModel,
    Overloaded,
    WorkerLost,
)
from models.runtimes.base import Choice

__all__ = ["Counters", "InferenceLimits", "Picture", "Seen", "Serving", "Supervisor"]

log = logging.getLogger(__name__)

PROVEN = 20
"""A worker that gave so many answers was not killed by its model as such; deaths before it are forgiven."""

UNFIT = 5
"""Deaths and failed starts in a row, none of them forgiven, after which the model is called unfit."""


class Supervisor:
    """See the module's docstring. All methods belong to one event loop."""

    def __init__(
        self,
        chooser: Chooses,
        cache: Path,
        limits: InferenceLimits,
        *,
        launch: Launch = WorkerProcess.launch,
    ) -> None:
        self.limits = limits
        self.on_unfit: Callable[[Bundle, str], None] | None = None
        self._chooser = chooser
        self._launcher = Launcher(cache, limits, launch)
        self._room = WaitingRoom(limits.queue_depth, self._too_late)
        self._dispatcher = Dispatcher(self._room, limits.inference_deadline, self._note_answer)
        self._serving: Serving | None = None
        self._updating_to: str | None = None
        self._switching = asyncio.Lock()
        self._replacing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._retiring: dict[Worker, asyncio.Task[None]] = {}
        self._restarts = 0
        self._swaps = 0
        self._closed = False

    # ------------------------------------------------------------------ what is

    @property
    def serving(self) -> Serving | None:
        """The model that answers, or whose worker is being replaced."""
        return self._serving

    @property
    def worker(self) -> Worker | None:
        """The worker that answers now."""
        return self._dispatcher.worker

    @property
    def updating_to(self) -> str | None:
        """The version for which the old model had to be freed, while nothing serves."""
        return self._updating_to if self.worker is None else None

    @property
    def queue_length(self) -> int:
        """Pictures that wait for the worker."""
        return len(self._room)

    @property
    def counters(self) -> Counters:
        """What happened since the start."""
        return Counters(
            restarts=self._restarts,
            hangs=self._dispatcher.hangs,
            retries=self._dispatcher.retries,
            refused_full=self._room.refused_full,
            refused_old=self._room.refused_old,
            swaps=self._swaps,
        )

    def hold_to(self, limits: InferenceLimits, wanted: str) -> None:
        """Other limits, and another wish for the runtime. What a worker is told when it starts counts from the next one on."""
        self.limits = self._launcher.limits = limits
        self._room.depth = limits.queue_depth
        self._dispatcher.deadline = limits.inference_deadline
        self._chooser.wanted = wanted

    # ------------------------------------------------------------------ detecting

    async def detect(self, picture: Picture, max_wait: float) -> Seen:
        """Have one picture looked at; refused if it cannot be begun within `max_wait` seconds.

        Raises `DetectionUnavailable` in its kinds, `InvalidInput`, or `ModelFailed`.
        """
        if self._closed:
            raise NoModel("The appliance is shutting down")
        if self.updating_to is not None:
            raise self._updating()
        if self._serving is None:
            raise NoModel("No model is loaded. Choose one on the dashboard or with: appliance models use VERSION", 10.0)
        return await self._dispatcher.detect(picture, max_wait)

    def _updating(self) -> ModelUpdating:
        return ModelUpdating(f"updating model to version {self._updating_to}", retry_after=5.0)

    def _too_late(self, request: Request) -> DetectionUnavailable:
        if self.updating_to is not None:
            return self._updating()
        if self.worker is None:
            return WorkerLost(
                f"The model's process died, and no other one was there within {request.max_wait:g} s", 5.0
            )
        return Overloaded(
            f"The picture waited {request.max_wait:g} s without its turn coming; send fewer, or a smaller model is due"
        )

    def _note_answer(self) -> None:
        serving = self._serving
        assert serving is not None
        serving.answers += 1
        if serving.answers == PROVEN:
            serving.deaths, serving.failed_starts, serving.unfit = 0, 0, False
            if serving.shortfall is None:
                serving.falls = 0

    # ------------------------------------------------------------------ a worker that dies

    def _worker_gone(self, worker: Worker, _how: asyncio.Future[str]) -> None:
        if worker is not self.worker or self._closed:
            return
        assert self._serving is not None
        log.error("inference worker %d died. %s", worker.pid, worker.why_it_died())
        self._dispatcher.work_with_nobody()
        self._restarts += 1
        self._serving.deaths += 1
        self._replace(self._serving, f"Its worker ({self._serving.choice}) died. {worker.why_it_died()}")

    def _replace(self, serving: Serving, why: str) -> None:
        self._stop_replacing()  # it may pause for a worker that has been replaced otherwise meanwhile
        self._replacing = self._start(self._keep_replacing(serving, why))

    def _stop_replacing(self) -> asyncio.Task[None] | None:
        """What was started by `_replace`, on its way to its end."""
        stopped, self._replacing = self._replacing, None
        if stopped is not None:
            stopped.cancel()
        return stopped

    async def _keep_replacing(self, serving: Serving, why: str) -> None:
        """Until somebody serves again; `why` nobody does, as a sentence. Pauses grow with what went wrong in a row."""
        vain = 0
        while self._serving is serving and self.worker is None and not self._closed:
            self._tell_if_unfit(serving, why)
            await asyncio.sleep(pause_before(serving.deaths + serving.failed_starts + vain))
            try:
                worker, failures = await self._launcher.first_that_starts(
                    serving.bundle, await self._choices_left(serving), usual=serving.start_seconds
                )
            except DetectionUnavailable as error:  # the box could not, which says nothing of the model
                log.error("no worker could be started: %s", error)
                vain += 1
            except DetectorApplianceError as error:
                log.error("no worker could be started: %s", error)
                serving.failed_starts += 1
                why = str(error)
            except Exception:  # what is installed from elsewhere may raise anything, and somebody has to serve
                log.exception("no worker could be started")
                serving.failed_starts += 1
            else:
                if self._serving is not serving or self.worker is not None or self._closed:
                    await worker.stop()
                    return
                self._install(serving, worker, failures or why)

    def _tell_if_unfit(self, serving: Serving, why: str) -> None:
        count = serving.deaths + serving.failed_starts
        if count >= UNFIT and not serving.unfit:
            serving.unfit = True
            if self.on_unfit is not None:
                self.on_unfit(serving.bundle, f"Its worker died or did not start {count} times in a row. {why}")

    async def _choices_left(self, serving: Serving) -> tuple[Choice, ...]:
        current = serving.choice
        present = await self._is_present(current)
        choices = serving.plan.after_death(current, serving.deaths, present)
        if current not in choices:
            log.warning("%s is given up for now: it %s", current, "kills its workers" if present else "is gone")
        return choices

    async def _is_present(self, choice: Choice) -> bool:
        try:
            with mapped(ModelFailed, f"The runtime {choice.runtime} cannot say whether {choice.accelerator} is there"):
                return await asyncio.to_thread(runtimes.runtime(choice.runtime).present, choice.accelerator)
        except DetectorApplianceError as error:  # what cannot be asked for is not there
            log.warning("%s", error)
            return False

    # ------------------------------------------------------------------ changing models

    async def load(self, bundle: Bundle, *, still_wanted: Callable[[], bool] = lambda: True) -> Serving:
        """Serve this bundle: loaded, warmed up and checked in a second worker beside the serving one, then swapped.

        `still_wanted` is asked right before the swap. Raises `ModelFailed` or `BundleError`, or `DetectionUnavailable`
        where it was not the model's fault (or it is wanted no more); then what served before serves on.
        """
        async with self._switching:
            before = self._serving
            try:
                if self.limits.exclusive and before is not None:
                    await self._free(before, bundle)
                plan = await make_plan(self._chooser, bundle)
                worker, failures = await self._launcher.first_that_starts(bundle, plan.choices)
                if not still_wanted():
                    await worker.stop()
                    raise ModelUpdating(f"Model {bundle.model.version} was called off before it served")
            except BaseException as error:
                replacing = self._replacing is not None and not self._replacing.done()
                if before is not None and self.worker is None and not replacing and not self._closed:
                    self._replace(before, f"It had to make room for a model that failed. {error}")
                raise
            finally:
                self._updating_to = None
            if self._closed:
                await worker.stop()
                raise NoModel("The appliance is shutting down")
            self._stop_replacing()  # the old model's worker: that died, too
            start_seconds = (worker.load_ms + worker.warm_up_ms) / 1e3
            serving = Serving(bundle, plan, Choice.parse(worker.choice), start_seconds)
            self._swaps += before is not None
            self._install(serving, worker, plan.trouble or failures)
            log.info(
                "model %s serves as %s (loaded in %.0f ms, checked in %.0f ms)",
                bundle.model.version,
                serving.choice,
                worker.load_ms,
                worker.warm_up_ms,
            )
            return serving

    async def reload(self) -> None:
        """Load the serving bundle again in a second worker and swap; does nothing where there is none."""
        if self._serving is not None:
            await self.load(self._serving.bundle)

    async def _free(self, serving: Serving, new: Bundle) -> None:
        """One accelerator, little memory: end the serving worker. The model's CPU weights serve meanwhile if they can."""
        if (stopped := self._stop_replacing()) is not None:
            await asyncio.wait({stopped})
        on_cpu = serving.plan.on_cpu() if serving.choice.accelerator != "cpu" else ()
        bridge: Worker | None = None
        if on_cpu:
            with suppress(DetectorApplianceError):
                bridge, _ = await self._launcher.first_that_starts(serving.bundle, on_cpu)
        self._updating_to = new.model.version or "unknown"
        if bridge is not None:
            self._install(serving, bridge, f"The accelerator is wanted for model {self._updating_to}")
        elif self.worker is not None:
            old = self.worker
            self._dispatcher.work_with_nobody()
            self._retire(old)
        if self._retiring:
            await asyncio.wait(self._retiring.values())

    def _install(self, serving: Serving, worker: Worker, why: str | None = None) -> None:
        """Let this worker serve, and the one before finish what it was given."""
        old = self.worker
        self._serving = serving
        serving.choice = Choice.parse(worker.choice)
        serving.answers = 0
        self._note_shortfall(serving, why)
        self._dispatcher.work_with(worker, serving.bundle)
        worker.gone.add_done_callback(partial(self._worker_gone, worker))
        if old is not None:
            self._retire(old)

    def _retire(self, worker: Worker) -> None:
        self._retiring[worker] = self._start(self._drain(worker))

    async def _drain(self, worker: Worker) -> None:
        """Let it answer what it was given (or be killed by its watchdog), then end it."""
        await worker.idle()
        await worker.stop()
        self._retiring.pop(worker, None)

    # ------------------------------------------------------------------ falling back and returning

    def _note_shortfall(self, serving: Serving, why: str | None) -> None:
        if not serving.plan.falls_short(serving.choice):
            serving.shortfall = None
        elif serving.shortfall is None:
            serving.shortfall = why or f"{serving.plan.best} cannot be used"
            log.warning("degraded: %s", serving.degraded)
            if serving.plan.best is not None and serving.plan.best.accelerator != "cpu":
                self._start(self._go_back(serving, serving.plan.best))

    async def _go_back(self, serving: Serving, best: Choice) -> None:
        """While degraded: look for the accelerator, and return to it in a second worker when it answers again."""
        vain = serving.falls
        while self._serving is serving and serving.shortfall is not None:
            await asyncio.sleep(pause_before_looking(vain))
            if not await self._is_present(best):
                vain = 0
                continue
            async with self._switching:
                if self._closed or self._serving is not serving or serving.shortfall is None:
                    return
                try:
                    worker, _ = await self._launcher.first_that_starts(serving.bundle, (best,))
                except DetectorApplianceError as error:
                    log.info("%s is there, but cannot be used yet: %s", best.accelerator, error)
                    vain += 1
                    continue
                serving.deaths, serving.failed_starts = 0, 0
                serving.falls += 1
                log.info("%s is back, model %s serves on it again", best.accelerator, serving.bundle.model.version)
                self._install(serving, worker)
                return

    # ------------------------------------------------------------------ ending

    async def close(self) -> None:
        """End all workers; what waits is refused. Nothing may be loading."""
        self._closed = True
        workers = {*self._retiring, *([self.worker] if self.worker is not None else [])}
        self._dispatcher.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(worker.stop() for worker in workers))
        self._retiring.clear()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("supervising failed", exc_info=task.exception())
