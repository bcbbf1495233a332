"""Model versions as they are asked for: which one serves, which modes there are, what is on disk, what failed.

Changing the version is a wish that is written down and carried out in the background: the wish is answered at once, the
serving model serves until the new one is proven, and a wish that cannot be fulfilled leaves everything as it was and
says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

from appliance.versions import state as state_file
from appliance.versions.plan import Mode, Scope, at_start, parse_mode, resolve
from appliance.versions.state import ModelReference, RememberedFailure, VersionState
from models.bundle import Bundle, open_bundle
from models.errors import BundleError, DetectorApplianceError, ModelFailed, StorageRefused, UnknownVersion
from models.files import FileSystem
from models.store import ModelStore, StoredModel, version_key
from models.wire.node_status import ModelVersionResponse, OperationMode

log = logging.getLogger(__name__)


class Loads(Protocol):
    """What brings a bundle into service; see `appliance.inference.supervisor.Supervisor.load`."""

    async def load(self, bundle: Bundle) -> object: ...


class Versions:
    """See the module's docstring. Belongs to one event loop; what blocks is done in threads."""

    def __init__(
        self,
        store: ModelStore,
        supervisor: Loads,
        scope: Scope,
        state_path: Path,
        files: FileSystem,
        *,
        appliance_version: str,
        default_mode: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.operation_mode: OperationMode = "startup"
        self.scope = scope
        self._store = store
        self._supervisor = supervisor
        self._path = state_path
        self._files = files
        self._appliance_version = appliance_version
        self._default_mode = default_mode
        self._now = now
        self._state = VersionState()
        self._target: StoredModel | None = None
        self._error: str | None = None
        self._paused = False
        self._unfit: tuple[Bundle, str] | None = None
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    # ------------------------------------------------------------------ what is

    @property
    def state(self) -> VersionState:
        """Mode, current and last good model, failures."""
        return self._state

    @property
    def current(self) -> ModelReference | None:
        """The model that serves."""
        return self._state.current

    @property
    def target(self) -> StoredModel | None:
        """The model that shall serve; None where nothing was chosen."""
        return self._target

    @property
    def error(self) -> str | None:
        """Why the last change did not come about; None after one that did."""
        return self._error

    @property
    def local_versions(self) -> list[str]:
        """Versions on this box that may be chosen, in the order of their numbers. Blocks."""
        return sorted({model.version for model in self._store.list() if self.scope.holds(model)}, key=version_key)

    async def response(self) -> ModelVersionResponse:
        """As `GET /model_version` and the event `get_model_version` tell it."""
        return ModelVersionResponse(
            current_version=self._state.current.version if self._state.current else "None",
            target_version=self._target.version if self._target else "None",
            local_versions=await asyncio.to_thread(lambda: self.local_versions),
            version_control=self._state.mode,
        )

    # ------------------------------------------------------------------ starting and ending

    async def start(self) -> None:
        """Bring the first model that works into service; the box then is `idle`, with a model or without one."""
        self._state = await asyncio.to_thread(state_file.load, self._path, self._files)
        await asyncio.to_thread(self._store.sweep)
        if self._default_mode is not None:
            mode = parse_mode(self._default_mode)
            self._state = self._state.in_mode(mode.control, mode.version)
        failed: str | None = None
        for model in await asyncio.to_thread(self._candidates):
            if await self._serve(model):
                self._target = model if self._is_chosen(model) else None
                self._error = f"{failed}. Model {model.version} serves instead" if failed is not None else None
                break
            failed = failed or self._error
        else:
            log.error("no model on this box works; add one with: appliance models add ZIP")
        self.operation_mode = "idle"
        self._worker = asyncio.create_task(self._work(), name="model versions")

    async def close(self) -> None:
        """Stop changing models."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    # ------------------------------------------------------------------ wishes

    async def set_mode(self, text: str) -> None:
        """`follow_loop`, `pause`, or a version that is on this box. Raises `UnknownVersion`; then nothing has changed."""
        mode = parse_mode(text)
        target: StoredModel | None = None
        if mode.version is not None:
            target = resolve(mode.version, await asyncio.to_thread(self._store.list), self.scope)
        await self._choose(mode, target)

    async def _choose(self, mode: Mode, target: StoredModel | None) -> None:
        def chosen(state: VersionState) -> VersionState:
            state = state.in_mode(mode.control, mode.version)
            return state if target is None else state.forgetting(target.id)  # a person says so: try it again

        await self._change(chosen)
        self._target, self._error = target, None
        self._wake.set()

    def set_paused(self, paused: bool) -> None:
        """Leave everything as it is for as long as this is set; for tests of whole systems."""
        self._paused = paused
        self._wake.set()

    def set_operation_mode(self, mode: OperationMode) -> None:
        """While `detecting`, no model is swapped; what was asked for happens when the mode is `idle` again."""
        self.operation_mode = mode
        self._wake.set()

    async def list(self) -> tuple[list[StoredModel], list[tuple[Path, str]]]:
        """Every model on disk, and folders that are none with the reason."""
        return await asyncio.to_thread(lambda: (self._store.list(), self._store.broken()))

    async def add(self, zip_path: Path) -> StoredModel:
        """Take a zip into the store. Raises `BundleError`, `InputTooLarge` or `StorageRefused`."""
        return await asyncio.to_thread(self._store.put_zip, zip_path)

    async def remove(self, wanted: str) -> StoredModel:
        """Remove a version from the disk. Raises `UnknownVersion`, or `StorageRefused` for one that serves or is wanted."""
        model = resolve(wanted, await asyncio.to_thread(self._store.list), self.scope)
        if self._is_current(model) or (self._target is not None and self._target.identity == model.identity):
            raise StorageRefused(
                f"Version {model.version} serves or is about to; choose another one before removing it"
            )
        await asyncio.to_thread(self._store.remove, model)
        return model

    async def reset(self) -> None:
        """Forget modes and failures and remove every model, but for those that ship with the box; for tests."""
        models = await asyncio.to_thread(self._store.list)
        await self._choose(Mode("follow_loop"), None)
        for model in models:
            if model.read_only and (self._is_current(model) or await self._serve(model)):
                break
        await self._change(lambda state: VersionState(current=state.current))
        for model in models:
            if not model.read_only:
                await asyncio.to_thread(self._store.remove, model)

    def unfit(self, bundle: Bundle, reason: str) -> None:
        """The supervisor says that this model kills its worker again and again: go back to the last good one."""
        log.error("model %s is unfit: %s", bundle.model.version, reason)
        self._unfit = (bundle, reason)
        self._wake.set()

    # ------------------------------------------------------------------ carrying out

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._carry_out()
            except Exception as error:  # what serves serves on, and the next wish may be fulfilled
                log.exception("changing the model failed")
                self._target = None
                self._error = f"Changing the model failed unforeseen ({type(error).__name__}); the log tells more"

    async def _carry_out(self) -> None:
        unfit, self._unfit = self._unfit, None
        if unfit is not None:
            await self._go_back(*unfit)
        target = self._target
        if target is None or self._is_current(target) or self.operation_mode != "idle" or self._paused:
            return
        if not await self._serve(target) and self._target is target:
            self._target = None  # what serves goes on serving; the reason is in `error`

    async def _go_back(self, bundle: Bundle, reason: str) -> None:
        failure = await asyncio.to_thread(self._failure, bundle, reason)
        await self._note(lambda state: state.remembering(failure))
        current = self._state.current
        if current is None or bundle.identity != _identity(current):
            return  # another model has taken over meanwhile
        unfit = f"Model {bundle.model.version} is unfit"
        self._error = f"{unfit}. {reason}"
        others = [model for model in await asyncio.to_thread(self._candidates) if model.identity != bundle.identity]
        good = self._state.last_good
        others.sort(key=lambda model: good is None or model.identity != _identity(good))
        for model in others:
            if await self._serve(model, in_place_of_unfit=True):
                self._target = None
                self._error = f"{unfit}, model {model.version} serves again. {reason}"
                return
        self._error = f"{unfit}, and no other model on this box works. {reason}"

    def _candidates(self) -> Sequence[StoredModel]:
        """What to try to serve when nobody asks for a certain one, in order. What failed before comes last: it is tried
        only if nothing else works. Blocks.
        """
        models = at_start(self._state, self._store.list(), self.scope)
        return sorted(models, key=self._failed_before) if self._state.failures else models

    def _failed_before(self, model: StoredModel) -> bool:
        try:
            bundle = open_bundle(model.folder, verify_hashes=False)
            version = self._appliance_version
            known = self._state.failure(bundle.model_id, bundle.identity.format, bundle.fingerprint, version)
        except BundleError:
            return False
        return known is not None

    async def _serve(self, model: StoredModel, *, in_place_of_unfit: bool = False) -> bool:
        """Bring a model into service. False, with the reason in `error`, if it does not come to that."""
        reference = ModelReference(
            organization=model.organization, project=model.project, format=model.format, version=model.version
        )
        try:
            bundle = await asyncio.to_thread(self._store.open, model)
            await self._supervisor.load(bundle)
        except (BundleError, ModelFailed) as error:
            sentence = f"Model {model.version} could not be brought into service: {error}"
            log.error(sentence)
            failure = await asyncio.to_thread(self._failure_of, model, str(error))
            await self._note(lambda state: state.remembering(failure))
            self._error = sentence  # last: whoever sees it finds the failure listed, too
            return False
        except DetectorApplianceError as error:
            self._error = str(error)
            return False

        def served(state: VersionState) -> VersionState:
            good = state.last_good if state.current in (None, reference) else state.current
            if in_place_of_unfit:
                good = reference  # what it replaces is nothing to go back to
            return state.forgetting(model.id).model_copy(update={"current": reference, "last_good": good})

        self._error = None
        await self._note(served)
        return True

    def _is_current(self, model: StoredModel) -> bool:
        current = self._state.current
        return current is not None and model.identity == _identity(current)

    def _is_chosen(self, model: StoredModel) -> bool:
        try:
            return self._state.chosen is not None and resolve(self._state.chosen, [model], self.scope) == model
        except UnknownVersion:
            return False

    def _failure(self, bundle: Bundle, reason: str) -> RememberedFailure:
        return RememberedFailure(
            model_id=bundle.model_id,
            format=bundle.identity.format,
            fingerprint=bundle.fingerprint,
            appliance_version=self._appliance_version,
            reason=reason,
            when=self._now(),
        )

    def _failure_of(self, model: StoredModel, reason: str) -> RememberedFailure:
        try:
            return self._failure(open_bundle(model.folder, verify_hashes=False), reason)
        except BundleError:
            return RememberedFailure(
                model_id=model.id,
                format=model.format,
                fingerprint="",
                appliance_version=self._appliance_version,
                reason=reason,
                when=self._now(),
            )

    async def _change(self, change: Callable[[VersionState], VersionState]) -> None:
        """Write down what `change` makes of the state; one change at a time, each made of what the one before left.

        Raises `StorageRefused` where it cannot be written down; the old state then stands.
        """
        async with self._changing:
            new = change(self._state)
            await asyncio.to_thread(state_file.save, self._path, new, self._files)
            self._state = new

    async def _note(self, change: Callable[[VersionState], VersionState]) -> None:
        """As `_change`, for what has happened already: it counts even if it cannot be written down."""
        try:
            await self._change(change)
        except StorageRefused as error:
            log.error("what happened to the models is known until the next start only: %s", error)
            self._state = change(self._state)


def _identity(reference: ModelReference) -> tuple[str, str, str, str]:
    return (reference.organization, reference.project, reference.format, reference.version)


def failures_in_words(failures: Sequence[RememberedFailure]) -> list[dict[str, str]]:
    """For people and REST: which model failed, when and why."""
    return [
        {"model_id": each.model_id, "format": each.format, "reason": each.reason, "when": each.when.isoformat()}
        for each in failures
    ]
