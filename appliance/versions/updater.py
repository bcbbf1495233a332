"""Obeys the plan: asks, downloads, loads and goes back, one thing at a time, while the model that serves serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import anyio

from appliance.versions.disk import DiskView, Tidier
from appliance.versions.fetching import BytesFailed, Fetcher
from appliance.versions.following import LoopWatch
from appliance.versions.holding import Holds
from appliance.versions.keeper import StateKeeper
from appliance.versions.lock import UpdateLock
from appliance.versions.plan import (
    BLIND_RETRY_SECONDS,
    AskForModels,
    Download,
    Load,
    Postpone,
    Probe,
    Rest,
    Serving,
    Situation,
    Step,
    WaitForFormat,
    WaitForLoop,
    Wanted,
    next_step,
)
from appliance.versions.progress import Trouble, UpdateStatus, status_of, trouble_after
from appliance.versions.reference import ModelReference
from appliance.versions.selection import Scope, same_version
from appliance.versions.state import RememberedFailure, VersionState
from appliance.versions.swapping import Swapper, in_words
from models.bundle import Bundle
from models.errors import DetectorApplianceError, LoopBusy, LoopError, NotInLoop
from models.store import ModelStore, StoredModel
from models.wire.node_status import OperationMode

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 5.0
"""Between two looks whether a model on probation has proven itself."""


@dataclass(frozen=True)
class FromLoop:
    """What a box that has a Loop has beside a standalone one."""

    watch: LoopWatch
    fetcher: Fetcher
    tidier: Tidier


class Updater:
    """See the module's docstring. Belongs to one event loop; what blocks is done in threads.

    `operation_mode`, `paused` and `wish` (what `specific_version` means; None: given up) are set from outside, and
    `reconsider` called after that. `clock` counts seconds and never jumps; `now` is the date.
    """

    def __init__(
        self,
        store: ModelStore,
        keeper: StateKeeper,
        swapper: Swapper,
        scope: Scope,
        from_loop: FromLoop | None,
        *,
        appliance_version: str,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self.operation_mode: OperationMode = "startup"
        self.paused = False
        self.wish: Wanted | None = None
        self.trouble: Trouble | None = None
        self.lock = UpdateLock(clock, self.reconsider)
        self.holds = Holds(clock)
        self.from_loop = from_loop
        self._keeper = keeper
        self._swapper = swapper
        self._scope = scope
        self._appliance_version = appliance_version
        self._now = now
        self._clock = clock
        self._unfit: tuple[Bundle, str] | None = None
        self._step: Step = Rest()
        self._doing: asyncio.Task[Any] | None = None
        self._disk = DiskView(store, swapper, clock)
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ from outside

    @property
    def status(self) -> UpdateStatus:
        """Where the change to what is wanted stands."""
        progress = self.from_loop.fetcher.progress if self.from_loop is not None else None
        sentence = self.trouble.sentence if self.trouble is not None else None
        return status_of(self._step, progress, self._keeper.state.on_probation, sentence)

    @property
    def target(self) -> Wanted | None:
        """The model that shall serve; None where nothing is wanted, or what was chosen was given up."""
        if self._keeper.state.mode != "follow_loop":
            return self.wish if self._keeper.state.mode == "specific_version" else None
        target = self.from_loop.watch.view.target if self.from_loop is not None else None
        return Wanted(target.model_uuid, target.version) if target is not None else None

    def _wanted_ids(self) -> set[str]:
        return {self.target.id} if self.target is not None else set()

    def start(self) -> None:
        """Begin to work; returns at once."""
        self._worker = asyncio.create_task(self._work(), name="model versions")
        self.reconsider()

    async def close(self) -> None:
        """Stop working; what is under way is called off."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    def reconsider(self) -> None:
        """Something is different: think again. No swap happens after this that is not allowed any more: see `_may_swap`."""
        self._disk.changed()
        self._wake.set()

    def unfit(self, bundle: Bundle, reason: str) -> None:
        """This model kills its worker again and again: go back to the last good one."""
        log.error("model %s is unfit: %s", bundle.model.version, reason)
        self._unfit = (bundle, reason)
        self._wake.set()

    def _may_swap(self) -> bool:
        """Asked at the last moment before a swap, when nobody can come between."""
        return self.operation_mode == "idle" and not self.paused and self.lock.seconds_left == 0

    # ------------------------------------------------------------------ obeying

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            try:
                seconds = await self._carry_out()
            except Exception as error:  # what serves serves on, and the next wish may be fulfilled
                log.exception("changing the model failed")
                self._fail(f"Changing the model failed unforeseen ({type(error).__name__}); the log tells more")
                seconds = LOOK_SECONDS
                self._leave_alone(self._step)
            with anyio.move_on_after(seconds):
                await self._wake.wait()

    async def _carry_out(self) -> float | None:
        """Do what is to be done now. Returns the seconds until there may be more; None if something must happen first."""
        while True:
            await self._attend_to_unfit()
            await self._swapper.right_the_date()
            if await self._swapper.commit_if_proven() and self.from_loop is not None:
                await self.from_loop.tidier.prune(self._wanted_ids())
                self._disk.changed()
            self._step = step = next_step(await self._situation())
            self.trouble = trouble_after(step, self.trouble)
            if isinstance(step, AskForModels | Probe | Download):
                assert self.from_loop is not None
                await self._use_loop(step, self.from_loop)
                if isinstance(step, Download):
                    self._disk.changed()
            elif isinstance(step, Load):
                await self._load(step)
                self._disk.changed()
            else:
                await self._note_choice(step)
                if isinstance(step, Serving) and self.from_loop is not None:
                    await self.from_loop.tidier.tidy(self._wanted_ids())
                return self._seconds_until(step)

    async def _note_choice(self, step: Step) -> None:
        """A version that somebody chose by name and that serves is kept for good; one that was given up is no wish."""
        state = self._keeper.state
        if state.mode != "specific_version" or step.wanted is None:
            return
        self.wish = None if isinstance(step, Rest) and step.given_up else step.wanted
        if isinstance(step, Serving) and state.current is not None and state.current not in state.of_people:
            await self._keeper.note(partial(VersionState.chosen_by_person, reference=state.current))

    async def _use_loop(self, step: AskForModels | Probe | Download, from_loop: FromLoop) -> None:
        if isinstance(step, AskForModels):
            await from_loop.watch.ask_for_models()
        elif isinstance(step, Probe):
            await self._probe(step, from_loop)
        else:
            from_loop.tidier.tidied = False
            await self._download(step, from_loop)

    def _seconds_until(self, step: Step) -> float | None:
        until = step.until if isinstance(step, Rest | Postpone | WaitForFormat) else None
        seconds = max(0.05, until - self._clock()) if until is not None else None
        if self._keeper.state.on_probation:
            seconds = LOOK_SECONDS if seconds is None else min(seconds, LOOK_SECONDS)
        return seconds

    async def _situation(self) -> Situation:
        while True:  # what failed is part of the state, which somebody may change while the disk is looked at
            state = self._keeper.state
            models, failed = await self._disk.look()
            if state is self._keeper.state:
                break
        now = self._clock()
        return Situation(
            state=state,
            scope=self._scope,
            models=models,
            now=now,
            appliance_version=self._appliance_version,
            loop=self.from_loop.watch.view if self.from_loop is not None else None,
            failed=failed,
            holds=dict(self.holds.by_file),
            operation_mode=self.operation_mode,
            locked_until=now + self.lock.seconds_left,
            paused=self.paused,
        )

    async def _while_wanted(self, step: Step, work: Coroutine[Any, Any, T]) -> T | None:
        """Do this until it is done, or the plan has become another one: None. What it raises is raised."""
        self._doing = task = asyncio.create_task(work)
        try:
            while not task.done():
                woken = asyncio.create_task(self._wake.wait())
                await asyncio.wait({task, woken}, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
                if task.done():
                    break
                self._wake.clear()
                if isinstance(step, Download):  # it may take long; a swap does not, and has to end first
                    await self._attend_to_unfit()
                if not _goes_on(step, next_step(await self._situation())):
                    break
        finally:
            self._doing = None
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            self._disk.changed()
            self._wake.set()  # whatever woke it in vain, the plan is made anew
        return None if task.cancelled() else task.result()

    async def called_off(self) -> None:
        """Return when nothing is being done that could be called off."""
        if (doing := self._doing) is not None:
            doing.cancel()
            await asyncio.wait({doing})

    # ------------------------------------------------------------------ the steps

    async def _probe(self, step: Probe, from_loop: FromLoop) -> None:
        key = (step.wanted.id, step.format)
        probed = await from_loop.watch.probe(key)
        if probed.told and probed.offer is None and key not in self.holds.by_file:
            failures = self._keeper.state.failures_of(*key, self._appliance_version)
            self.holds.until(key, BLIND_RETRY_SECONDS, failures[-1].reason if failures else None)

    async def _download(self, step: Download, from_loop: FromLoop) -> None:
        key, name = (step.wanted.id, step.format), f"Model {step.wanted.version}"
        try:
            arrival = await self._while_wanted(step, from_loop.fetcher.download(step))
            if arrival is not None:
                stored = await from_loop.fetcher.take(step, arrival)
                await self._check_against_failures(step, stored, from_loop)
        except BytesFailed as error:
            await self._keeper.note(partial(VersionState.remembering, failure=self._failure(step, error)))
            self._fail(f"{name} of the Loop cannot be used: {error.reason}", step)
            sentence = f"{name} of the Loop cannot be used: {error.reason}"
            self.holds.bytes_failed(key, sentence, blind=error.offer is None)
        except NotInLoop:
            from_loop.watch.forget_models()
            self.holds.not_there(key)
        except LoopError as error:
            self._fail(f"{name} cannot be downloaded: {error}", step)
            wait = error.retry_after if isinstance(error, LoopBusy) else None
            self.holds.for_now(key, f"{name} cannot be downloaded: {error}", at_least=wait or 0.0)
        except DetectorApplianceError as error:
            self._fail(f"{name} cannot be stored: {error}", step)
            self.holds.for_now(key, f"{name} cannot be stored: {error}", first=60.0, cap=600.0)

    def _failure(self, step: Download, error: BytesFailed) -> RememberedFailure:
        return RememberedFailure(
            model_id=step.wanted.id,
            format=step.format,
            version=step.wanted.version,
            zip_sha256=error.zip_sha256,
            offer=error.offer,
            appliance_version=self._appliance_version,
            reason=error.reason,
            when=self._now(),
        )

    async def _check_against_failures(self, step: Download, stored: StoredModel, from_loop: FromLoop) -> None:
        """Another zip may hold the very model that failed: then what the Loop offers now is remembered, too."""
        if stored.identity not in await asyncio.to_thread(self._swapper.failed, [stored]):
            return
        failure = self._keeper.state.failures_of(step.wanted.id, step.format, self._appliance_version)[-1]
        origin = self._keeper.state.download_of(ModelReference.of(stored))
        if origin is not None:
            failure = failure.model_copy(update={"offer": origin.offer, "zip_sha256": origin.zip_sha256})
            await self._keeper.note(partial(VersionState.remembering, failure=failure))
        self.holds.bytes_failed((step.wanted.id, step.format), failure.reason, blind=failure.offer is None)
        await from_loop.tidier.discard(stored)

    async def _load(self, step: Load) -> None:
        model, key = step.model, (step.model.id, step.model.format)
        reference = ModelReference.of(model)
        outcome = await self._while_wanted(step, self._swapper.load(model, self._may_swap))
        if outcome is None:
            return
        await self._swapper.settle(model, outcome)
        if outcome.serves:
            self.trouble = None
            self.holds.works(key)
            return
        if not outcome.for_good and not self._may_swap():
            return  # it was called off at the last moment
        sentence = in_words(model, outcome)
        self._fail(sentence, step)
        if not outcome.for_good:
            self.holds.for_now(key, sentence)
        elif self.from_loop is not None and (origin := self._keeper.state.download_of(reference)) is not None:
            self.holds.bytes_failed(key, sentence, blind=origin.offer is None)
            await self.from_loop.tidier.discard(model)
        elif self._keeper.state.mode == "specific_version":
            self.wish = None  # what serves goes on serving; the reason is told

    async def _attend_to_unfit(self) -> None:
        unfit, self._unfit = self._unfit, None
        if unfit is None:
            return
        gone_back = await self._swapper.go_back(*unfit)
        self._disk.changed()
        if gone_back is not None:
            about, sentence = gone_back
            self.trouble = Trouble(sentence, about, lasting=True)
            if self.wish is not None and self.wish.id == about:
                self.wish = None

    # ------------------------------------------------------------------ what went wrong

    def _fail(self, sentence: str, step: Step | None = None) -> None:
        wanted = step.wanted if step is not None else None
        self.trouble = Trouble(sentence, wanted.id if wanted is not None else "")
        log.error("%s", sentence)

    def _leave_alone(self, step: Step) -> None:
        """What came to an unforeseen end is not tried again at once."""
        form = step.format if isinstance(step, Download) else step.model.format if isinstance(step, Load) else None
        if form is not None and step.wanted is not None and self.trouble is not None:
            self.holds.for_now((step.wanted.id, form), self.trouble.sentence)


def _goes_on(step: Step, new: Step) -> bool:
    """Whether what is being done is still to be done. A download that goes on does not mind that the Loop was silent."""
    if isinstance(step, Download) and isinstance(new, WaitForLoop | AskForModels):
        return same_version(step.wanted.version, new.wanted.version) and new.wanted.id in ("", step.wanted.id)
    return step == new
