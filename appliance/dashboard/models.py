"""The models on the box, as the page shows and changes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from appliance.dashboard.parity import parity_of
from appliance.dashboard.words import moment, served
from appliance.services import Services
from appliance.versions.progress import UpdateState, UpdateStatus
from appliance.versions.reference import ModelReference
from appliance.versions.state import RememberedFailure, VersionState
from models.bundle import read_document
from models.errors import BundleError, UnknownVersion
from models.store import StoredModel
from ui.kit.feed import Feed
from ui.ports import ModelRow, ModelsView, UpdateProgress

EVERY = 1.0
"""Seconds between two looks."""

LIST_EVERY = 5.0
"""Seconds between two looks at the disk."""

PERIODS_SHOWN = 5
"""The latest during which a model served."""

STEPS = ("waits for the Loop", "downloads", "checks", "loads", "proves itself")

_STEP: dict[UpdateState, tuple[int, str]] = {
    "planned": (0, "It begins in a moment."),
    "waiting_for_loop": (0, "The Learning Loop does not answer; it is asked again."),
    "waiting_for_format": (0, "The Learning Loop has it, but not yet in a format for this box; it is asked again."),
    "downloading": (1, "It is downloaded."),
    "verifying": (2, "It is checked."),
    "postponed": (3, "It is here and serves later."),
    "loading": (3, "It is loaded beside the serving model and tried out."),
    "on_probation": (4, "It serves, and has yet to prove itself."),
}
"""The states in which something is on its way. `none`, `up_to_date` and `failed` are not among them."""


class Models:
    """See `ui.ports.Models`."""

    upload_url = "/api/v1/models"

    def __init__(self, services: Services) -> None:
        self._services = services
        self._listed: tuple[float, VersionState, int, tuple[list[StoredModel], list[tuple[Path, str]]]] | None = None
        self._documents: dict[Path, dict[str, Any]] = {}
        self._parities: dict[Path, tuple[str, ...]] = {}
        self._feed: Feed[ModelsView] = Feed("models", self._look, EVERY)

    @property
    def feed(self) -> Feed[ModelsView]:
        return self._feed

    # ------------------------------------------------------------------ what is

    async def _look(self) -> ModelsView:
        versions = self._services.versions
        state, target, lock = versions.state, versions.target, versions.lock.seconds_left
        models, broken = await self._list(state)
        standalone = self._services.settings.standalone
        return ModelsView(
            mode=state.mode,
            current=state.current.version if state.current is not None else None,
            target=target.version if target is not None else None,
            loop=versions.loop_version,
            chosen=state.chosen,
            models=tuple(self._row(model, state) for model in _in_order(models)),
            broken=tuple((str(folder), reason) for folder, reason in broken),
            failures=tuple(
                (each.version or each.model_id, each.reason, moment(each.when))
                for each in reversed(state.failures)
                if not any(_is_of(each, model) for model in models)
            ),
            progress=progress_of(versions.update),
            error=versions.error,
            standalone=standalone,
            locked_seconds=60.0 * -(-lock // 60.0) if lock > 0 else None,  # whole minutes: not another page each second
            rollback_to=_good_before(state),
        )

    async def _list(self, state: VersionState) -> tuple[list[StoredModel], list[tuple[Path, str]]]:
        now, changes = time.monotonic(), self._services.versions.changes
        known = self._listed
        if known is None or now - known[0] > LIST_EVERY or known[1] is not state or known[2] != changes:
            found = await self._services.versions.list()
            self._documents, self._parities = await asyncio.to_thread(self._read_documents, found[0])
            self._listed = known = now, state, changes, found
        return known[3]

    def _read_documents(
        self, models: Sequence[StoredModel]
    ) -> tuple[dict[Path, dict[str, Any]], dict[Path, tuple[str, ...]]]:
        """The model.json and the parity report of each; those that are known are not read again: bundles never change."""
        found, parities = {}, {}
        for model in models:
            document = self._documents.get(model.folder)
            if document is None:
                try:
                    document = read_document(model.folder)
                except BundleError:
                    document = {}
            found[model.folder] = document
            parity = self._parities.get(model.folder)
            parities[model.folder] = parity_of(model.folder) if parity is None else parity
        return found, parities

    def _row(self, model: StoredModel, state: VersionState) -> ModelRow:
        document = self._documents.get(model.folder, {})
        resolution, categories = document.get("resolution"), document.get("categories")
        failures = [each for each in state.failures if _is_of(each, model)]
        serves = state.current is not None and state.current.names(model)
        now = datetime.now(timezone.utc)
        return ModelRow(
            key="/".join(model.identity),
            version=model.version,
            origin=f"{model.organization}/{model.project}",
            format=model.format,
            size_bytes=model.size_bytes,
            resolution=resolution if isinstance(resolution, int) else None,
            categories=_names(categories),
            serves=serves,
            on_probation=serves and state.on_probation,
            last_good=state.last_good is not None and state.last_good.names(model),
            ships_with_box=model.read_only,
            selectable=self._services.versions.scope.holds(model),
            failure=failures[-1].reason if failures else None,
            failed_when=moment(failures[-1].when) if failures else None,
            served=tuple(served(each, now) for each in state.periods_of(ModelReference.of(model))[:PERIODS_SHOWN]),
            parity=self._parities.get(model.folder, ()),
        )

    # ------------------------------------------------------------------ what can be done

    async def set_mode(self, word: str) -> None:
        await self._services.versions.set_mode(word)

    async def roll_back(self) -> str:
        good = self._services.versions.state.last_good
        if good is None or good == self._services.versions.state.current:
            raise UnknownVersion("There is no earlier model that served well. Choose one from the list.")
        await self._services.versions.set_mode(str(good))
        return good.version

    async def remove(self, key: str) -> None:
        await self._services.versions.remove(key)

    async def lock(self, seconds: float) -> None:
        self._services.versions.lock.hold(seconds)


def progress_of(update: UpdateStatus) -> UpdateProgress | None:
    """What is on its way, if anything is."""
    if update.state not in _STEP:
        return None
    step, words = _STEP[update.state]
    return UpdateProgress(update.version or "", update.sentence or words, update.progress, step, STEPS)


def _good_before(state: VersionState) -> str | None:
    good = state.last_good
    return good.version if good is not None and good != state.current else None


def _is_of(failure: RememberedFailure, model: StoredModel) -> bool:
    return (failure.model_id, failure.format) == (model.id, model.format) and failure.version in (None, model.version)


def _in_order(models: Sequence[StoredModel]) -> list[StoredModel]:
    """The newest first, what ships with the box last; the store lists them by number."""
    newest_first = models[::-1]
    return sorted(newest_first, key=lambda model: model.read_only)


def _names(categories: Any) -> tuple[str, ...]:
    if not isinstance(categories, list):
        return ()
    return tuple(str(each["name"]) for each in categories if isinstance(each, dict) and "name" in each)
