"""What lies on the disk: looked at when something was done, and tidied when a model has proven itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from appliance.versions.fetching import Fetcher
from appliance.versions.keeper import StateKeeper
from appliance.versions.pruning import to_prune
from appliance.versions.reference import ModelReference
from appliance.versions.swapping import Swapper
from models.bundle import Identity
from models.errors import StorageRefused
from models.store import ModelStore, StoredModel
from models.uninterrupted import in_thread

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
"""After which the models on disk are looked at again though nothing was done with them."""


@dataclass(frozen=True)
class _Look:
    """The models as they were `at` that time, and those of them whose bytes failed before."""

    at: float
    models: Sequence[StoredModel]
    failed: frozenset[Identity]


class DiskView:
    """The models on disk, kept in mind: the Loop is looked at more often than they change. `clock` never jumps."""

    def __init__(self, store: ModelStore, swapper: Swapper, clock: Callable[[], float]) -> None:
        self._store = store
        self._swapper = swapper
        self._clock = clock
        self._last: _Look | None = None
        self._changes = 0

    async def look(self) -> tuple[Sequence[StoredModel], frozenset[Identity]]:
        """The models, and those whose bytes failed before."""
        last, now, changes = self._last, self._clock(), self._changes
        if last is not None and now - last.at < LOOK_SECONDS:
            return last.models, last.failed
        models = await asyncio.to_thread(self._store.list)
        failed = await asyncio.to_thread(self._swapper.failed, models)
        if changes == self._changes:  # else what was changed meanwhile may not have been seen yet
            self._last = _Look(now, models, failed)
        return models, failed

    def changed(self) -> None:
        """Something was done with the models: look again."""
        self._last = None
        self._changes += 1


class Tidier:
    """Removes models that came from the Loop. What cannot be removed now stays, and is removed another time."""

    def __init__(
        self, store: ModelStore, keeper: StateKeeper, fetcher: Fetcher, *, keep_versions: int, max_bytes: int
    ) -> None:
        self.tidied = False
        """Whether nothing has come since it was tidied last."""
        self._store = store
        self._keeper = keeper
        self._fetcher = fetcher
        self._keep_versions = keep_versions
        self._max_bytes = max_bytes

    async def tidy(self, wanted: Collection[str]) -> None:
        """What is wanted (ids) serves: what was downloaded is of no use any more, nor are the oldest models once that
        has proven itself; the power may have failed before that was seen to.
        """
        if self.tidied:
            return
        await in_thread(self._fetcher.sweep)
        if not self._keeper.state.on_probation:
            await self.prune(wanted)
        self.tidied = True

    async def prune(self, wanted: Collection[str]) -> None:
        """Older models go, as far as the settings say."""
        models = await asyncio.to_thread(self._store.list)
        state = self._keeper.state
        await self._remove(
            to_prune(models, state, keep=self._keep_versions, max_bytes=self._max_bytes, wanted=wanted)
        )  # fmt: skip

    async def discard(self, model: StoredModel) -> None:
        """A model failed that can be had again from the Loop, where its bytes may be corrected under the same name."""
        state, reference = self._keeper.state, ModelReference.of(model)
        if reference not in (state.current, state.last_good, *state.of_people):
            await self._remove([model])

    async def _remove(self, models: Sequence[StoredModel]) -> None:
        try:
            await self._fetcher.remove(models)
        except StorageRefused as error:
            log.warning("models that are of no use stay on the disk: %s", error)
