"""Keeps one inference worker serving: bounds the queue, replaces what dies or hangs, swaps models, falls back.

Requests wait here, not in the worker, so that a worker that dies takes at most a handful of pictures with it, and each of
those is tried once more on its successor.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from appliance.inference.channel import Payload
from appliance.inference.choosing import Ways
from appliance.inference.process import WorkerProcess, error_of
from appliance.inference.worker import WorkerOrder
from models import runtimes
from models.bundle import Bundle
from models.errors import (
    BundleError,
    DetectorApplianceError,
    ModelFailed,
    ModelUpdating,
    NoModel,
    OutputsImplausible,
    Overloaded,
    WorkerLost,
)
from models.runtimes.base import Choice

log = logging.getLogger(__name__)

LANES = 2
"""Pictures under way in a worker: one is decoded while the other is inferred."""

AHEAD = 1
"""Pictures sent beyond that, so that a free lane never waits for the server."""

PROVEN = 20
"""A worker that gave so many answers was not killed by its model as such; deaths before it are forgiven."""

UNFIT = 5
"""Deaths in a row, none of them forgiven, after which the model is called unfit."""

LOOK_AGAIN = 10.0
"""Seconds between two looks for a lost accelerator."""


@dataclass(frozen=True)
class InferenceLimits:
    """What the supervisor is held to. Seconds, bytes, pixels; `floor` is the lowest confidence anybody wants to see."""

    queue_depth: int = 32
    inference_deadline: float = 10.0
    load_deadline: float = 120.0
    max_image_bytes: int = 64 * 2**20
    max_image_pixels: int = 100_000_000
    floor: float = 0.3
    exclusive: bool = False


@dataclass(frozen=True)
class Picture:
    """What is to be looked at: an encoded picture, or with `raw` (`dtype`, `shape`) the bytes of an array."""

    payload: Payload
    raw: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Seen:
    """A worker's answer: detections in wire form, picture size in pixels, `timings` in milliseconds."""

    detections: dict[str, Any]
    width: int
    height: int
    timings: dict[str, float]


@dataclass
class Counters:
    """What happened since the start."""

    restarts: int = 0
    hangs: int = 0
    retries: int = 0
    refused_full: int = 0
    refused_old: int = 0
    swaps: int = 0


class Chooses(Protocol):
    """What picks the way to run a model; see `appliance.inference.choosing.Chooser`."""

    wanted: str

    async def choose(self, bundle: Bundle) -> Ways: ...


Launch = Callable[[WorkerOrder, float], Awaitable[WorkerProcess]]


@dataclass
class Serving:
    """A model in service (or about to be): how it can be run, and how it fares."""

    bundle: Bundle
    ways: Ways
    choice: Choice
    degraded: str | None = None
    deaths: int = 0
    answers: int = 0


@dataclass(order=True)
class _Request:
    number: int
    picture: Picture = field(compare=False)
    max_wait: float = field(compare=False)
    entered: float = field(compare=False)
    answer: asyncio.Future[Seen] = field(compare=False)
    tries: int = field(compare=False, default=0)
    expiry: asyncio.TimerHandle | None = field(compare=False, default=None)
    waited: float = field(compare=False, default=0.0)


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
        self.counters = Counters()
        self.limits = limits
        self._chooser = chooser
        self._cache = cache
        self._launch_worker = launch
        self.on_unfit: Callable[[Bundle, str], None] | None = None
        self._serving: Serving | None = None
        self._worker: WorkerProcess | None = None
        self._updating_to: str | None = None
        self._switching = asyncio.Lock()
        self._waiting: deque[_Request] = deque()
        self._numbers = itertools.count()
        self._watchdog: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # ------------------------------------------------------------------ what is

    @property
    def serving(self) -> Serving | None:
        """The model that answers, or whose worker is being replaced."""
        return self._serving

    @property
    def worker(self) -> WorkerProcess | None:
        """The worker that answers now."""
        return self._worker

    @property
    def updating_to(self) -> str | None:
        """The version for which the old model had to be freed, while nothing serves."""
        return self._updating_to if self._worker is None else None

    @property
    def queue_length(self) -> int:
        """Pictures that wait for the worker."""
        return len(self._waiting)

    # ------------------------------------------------------------------ detecting

    async def detect(self, picture: Picture, max_wait: float) -> Seen:
        """Have one picture looked at; refused if it cannot be begun within `max_wait` seconds.

        Raises `DetectionUnavailable` in its kinds, `InvalidInput`, or `ModelFailed`.
        """
        if self._worker is None:
            self._check_that_a_worker_will_come()
        if len(self._waiting) >= self.limits.queue_depth:
            self.counters.refused_full += 1
            raise Overloaded(
                f"{len(self._waiting)} pictures are waiting already; send fewer at a time or try again soon"
            )
        loop = asyncio.get_running_loop()
        request = _Request(next(self._numbers), picture, max_wait, time.perf_counter(), loop.create_future())
        request.expiry = loop.call_later(max_wait, self._expire, request)
        self._waiting.append(request)
        self._dispatch()
        try:
            return await request.answer
        finally:
            request.expiry.cancel()

    def _check_that_a_worker_will_come(self) -> None:
        if self._updating_to is not None:
            raise ModelUpdating(f"updating model to version {self._updating_to}", retry_after=5.0)
        if self._serving is None or self._closed:
            raise NoModel("No model is loaded. Choose one on the dashboard or with: appliance models use VERSION", 10.0)

    def _expire(self, request: _Request) -> None:
        if request.answer.done():
            return
        with suppress(ValueError):
            self._waiting.remove(request)
        self.counters.refused_old += 1
        request.answer.set_exception(
            Overloaded(
                f"The picture waited {request.max_wait:g} s without its turn coming; send fewer, or a smaller model is due"
            )
        )

    def _dispatch(self) -> None:
        worker = self._worker
        while worker is not None and self._waiting and worker.busy < LANES + AHEAD:
            request = self._waiting.popleft()
            if request.answer.done():  # whoever asked has gone away
                continue
            assert request.expiry is not None
            request.expiry.cancel()
            request.waited = 1e3 * (time.perf_counter() - request.entered)
            header = {} if request.picture.raw is None else {"raw": dict(request.picture.raw)}
            if worker.busy == 0:
                self._watch(worker)
            sent = worker.ask(header, request.picture.payload)
            sent.add_done_callback(partial(self._answered, request, worker))

    def _answered(self, request: _Request, worker: WorkerProcess, future: asyncio.Future[dict[str, Any]]) -> None:
        if future.cancelled():
            return
        lost = future.exception()
        if lost is None:
            self._watch(worker)
            answer = future.result()
            if "failed" not in answer:
                self._note_answer(worker)
                timings = dict(answer["timings"])
                timings["wait"] += request.waited
                _settle(request, Seen(answer["detections"], answer["width"], answer["height"], timings))
                self._dispatch()
                return
            error: BaseException = error_of(answer)
            if not isinstance(error, ModelFailed) or isinstance(error, OutputsImplausible):
                self._note_answer(worker)
                _settle(request, error)
                self._dispatch()
                return
            # The runtime itself failed (an accelerator was pulled out, memory ran out): a fresh worker may do better.
            log.warning("the model failed on a picture, its worker is replaced: %s", error)
            worker.kill()
            lost = error
        if request.tries == 0 and not self._closed and not request.answer.done():
            request.tries = 1
            self.counters.retries += 1
            request.expiry = asyncio.get_running_loop().call_later(request.max_wait, self._expire, request)
            self._waiting = deque(sorted([request, *self._waiting]))
            self._dispatch()
        else:
            _settle(
                request,
                lost
                if isinstance(lost, ModelFailed)
                else WorkerLost("The inference worker died on this picture, and so did the one that took over"),
            )

    def _note_answer(self, worker: WorkerProcess) -> None:
        if self._serving is not None and worker is self._worker:
            self._serving.answers += 1
            if self._serving.answers == PROVEN:
                self._serving.deaths = 0

    # ------------------------------------------------------------------ a worker that hangs or dies

    def _watch(self, worker: WorkerProcess) -> None:
        """Start counting anew: a worker that has something to do answers within the deadline or is killed."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        loop = asyncio.get_running_loop()
        self._watchdog = loop.call_later(self.limits.inference_deadline, self._kill_if_hanging, worker)

    def _kill_if_hanging(self, worker: WorkerProcess) -> None:
        if worker.busy and not worker.gone.done():
            log.error(
                "worker %d has answered nothing for %g s, it is killed", worker.pid, self.limits.inference_deadline
            )
            self.counters.hangs += 1
            worker.kill()

    def _worker_gone(self, worker: WorkerProcess, _how: asyncio.Future[str]) -> None:
        if worker is not self._worker or self._closed:
            return
        log.error("inference worker %d died. %s", worker.pid, worker.why_it_died())
        self._worker = None
        self.counters.restarts += 1
        assert self._serving is not None
        self._serving.deaths += 1
        self._serving.answers = 0
        self._start(self._replace(self._serving, worker.why_it_died()))

    async def _replace(self, serving: Serving, why: str) -> None:
        if serving.deaths == UNFIT and self.on_unfit is not None:
            self.on_unfit(serving.bundle, f"Its worker died {serving.deaths} times in a row. {why}")
        failures = 0
        while self._serving is serving and self._worker is None and not self._closed:
            await asyncio.sleep(pause_before(serving.deaths + failures))
            try:
                choices = await self._choices_left(serving, why)
                worker, choice = await self._launch_one_of(serving.bundle, choices)
            except DetectorApplianceError as error:
                log.error("no worker could be started: %s", error)
                failures += 1
                continue
            if self._serving is not serving or self._worker is not None or self._closed:
                await worker.stop()
                return
            self._note_fallback(serving, choice, why)
            self._install(serving, worker)

    async def _choices_left(self, serving: Serving, why: str) -> tuple[Choice, ...]:
        """The ways to try now: not the accelerator again if it is gone or has killed two workers in a row."""
        current = serving.choice
        if current.accelerator == "cpu":
            return (current, *(choice for choice in serving.ways.choices if choice != current))
        present = await asyncio.to_thread(runtimes.runtime(current.runtime).present, current.accelerator)
        others = tuple(choice for choice in serving.ways.choices if choice.accelerator != current.accelerator)
        if present and serving.deaths < 2:
            return (current, *others)
        if not others and serving.ways.lost is None:
            others = await self._cpu_choices(serving.bundle)
        log.warning("%s is given up for now: %s", current, why)
        return others or (current,)

    async def _cpu_choices(self, bundle: Bundle) -> tuple[Choice, ...]:
        """For a model that is forced onto an accelerator: how a CPU could run it."""
        inference = bundle.model.inference
        weights = inference.weights if inference else []
        return tuple(Choice(found.runtime, "cpu", 1) for found in weights if found.accelerator in ("cpu", "any"))

    def _note_fallback(self, serving: Serving, choice: Choice, why: str) -> None:
        if choice.accelerator == "cpu" and serving.choice.accelerator != "cpu":
            serving.ways = Ways(serving.ways.choices, serving.ways.measured, serving.choice)
            serving.degraded = f"{serving.choice.accelerator} is gone, detecting on the CPU ({choice}). {why}"
            log.warning("degraded: %s", serving.degraded)
            self._start(self._go_back(serving))
        serving.choice = choice

    # ------------------------------------------------------------------ changing models

    async def load(self, bundle: Bundle) -> Serving:
        """Serve this bundle: loaded, warmed up and checked in a second worker beside the serving one, then swapped.

        Raises `ModelFailed` or `BundleError`; then what served before serves on.
        """
        async with self._switching:
            before = self._serving
            freed = self.limits.exclusive and self._worker is not None
            if freed:
                await self._free_for(bundle)
            try:
                ways, degraded = await self._ways(bundle)
                worker, choice = await self._launch_one_of(bundle, ways.choices)
            except BaseException:
                if freed and before is not None and self._worker is None and not self._closed:
                    self._updating_to = None
                    self._serving = before
                    self._start(self._replace(before, "The new model failed"))
                raise
            finally:
                self._updating_to = None
            if self._closed:
                await worker.stop()
                raise NoModel("The appliance is shutting down")
            serving = Serving(bundle, ways, choice, degraded)
            self.counters.swaps += before is not None
            self._install(serving, worker)
            if serving.degraded is not None:
                log.warning("degraded: %s", serving.degraded)
                self._start(self._go_back(serving))
            log.info(
                "model %s serves as %s (loaded in %.0f ms, checked in %.0f ms)",
                bundle.model.version,
                choice,
                worker.load_ms,
                worker.warm_up_ms,
            )
            return serving

    async def reload(self) -> None:
        """Load the serving bundle again in a second worker and swap; does nothing where there is none."""
        if self._serving is not None:
            await self.load(self._serving.bundle)

    async def _ways(self, bundle: Bundle) -> tuple[Ways, str | None]:
        try:
            ways = await self._chooser.choose(bundle)
        except ModelFailed as error:
            others = await self._cpu_choices(bundle)
            if self._chooser.wanted == "auto" or not others:
                raise
            return Ways(others), f"It cannot be run as {self._chooser.wanted}, which the settings ask for. {error}"
        if ways.lost is not None:
            return ways, f"{ways.lost.accelerator} ran this model before and is gone, detecting on the CPU"
        first = ways.choices[0]
        if len(ways.choices) == 1 and first.accelerator != "cpu":
            # A forced accelerator: what a CPU could do stands behind it.
            ways = Ways((first, *await self._cpu_choices(bundle)), ways.measured)
        return ways, None

    async def _launch_one_of(self, bundle: Bundle, choices: tuple[Choice, ...]) -> tuple[WorkerProcess, Choice]:
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
            try:
                return await self._launch_worker(order, self.limits.load_deadline), choice
            except BundleError:
                raise
            except ModelFailed as error:
                log.warning("the model does not load as %s: %s", choice, error)
                failures.append(str(error))
        raise ModelFailed("; ".join(dict.fromkeys(failures)))

    async def _free_for(self, bundle: Bundle) -> None:
        """One accelerator, little memory: end the serving worker. The old model's CPU weights serve meanwhile if they can."""
        old, serving = self._worker, self._serving
        assert old is not None and serving is not None
        bridge: WorkerProcess | None = None
        if serving.choice.accelerator != "cpu" and (cpu := await self._cpu_choices(serving.bundle)):
            with suppress(ModelFailed, BundleError):
                bridge, _ = await self._launch_one_of(serving.bundle, cpu)
        self._updating_to = bundle.model.version or "unknown"
        self._worker = None
        if bridge is not None:
            self._install(serving, bridge)
        await self._retire(old)

    def _install(self, serving: Serving, worker: WorkerProcess) -> None:
        old = self._worker
        self._serving, self._worker = serving, worker
        worker.gone.add_done_callback(partial(self._worker_gone, worker))
        if old is not None:
            self._start(self._retire(old))
        self._dispatch()

    async def _retire(self, worker: WorkerProcess) -> None:
        """Let it answer what it was given, then end it."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(worker.idle(), self.limits.inference_deadline)
        await worker.stop()

    async def _go_back(self, serving: Serving) -> None:
        """While degraded: look for the accelerator, and return to it in a second worker when it answers again."""
        better = serving.ways.lost or next((c for c in serving.ways.choices if c.accelerator != "cpu"), None)
        if better is None:
            return
        while not self._closed and self._serving is serving and serving.degraded is not None:
            await asyncio.sleep(LOOK_AGAIN)
            if not await asyncio.to_thread(runtimes.runtime(better.runtime).present, better.accelerator):
                continue
            async with self._switching:
                if self._closed or self._serving is not serving:
                    return
                with suppress(ModelFailed, BundleError):
                    worker, choice = await self._launch_one_of(serving.bundle, (better,))
                    serving.choice, serving.degraded, serving.deaths = choice, None, 0
                    log.info(
                        "%s is back, model %s serves on it again", better.accelerator, serving.bundle.model.version
                    )
                    self._install(serving, worker)

    # ------------------------------------------------------------------ ending

    async def close(self) -> None:
        """End the worker; what waits is refused."""
        self._closed = True
        if self._watchdog is not None:
            self._watchdog.cancel()
        for request in list(self._waiting):
            _settle(request, NoModel("The appliance is shutting down"))
        self._waiting.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._worker is not None:
            worker, self._worker = self._worker, None
            await worker.stop()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("supervising failed", exc_info=task.exception())


def pause_before(attempt: int) -> float:
    """Seconds before the next worker is started: none for the first three deaths in a row, then doubling up to 30."""
    return 0.0 if attempt <= 3 else min(2.0 ** (attempt - 4), 30.0)


def _settle(request: _Request, outcome: Seen | BaseException) -> None:
    if request.answer.done():
        return
    if isinstance(outcome, Seen):
        request.answer.set_result(outcome)
    else:
        request.answer.set_exception(outcome)
