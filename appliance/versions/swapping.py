"""Which model serves: brings one into service, watches it prove itself, and goes back to the one before if it does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from appliance.versions.keeper import StateKeeper
from appliance.versions.ports import Served, Serves
from appliance.versions.reference import ModelReference
from appliance.versions.selection import Scope, at_start
from appliance.versions.served import ClockWatch
from appliance.versions.state import Probation, RememberedFailure, VersionState
from models.bundle import Bundle, Identity, open_bundle
from models.errors import BundleError, DetectorApplianceError, ModelFailed
from models.store import ModelStore, StoredModel

log = logging.getLogger(__name__)

PROVEN_ANSWERS = 50
"""A worker that gave so many answers with a new model shows that it can live with it."""

PROVEN_SECONDS = 300.0
"""So does a model whose worker did not die for so long, whether or not anybody asked it anything."""

MAX_STARTS = 3
"""Of this program, without an orderly end, while a model is on probation: it may be what takes the box down."""


MAX_FINGERPRINTS = 200


@dataclass(frozen=True)
class Outcome:
    """What came of bringing a model into service. `problem`: why it does not serve; `for_good`: its bytes failed."""

    problem: str | None = None
    for_good: bool = False

    @property
    def serves(self) -> bool:
        """Whether it does."""
        return self.problem is None


class Swapper:
    """See the module's docstring. Belongs to one event loop. `now` is the date, `clock` counts seconds and never jumps."""

    def __init__(
        self,
        store: ModelStore,
        supervisor: Serves,
        keeper: StateKeeper,
        scope: Scope,
        *,
        appliance_version: str,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._supervisor = supervisor
        self._keeper = keeper
        self._scope = scope
        self._appliance_version = appliance_version
        self._now = now
        self._clock = clock
        self._clock_watch = ClockWatch()
        self._calm_since = 0.0
        self._troubles = 0
        self._fingerprints: dict[tuple[Path, int, int], str] = {}

    # ------------------------------------------------------------------ bringing into service

    async def load(self, model: StoredModel, still_wanted: Callable[[], bool] = lambda: True) -> Outcome:
        """Have the supervisor serve a model. May be called off; whatever comes of it is to be given to `settle`."""
        try:
            bundle = await asyncio.to_thread(self._store.open, model)
            await self._supervisor.load(bundle, still_wanted=still_wanted)
        except (BundleError, ModelFailed) as error:
            return Outcome(str(error), for_good=True)
        except DetectorApplianceError as error:
            return Outcome(str(error))
        return Outcome()

    async def settle(self, model: StoredModel, outcome: Outcome, *, proven: bool = False) -> None:
        """Write down what came of loading a model; `proven` where there is nothing to go back to."""
        if outcome.serves:
            self._begin_to_watch()
            await self.right_the_date()
            reference, now, before = ModelReference.of(model), self._now(), self._keeper.state.takeovers
            await self._keeper.note(
                lambda state: state.forgetting(model.id, model.format).serving(reference, now, proven=proven)
            )
            if self._keeper.state.takeovers != before:
                self._clock_watch.took_over(now, self._clock())
        elif outcome.for_good:
            log.error("model %s could not be brought into service: %s", model.version, outcome.problem)
            failure = await asyncio.to_thread(self._failure_of, model, str(outcome.problem))
            await self._keeper.note(lambda state: state.remembering(failure))

    async def serve(self, model: StoredModel, *, proven: bool = False) -> Outcome:
        """Bring a model into service whatever else is wanted meanwhile."""
        outcome = await self.load(model)
        await self.settle(model, outcome, proven=proven)
        return outcome

    async def first_to_serve(self) -> str | None:
        """At start: the first model that works. Returns a sentence where that is not the one that was due, or none is."""
        await self._count_start()
        failed: str | None = None
        for model in await asyncio.to_thread(self.candidates):
            outcome = await self.serve(model, proven=failed is not None)
            if outcome.serves:
                return f"{failed}. Model {model.version} serves instead" if failed is not None else None
            failed = failed or in_words(model, outcome)
        log.error("no model on this box works; add one with: appliance models add ZIP")
        return failed or "There is no model on this box"

    async def _count_start(self) -> None:
        """A model on probation that was there whenever the box went down is not tried once more."""
        probation = self._keeper.state.probation
        if probation is None:
            return
        if not self._keeper.state.on_probation:
            await self._keeper.note(VersionState.committed)
            return
        if probation.starts < MAX_STARTS:
            counted = Probation(reference=probation.reference, starts=probation.starts + 1)
            await self._keeper.note(lambda state: state.model_copy(update={"probation": counted}))
            return
        await self._keeper.note(VersionState.committed)
        reason = f"The box went down {probation.starts} times while this model was on probation"
        models = await asyncio.to_thread(self._store.list)
        for model in (each for each in models if probation.reference.names(each)):
            failure = await asyncio.to_thread(self._failure_of, model, reason)
            await self._keeper.note(partial(VersionState.remembering, failure=failure))

    async def right_the_date(self) -> None:
        """Correct when what serves took over, if the clock has been set since."""
        when = self._clock_watch.corrected(self._now(), self._clock())
        if when is not None:
            log.info("the clock was set: what serves took over at %s", when.isoformat(timespec="seconds"))
            await self._keeper.note(lambda state: state.taken_over_at(when))

    async def end(self) -> None:
        """An orderly end: what is on probation may go on with it at the next start."""
        await self.right_the_date()
        probation = self._keeper.state.probation
        if probation is not None and probation.starts:
            calm = Probation(reference=probation.reference)
            await self._keeper.note(lambda state: state.model_copy(update={"probation": calm}))

    # ------------------------------------------------------------------ probation

    def _begin_to_watch(self) -> None:
        self._calm_since = self._clock()
        self._troubles = self._count_troubles()

    def _count_troubles(self) -> int:
        serving = self._supervisor.serving
        return serving.deaths + serving.failed_starts if serving is not None else 0

    async def commit_if_proven(self) -> bool:
        """Whether what is on probation has just proven itself."""
        state, serving = self._keeper.state, self._supervisor.serving
        if not state.on_probation or serving is None:
            return False
        now, troubles = self._clock(), self._count_troubles()
        if troubles != self._troubles:
            self._calm_since, self._troubles = now, troubles
        if not is_proven(serving, now - self._calm_since):
            return False
        log.info("model %s has proven itself", serving.bundle.model.version)
        await self._keeper.note(VersionState.committed)
        return True

    # ------------------------------------------------------------------ going back

    async def go_back(self, bundle: Bundle, reason: str) -> tuple[str, str] | None:
        """This model is unfit: remember it, and have another one serve if it is what serves.

        Returns the id of the model and a sentence; None if another one had taken over already.
        """
        failure = await asyncio.to_thread(self._failure, bundle, reason)
        await self._keeper.note(lambda state: state.remembering(failure))
        current = self._keeper.state.current
        if current is None or bundle.identity != Identity(**current.model_dump()):
            return None
        unfit = f"Model {bundle.model.version} is unfit"
        others = [model for model in await asyncio.to_thread(self.candidates) if model.identity != bundle.identity]
        good = self._keeper.state.last_good
        others.sort(key=lambda model: good is None or not good.names(model))
        for model in others:
            if (await self.serve(model, proven=True)).serves:
                return failure.model_id, f"{unfit}, model {model.version} serves again. {reason}"
        return failure.model_id, f"{unfit}, and no other model on this box works. {reason}"

    # ------------------------------------------------------------------ what failed before

    def candidates(self) -> Sequence[StoredModel]:
        """What to try to serve when nobody asks for a certain one, in order. What failed before comes last: it is tried
        only if nothing else works. Blocks.
        """
        models = at_start(self._keeper.state, self._store.list(), self._scope)
        failed = self.failed(models)
        return sorted(models, key=lambda model: model.identity in failed)

    def failed(self, models: Sequence[StoredModel]) -> frozenset[Identity]:
        """Those whose bytes failed before. Blocks."""
        state = self._keeper.state
        suspects = {(each.model_id, each.format) for each in state.failures}
        return frozenset(
            model.identity for model in models if (model.id, model.format) in suspects and self._failed_before(model)
        )

    def _failed_before(self, model: StoredModel) -> bool:
        try:
            fingerprint = self._fingerprint(model)
        except (BundleError, OSError):
            return False
        return self._keeper.state.failure(model.id, model.format, fingerprint, self._appliance_version) is not None

    def _fingerprint(self, model: StoredModel) -> str:
        """As `Bundle.fingerprint`, which may have to read all weights: once for each folder, for bundles never change."""
        there = model.folder.stat()
        key = (model.folder, there.st_ino, there.st_mtime_ns)
        if key not in self._fingerprints:
            if len(self._fingerprints) >= MAX_FINGERPRINTS:
                self._fingerprints.clear()
            self._fingerprints[key] = open_bundle(model.folder, verify_hashes=False).fingerprint
        return self._fingerprints[key]

    def _failure(self, bundle: Bundle, reason: str) -> RememberedFailure:
        return self._remembered(
            ModelReference(**bundle.identity._asdict()), bundle.model_id, bundle.fingerprint, reason
        )

    def _failure_of(self, model: StoredModel, reason: str) -> RememberedFailure:
        try:
            return self._failure(open_bundle(model.folder, verify_hashes=False), reason)
        except BundleError:
            return self._remembered(ModelReference.of(model), model.id, "", reason)

    def _remembered(self, model: ModelReference, model_id: str, fingerprint: str, reason: str) -> RememberedFailure:
        origin = self._keeper.state.download_of(model)
        return RememberedFailure(
            model_id=model_id,
            format=model.format,
            version=model.version,
            fingerprint=fingerprint,
            zip_sha256=origin.zip_sha256 if origin is not None else None,
            offer=origin.offer if origin is not None else None,
            appliance_version=self._appliance_version,
            reason=reason,
            when=self._now(),
        )


def in_words(model: StoredModel, outcome: Outcome) -> str:
    """Why a model does not serve, as a sentence."""
    return f"Model {model.version} could not be brought into service: {outcome.problem}"


def is_proven(serving: Served, calm_seconds: float) -> bool:
    """Whether a new model may stay: enough answers from one worker, or long enough without a death. Pure."""
    return serving.answers >= PROVEN_ANSWERS or calm_seconds >= PROVEN_SECONDS
