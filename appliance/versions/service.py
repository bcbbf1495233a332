"""Model versions as they are asked for: which one serves, which modes there are, what is on disk, what failed.

Changing the version is a wish that is written down and carried out in the background: the wish is answered at once, the
serving model serves until the new one is proven, and a wish that cannot be fulfilled leaves everything as it was and
says why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import anyio

from appliance.connection import LoopConnection
from appliance.versions.disk import Tidier
from appliance.versions.fetching import DOWNLOADS, Fetcher, Room
from appliance.versions.following import LoopWatch
from appliance.versions.keeper import StateKeeper
from appliance.versions.lock import UpdateLock
from appliance.versions.plan import Wanted
from appliance.versions.ports import LoopModels, Serves
from appliance.versions.progress import Trouble, UpdateStatus
from appliance.versions.reference import ModelReference
from appliance.versions.selection import Mode, Scope, listed_as, meant_by, parse_mode, resolve, sought_in_loop
from appliance.versions.state import RememberedFailure, VersionState
from appliance.versions.swapping import Swapper
from appliance.versions.updater import FromLoop, Updater
from models.bundle import Bundle
from models.errors import LoopError, StorageRefused, UnknownVersion
from models.files import FileSystem
from models.store import ModelStore, StoredModel, version_key
from models.uninterrupted import in_thread, to_its_end
from models.wire.node_status import ModelVersionResponse, OperationMode

LOOK_UP_WITHIN_SECONDS = 10.0
"""For the Loop to say whether it has a version: somebody waits for the answer."""

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Bounds:
    """How many older versions stay, and how much of the disk models may have (bytes), and must leave free."""

    keep_versions: int = 3
    max_bytes: int = 4096 * MEGABYTE
    free_floor: int = 200 * MEGABYTE


class Versions:
    """See the module's docstring. Belongs to one event loop; what blocks is done in threads.

    `loop` is None for a standalone box, which contacts nobody. `now` is the date, for people; `clock` counts seconds and
    never jumps.
    """

    def __init__(
        self,
        store: ModelStore,
        supervisor: Serves,
        scope: Scope,
        state_path: Path,
        files: FileSystem,
        *,
        appliance_version: str,
        default_mode: str | None = None,
        loop: LoopModels | None = None,
        connection: LoopConnection | None = None,
        bounds: Bounds | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        bounds = bounds or Bounds()
        self.scope = scope
        self._store = store
        self._default_mode = default_mode
        self._loop = loop
        self._keeper = StateKeeper(state_path, files)
        self._swapper = Swapper(
            store, supervisor, self._keeper, scope, appliance_version=appliance_version, now=now, clock=clock
        )
        from_loop: FromLoop | None = None
        if loop is not None:
            watch = LoopWatch(loop, connection or LoopConnection("the Loop", clock), self._reconsider, clock=clock)
            folder, room = state_path.parent / DOWNLOADS, Room(bounds.max_bytes, bounds.free_floor)
            fetcher = Fetcher(loop, store, self._keeper, scope, folder, files, room, appliance_version)
            tidier = Tidier(
                store, self._keeper, fetcher, keep_versions=bounds.keep_versions, max_bytes=bounds.max_bytes
            )
            from_loop = FromLoop(watch, fetcher, tidier)
        self._updater = Updater(
            store,
            self._keeper,
            self._swapper,
            scope,
            from_loop,
            appliance_version=appliance_version,
            now=now,
            clock=clock,
        )

    # ------------------------------------------------------------------ what is

    @property
    def state(self) -> VersionState:
        """Mode, current and last good model, failures."""
        return self._keeper.state

    @property
    def current(self) -> ModelReference | None:
        """The model that serves."""
        return self.state.current

    @property
    def target(self) -> Wanted | None:
        """The model that shall serve; None where nothing is wanted, or what was chosen was given up."""
        return self._updater.target

    @property
    def loop_version(self) -> str | None:
        """The version that the Loop wants its detectors to serve, as it said last."""
        target = self.watch.view.target if self.watch is not None else None
        return target.version if target is not None else None

    @property
    def error(self) -> str | None:
        """Why the last change did not come about; None after one that did."""
        trouble = self._updater.trouble
        return trouble.sentence if trouble is not None else None

    @property
    def update(self) -> UpdateStatus:
        """Where the change to the target stands."""
        return self._updater.status

    @property
    def lock(self) -> UpdateLock:
        """The lease under which no model is swapped."""
        return self._updater.lock

    @property
    def watch(self) -> LoopWatch | None:
        """What asks the Loop; None for a standalone box."""
        return self._updater.from_loop.watch if self._updater.from_loop is not None else None

    @property
    def operation_mode(self) -> OperationMode:
        """`startup` until a model serves, or none does; then what somebody set."""
        return self._updater.operation_mode

    @property
    def local_versions(self) -> list[str]:
        """Versions on this box that may be chosen, in the order of their numbers. Blocks."""
        return sorted({model.version for model in self._store.list() if self.scope.holds(model)}, key=version_key)

    async def response(self) -> ModelVersionResponse:
        """As `GET /model_version` and the event `get_model_version` tell it."""
        return ModelVersionResponse(
            current_version=self.state.current.version if self.state.current else "None",
            target_version=self.target.version if self.target else "None",
            loop_version=self.loop_version or "None",
            local_versions=await asyncio.to_thread(lambda: self.local_versions),
            version_control=self.state.mode,
        )

    # ------------------------------------------------------------------ starting and ending

    async def start(self) -> None:
        """Bring the first model that works into service; the box then is `idle`, with a model or without one.

        Waits for no Loop: that is asked from then on.
        """
        await self._keeper.load()
        await asyncio.to_thread(self._store.sweep)
        if self._default_mode is not None:
            mode = parse_mode(self._default_mode)
            self._keeper.begin_with(lambda state: state.in_mode(mode.control, mode.version))
        if self.state.chosen is not None:
            self._updater.wish = await asyncio.to_thread(self._wish_for, self.state.chosen)
        notice = await self._swapper.first_to_serve()
        self._updater.trouble = Trouble(notice, lasting=True) if notice is not None else None
        self._updater.operation_mode = "idle"
        self._updater.start()
        if self.watch is not None:
            self.watch.start()

    def _wish_for(self, chosen: str) -> Wanted:
        meant = meant_by(chosen, self._store.list(), self.scope)
        return Wanted(meant[0].id, meant[0].version) if meant else Wanted("", chosen.rpartition("/")[2])

    async def close(self) -> None:
        """Stop changing models, and asking the Loop."""
        if self.watch is not None:
            await self.watch.close()
        await self._updater.close()
        await self._swapper.end()

    # ------------------------------------------------------------------ wishes

    async def set_mode(self, text: str) -> None:
        """`follow_loop`, `pause`, or a version on this box or in the Loop. Raises `UnknownVersion`; nothing has changed then.

        A model that failed before is tried again: somebody says so.
        """
        mode = parse_mode(text)
        if mode.version is None:
            await self._choose(mode, None)
            return
        models = await asyncio.to_thread(self._store.list)
        sought = sought_in_loop(mode.version, self.scope)
        if meant_by(mode.version, models, self.scope) or self._loop is None or sought is None:
            model = resolve(mode.version, models, self.scope)
            await self._choose(mode, Wanted(model.id, model.version), ModelReference.of(model))
        else:
            await self._choose(mode, await self._in_loop(self._loop, sought[0]))

    async def _in_loop(self, loop: LoopModels, version: str) -> Wanted:
        """A version that is not on this box. Raises `UnknownVersion`."""
        try:
            with anyio.fail_after(LOOK_UP_WITHIN_SECONDS):
                listed = await loop.models()
        except (LoopError, TimeoutError) as error:
            because = str(error) or f"it did not answer within {LOOK_UP_WITHIN_SECONDS:g} s"
            raise UnknownVersion(
                f"Version {version} is not on this box, and the Loop cannot be asked for it: {because}"
            ) from error
        found = listed_as(version, listed)
        if found is None:
            here = ", ".join(await asyncio.to_thread(lambda: self.local_versions)) or "none"
            raise UnknownVersion(f"Version {version} is neither on this box nor in the Loop; on this box are: {here}")
        return Wanted(found.id, version)

    async def _choose(self, mode: Mode, wish: Wanted | None, by_person: ModelReference | None = None) -> None:
        again = {wish.id} if wish is not None else set()
        if mode.control == "follow_loop" and self.watch is not None and self.watch.view.target is not None:
            again = {self.watch.view.target.model_uuid}

        def chosen(state: VersionState) -> VersionState:
            state = state.in_mode(mode.control, mode.version)
            for model_id in again:
                state = state.forgetting(model_id)
            return state if by_person is None else state.chosen_by_person(by_person)

        await self._keeper.change(chosen)
        self._updater.wish, self._updater.trouble = wish, None
        for model_id in again:
            self._updater.holds.forget(model_id)
        if self.watch is not None:
            self.watch.forget_models()
        self._reconsider()

    def set_paused(self, paused: bool) -> None:
        """Leave everything as it is for as long as this is set, and ask nobody; for tests of whole systems."""
        self._updater.paused = paused
        if self.watch is not None:
            self.watch.set_paused(paused)
        self._reconsider()

    def set_operation_mode(self, mode: OperationMode) -> None:
        """While `detecting`, no model is swapped; what was asked for happens when the mode is `idle` again."""
        self._updater.operation_mode = mode
        self._reconsider()

    def unfit(self, bundle: Bundle, reason: str) -> None:
        """The supervisor says that this model kills its worker again and again: go back to the last good one."""
        self._updater.unfit(bundle, reason)

    def _reconsider(self) -> None:
        self._updater.reconsider()

    # ------------------------------------------------------------------ the models on disk

    @property
    def changes(self) -> int:
        """How often a model came to the disk or went since the start."""
        return self._store.changes

    async def list(self) -> tuple[list[StoredModel], list[tuple[Path, str]]]:
        """Every model on disk, and folders that are none with the reason."""
        await self._swapper.right_the_date()  # somebody is about to be told when they served
        return await asyncio.to_thread(lambda: (self._store.list(), self._store.broken()))

    async def add(self, zip_path: Path) -> StoredModel:
        """Take a zip into the store. Raises `BundleError`, `InputTooLarge` or `StorageRefused`."""
        added = await in_thread(self._store.put_zip, zip_path)
        self._reconsider()
        return added

    async def remove(self, wanted: str) -> StoredModel:
        """Remove a version from the disk. Raises `UnknownVersion`, or `StorageRefused` for one that serves or is wanted."""
        model = resolve(wanted, await asyncio.to_thread(self._store.list), self.scope)
        if self._is_current(model) or (self.target is not None and self.target.id == model.id):
            raise StorageRefused(
                f"Version {model.version} serves or is about to; choose another one before removing it"
            )
        await to_its_end(self._forget(model))
        return model

    async def _forget(self, model: StoredModel) -> None:
        await in_thread(self._store.remove, model)
        await self._keeper.note(lambda state: state.without_model(ModelReference.of(model)))

    async def reset(self) -> None:
        """Forget modes and failures and remove every model, but for those that ship with the box; for tests."""
        models = await asyncio.to_thread(self._store.list)
        await self._choose(Mode("pause"), None)
        await self._updater.called_off()
        for model in models:
            if model.read_only and (self._is_current(model) or (await self._swapper.serve(model)).serves):
                break
        await self._keeper.change(lambda state: VersionState(current=state.current))
        for model in models:
            if not model.read_only:
                await asyncio.to_thread(self._store.remove, model)
        self._reconsider()

    def _is_current(self, model: StoredModel) -> bool:
        return self.state.current is not None and self.state.current.names(model)


def failures_in_words(failures: Sequence[RememberedFailure]) -> list[dict[str, str]]:
    """For people and REST: which model failed, when and why."""
    return [
        {
            "model_id": each.model_id,
            "format": each.format,
            "version": each.version or "",
            "reason": each.reason,
            "when": each.when.isoformat(),
        }
        for each in failures
    ]
