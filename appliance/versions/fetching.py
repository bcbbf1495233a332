"""A model of the Loop onto this box's disk: downloaded, checked, stored. The model that serves is not touched."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from appliance.versions.keeper import StateKeeper
from appliance.versions.plan import Download, Wanted
from appliance.versions.ports import LoopModels, offer_of
from appliance.versions.pruning import to_prune
from appliance.versions.reference import ModelReference
from appliance.versions.selection import Scope, same_version
from appliance.versions.state import DownloadedModel, VersionState
from models.bundle import Bundle
from models.bundle_zip import DEFAULT_LIMITS
from models.errors import BundleError, InputTooLarge, LoopError, NoRoom, NotInLoop, StorageRefused, UnknownVersion
from models.files import FileSystem, refusal
from models.store import ModelStore, StoredModel
from models.uninterrupted import in_thread, to_its_end

log = logging.getLogger(__name__)

DOWNLOADS = "downloads"
"""Name of the folder in DATA with what is being downloaded. It survives a restart, so that a download can go on."""

PROBE_WITHIN_SECONDS = 30.0

MIB = 2**20


class BytesFailed(Exception):
    """The bytes that the Loop has are of no use; `reason` is a sentence. `zip_sha256` is None where they never came."""

    def __init__(self, reason: str, offer: str | None, zip_sha256: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.offer, self.zip_sha256 = reason, offer, zip_sha256


@dataclass(frozen=True)
class Room:
    """What models may have of the disk, bytes: all of them together, and what must stay free."""

    max_bytes: int
    free_floor: int


@dataclass
class Progress:
    """Of what is being fetched: bytes so far, and in all where that is known. `verifying` once all of them are there."""

    received: int = 0
    size: int | None = None
    verifying: bool = False

    @property
    def share(self) -> float | None:
        """0..1; None where it is not known."""
        if self.verifying:
            return 1.0
        return min(1.0, self.received / self.size) if self.size else None


@dataclass(frozen=True)
class Arrival:
    """A zip that has come to its end: where it lies, what the Loop had said of it, and its sha256 as hex."""

    path: Path
    offer: str | None
    zip_sha256: str


class Fetcher:
    """See the module's docstring. One download at a time."""

    def __init__(
        self,
        loop: LoopModels,
        store: ModelStore,
        keeper: StateKeeper,
        scope: Scope,
        folder: Path,
        files: FileSystem,
        room: Room,
        appliance_version: str,
    ) -> None:
        self.progress = Progress()
        self._loop = loop
        self._store = store
        self._keeper = keeper
        self._scope = scope
        self._folder = folder
        self._files = files
        self._room = room
        self._appliance_version = appliance_version

    async def download(self, step: Download) -> Arrival:
        """Download the file that the step names. It may be called off at any time, and goes on where it was later.

        Raises `BytesFailed` where it is too large for any model; `NotInLoop` where there is no such file; `LoopError`,
        after which the part that has come stays; `StorageRefused` and `NoRoom`.
        """
        self.progress = progress = Progress()
        wanted, form = step.wanted, step.format
        await self._check_name(self._reference(step), wanted)
        path = self._folder / f"{hashlib.sha256(f'{wanted.id}/{form}'.encode()).hexdigest()[:32]}.zip"
        await in_thread(self._prepare, path)
        offer, size = await self._look(wanted, form)
        room = await self._make_room(wanted, size, path)

        def received(count: int, size: int | None) -> None:
            progress.received, progress.size = count, size

        log.info("downloading model %s in format %s", wanted.version, form)
        try:
            download = await self._loop.download_model(wanted.id, form, path, max_bytes=room, progress=received)
        except InputTooLarge as error:
            if room < DEFAULT_LIMITS.zip_bytes:
                raise NoRoom(
                    f"Model {wanted.version} is larger than the {room // MIB} MiB that there is room for; remove models "
                    "or pictures that are not needed, or raise max_models_mb"
                ) from error
            raise BytesFailed(str(error), offer) from error
        progress.verifying = True
        return Arrival(path, offer, download.sha256)

    async def take(self, step: Download, arrival: Arrival) -> StoredModel:
        """Check what has come and store it; the zip is gone then. Raises `BytesFailed`, `StorageRefused` and `NoRoom`."""
        known = self._keeper.state.failures_of(step.wanted.id, step.format, self._appliance_version)
        try:
            for failure in known:
                if failure.zip_sha256 == arrival.zip_sha256:
                    raise BytesFailed(failure.reason, arrival.offer, arrival.zip_sha256)
            return await to_its_end(self._store_away(step, arrival))
        except (BundleError, InputTooLarge) as error:
            raise BytesFailed(str(error), arrival.offer, arrival.zip_sha256) from error
        finally:
            await in_thread(self.sweep)

    async def _look(self, wanted: Wanted, form: str) -> tuple[str | None, int | None]:
        """What the Loop says of the file: what tells it from others, and its size."""
        try:
            with anyio.fail_after(PROBE_WITHIN_SECONDS):
                probe = await self._loop.probe_model(wanted.id, form)
        except NotInLoop:
            raise
        except (LoopError, TimeoutError) as error:  # the download itself will tell what is wrong
            log.info("the Loop does not describe model %s: %s", wanted.version, error)
            return None, None
        return offer_of(probe), probe.size if probe is not None else None

    async def _make_room(self, wanted: Wanted, size: int | None, path: Path) -> int:
        """Remove older models if the new one needs their room. Returns the bytes that it may have. Raises `NoRoom`."""
        least = size or 0
        models = await asyncio.to_thread(self._store.list)
        going = to_prune(
            models,
            self._keeper.state,
            keep=len(models),
            max_bytes=self._room.max_bytes,
            incoming=least,
            wanted={wanted.id},
        )
        await self.remove(going)
        taken = sum(model.size_bytes for model in models if not model.read_only and model not in going)
        free = await asyncio.to_thread(self._free, path)
        # It lies there twice for a moment: as it came, and unpacked.
        room = min(DEFAULT_LIMITS.zip_bytes, self._room.max_bytes - taken, (free - self._room.free_floor) // 2)
        if room <= 0 or least > room:
            raise NoRoom(
                f"There is no room for model {wanted.version}"
                + (f", which has {least / MIB:.1f} MiB" if least else "")
                + f": models have {taken / MIB:.1f} of {self._room.max_bytes / MIB:.1f} MiB (max_models_mb), and of "
                f"{free / MIB:.1f} MiB free on the disk {self._room.free_floor / MIB:.1f} must stay free. Remove models "
                "or pictures that are not needed"
            )
        return room

    async def _store_away(self, step: Download, arrival: Arrival) -> StoredModel:
        wanted, reference = step.wanted, self._reference(step)

        def check(bundle: Bundle) -> None:
            check_identity(bundle, wanted, reference)

        def put() -> StoredModel:
            return self._store.put_zip(arrival.path, id=wanted.id, check=check, **reference.model_dump())

        try:
            stored = await in_thread(put)
        except StorageRefused as error:
            if isinstance(error, NoRoom) or not await self._give_way(reference):
                raise
            stored = await in_thread(put)
        origin = DownloadedModel(
            reference=reference, model_id=wanted.id, offer=arrival.offer, zip_sha256=arrival.zip_sha256
        )
        await self._keeper.note(lambda state: state.with_download(origin))
        return stored

    def _reference(self, step: Download) -> ModelReference:
        """The name under which the model will be stored."""
        return ModelReference(
            organization=self._scope.organization or "",
            project=self._scope.project or "",
            format=step.format,
            version=step.wanted.version,
        )

    async def _check_name(self, reference: ModelReference, wanted: Wanted) -> None:
        """Raises `StorageRefused` if another model has this name here and does not give way: no need to download, then."""
        for model in await asyncio.to_thread(self._store.list):
            if reference.names(model) and model.id != wanted.id:
                self._check_gives_way(reference)

    def _check_gives_way(self, reference: ModelReference) -> None:
        """A model goes for the Loop's one of its name if it came from the Loop, too, and is of no use now."""
        state = self._keeper.state
        if state.download_of(reference) is None or reference in (state.current, state.last_good, *state.of_people):
            raise StorageRefused(
                f"The Loop's model {reference.version} is another one than the model of this name on this box. Have another "
                f"version serve, remove {reference.version} and follow the Loop again, or publish under a new version"
            )

    async def _give_way(self, reference: ModelReference) -> bool:
        """Remove the model that has this name. False if there is none; raises `StorageRefused` if it stays."""
        present = [model for model in await asyncio.to_thread(self._store.list) if reference.names(model)]
        if present:
            self._check_gives_way(reference)
            await self.remove(present)
        return bool(present)

    async def remove(self, models: Collection[StoredModel]) -> None:
        """Remove models from the disk. Raises `StorageRefused`."""
        for model in models:
            log.info("removing model %s in format %s from the disk", model.version, model.format)
            await to_its_end(self._remove(model))

    async def _remove(self, model: StoredModel) -> None:
        with suppress(UnknownVersion):  # somebody was faster
            await in_thread(self._store.remove, model)
        await self._keeper.note(partial(VersionState.without_model, reference=ModelReference.of(model)))

    def sweep(self, keep: Path | None = None) -> None:
        """Remove what was downloaded, but for one file and its note. Blocks. Raises nothing: what stays is swept later."""
        try:
            for path in [] if not self._folder.is_dir() else sorted(self._folder.iterdir()):
                if keep is None or path.name.removeprefix(".").split(".zip")[0] != keep.name.split(".zip")[0]:
                    self._files.remove_tree(path)
        except OSError as error:
            log.warning("leftovers of downloads cannot be removed: %s", error)

    def _prepare(self, path: Path) -> None:
        try:
            self._files.make_folders(self._folder)
        except OSError as error:
            raise refusal(error, "make the folder for downloads") from error
        self.sweep(keep=path)

    def _free(self, path: Path) -> int:
        try:
            there = path.stat().st_size
        except OSError:
            there = 0
        return self._files.free_bytes(self._folder) + there


def check_identity(bundle: Bundle, wanted: Wanted, asked: ModelReference) -> None:
    """Hold what model.json says of itself against what was asked for; what it does not say is no contradiction.

    Raises `BundleError`.
    """
    said = bundle.identity
    expected = {
        "id": (bundle.model.id, wanted.id, bundle.model.id == wanted.id),
        "organization": (said.organization, asked.organization, _same(said.organization, asked.organization)),
        "project": (said.project, asked.project, _same(said.project, asked.project)),
        "format": (said.format, asked.format, said.format == asked.format),
        "version": (said.version, asked.version, same_version(said.version, asked.version)),
    }
    for key, (found, due, equal) in expected.items():
        if found and not equal:
            raise BundleError(
                f"the Loop was asked for version {asked.version} in format {asked.format}, but in the model.json that came "
                f"'{key}' is {found[:60]!r}, not {due[:60]!r}"
            )


def _same(one: str, other: str) -> bool:
    """Project names are lower case in the Loop, whatever people write."""
    return one.casefold() == other.casefold()
