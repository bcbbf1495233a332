"""Models that are called off, and boxes that close, while a thread changes the disk: no other one works beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from appliance.versions.fetching import DOWNLOADS, Arrival, Fetcher, Room
from appliance.versions.keeper import StateKeeper
from appliance.versions.plan import Download, Wanted
from appliance.versions.reference import ModelReference
from appliance.versions.state import DownloadedModel
from models.files import FILE_SYSTEM, FileSystem
from models.store import ModelStore, StoredModel
from tests.support.held_threads import Held, HeldFiles
from tests.support.looped_box import MIB, SCOPE, LoopedBox
from tests.support.scripted_loop import ScriptedLoop, id_of, zipped

STATE = "versions.json"
STEP = Download(Wanted(id_of("1.0"), "1.0"), "litert")
REFERENCE = ModelReference(organization="zauberzeug", project="demo", format="litert", version="1.0")
ORIGIN = DownloadedModel(reference=REFERENCE, model_id=id_of("1.0"), offer=None, zip_sha256="0" * 64)


class Box:
    """What fetches models, on a disk of its own."""

    def __init__(self, folder: Path, files: FileSystem = FILE_SYSTEM) -> None:
        nobody: Any = None
        self.store = ModelStore(folder / "models", file_system=files)
        self.keeper = StateKeeper(folder / STATE, files)
        self.zip = folder / DOWNLOADS / "model.zip"
        self.fetcher = Fetcher(
            nobody, self.store, self.keeper, SCOPE, folder / DOWNLOADS, files, Room(100 * MIB, 0), "1"
        )

    def downloaded(self) -> Arrival:
        """A model that has come."""
        self.zip.parent.mkdir()
        self.zip.write_bytes(zipped("1.0"))
        return Arrival(self.zip, None, "0" * 64)

    def stored(self) -> StoredModel:
        """A model that is there."""
        return self.store.put_zip(self.downloaded().path, id=id_of("1.0"), **REFERENCE.model_dump())


def test_a_change_that_is_being_written_has_happened_before_the_next(tmp_path: Path) -> None:
    held = Held()

    async def story() -> None:
        keeper = StateKeeper(tmp_path / STATE, HeldFiles(held, "remember", STATE))
        assert not await held.cancelled(keeper.note(lambda state: state.with_download(ORIGIN)))
        assert keeper.state.download_of(REFERENCE) == ORIGIN, "what the file says is what counts"

    asyncio.run(story())


def test_a_download_that_is_called_off_clears_nothing_away_from_the_next(tmp_path: Path) -> None:
    held = Held()

    async def story() -> None:
        box = Box(tmp_path, HeldFiles(held, "make folders", DOWNLOADS))
        assert not await held.cancelled(box.fetcher.download(STEP))

    asyncio.run(story())


@pytest.mark.parametrize(("step", "name"), [("make folders", ".staging"), ("remember", STATE), ("remove", "model.zip")])
def test_a_model_that_is_being_stored_is_stored_with_where_it_came_from(tmp_path: Path, step: str, name: str) -> None:
    """Else it would count as somebody's own, and never be removed."""
    held = Held()

    async def story() -> None:
        box = Box(tmp_path, HeldFiles(held, step, name))
        assert not await held.cancelled(box.fetcher.take(STEP, box.downloaded()))
        assert [model.id for model in box.store.list()] == [id_of("1.0")]
        assert box.keeper.state.download_of(REFERENCE) is not None
        assert not box.zip.exists()

    asyncio.run(story())


def test_a_model_that_is_being_removed_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, remove = Held(), ModelStore.remove

    def slowly(store: ModelStore, model: StoredModel) -> None:
        held.here()
        remove(store, model)

    async def story() -> None:
        box = Box(tmp_path)
        await box.keeper.note(lambda state: state.with_download(ORIGIN))
        model = box.stored()
        monkeypatch.setattr(ModelStore, "remove", slowly)
        assert not await held.cancelled(box.fetcher.remove([model]))
        assert box.store.list() == []
        assert box.keeper.state.download_of(REFERENCE) is None

    asyncio.run(story())


def test_who_removes_a_model_and_leaves_has_removed_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, remove = Held(), ModelStore.remove

    def slowly(store: ModelStore, model: StoredModel) -> None:
        held.here()
        remove(store, model)

    async def story() -> None:
        (tmp_path / "model.zip").write_bytes(zipped("1.0"))
        async with LoopedBox(tmp_path, ScriptedLoop()) as box:
            model = await box.versions.add(tmp_path / "model.zip")
            await box.versions._keeper.note(lambda state: state.with_download(ORIGIN))
            monkeypatch.setattr(ModelStore, "remove", slowly)
            assert not await held.cancelled(box.versions.remove(model.version))
            assert box.versions.state.download_of(REFERENCE) is None

    asyncio.run(story())


def test_who_brings_a_model_keeps_it_until_it_is_unpacked(tmp_path: Path) -> None:
    """It lies in a folder that goes when its bringer has gone."""
    held = Held()
    (tmp_path / "model.zip").write_bytes(zipped("1.0"))

    async def story() -> None:
        async with LoopedBox(tmp_path, ScriptedLoop(), files=HeldFiles(held, "make folders", ".staging")) as box:
            assert not await held.cancelled(box.versions.add(tmp_path / "model.zip"))

    asyncio.run(story())
