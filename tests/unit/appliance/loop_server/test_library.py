"""Numbers that others take first, and writing that fails: the model is in the loop as its zip says, or not at all."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from appliance.loop_server import library
from appliance.loop_server import model_records as records
from appliance.loop_server.blobs import Blobs, Folder
from appliance.loop_server.db import Database
from appliance.loop_server.library import ModelLibrary
from appliance.loop_server.model_zips import ReceivedFile, write_zip
from appliance.loop_server.tables import projects
from models.errors import LoopBusy, StorageRefused
from tests.support.held_threads import Held
from tests.unit.appliance.loop_server.conftest import Story

WHEN = datetime(2024, 1, 31, tzinfo=timezone.utc)


class Loop:
    """A library over a database with one project, and what lies in it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.blobs = Blobs(Folder(folder / "blobs"))
        self.blobs.start()
        self.library = ModelLibrary(database, self.blobs, "loop.workshop", lambda: WHEN)
        self._folder = folder
        self._uploads = 0

    async def open(self) -> None:
        """Make the project."""
        values = {"organization": "workshop", "project": "parts", "created": "2024"}
        await self.database.write(lambda connection: connection.execute(insert(projects).values(**values)))

    async def add(self, weights: bytes = b"weights") -> records.ModelRecord:
        """Upload a model."""
        self._uploads += 1
        folder = self._folder / f"upload {self._uploads}"
        folder.mkdir()
        (folder / "part").write_bytes(weights)
        return await self.library.add("workshop", "parts", "onnx", [ReceivedFile("w.bin", folder / "part")], folder)

    async def models(self) -> list[records.ModelRecord]:
        """What is listed."""
        return await self.database.read(
            lambda connection: records.all_models(connection, records.project_key(connection, "workshop", "parts"))
        )

    async def document(self, model: records.ModelRecord) -> dict[str, Any]:
        """The `model.json` of a model."""
        found = await self.database.read(
            lambda connection: records.zip_of(
                connection, records.project_key(connection, "workshop", "parts"), model.id, "onnx"
            )
        )
        with zipfile.ZipFile(io.BytesIO(self.blobs.read(found.sha256))) as archive:
            read: dict[str, Any] = json.loads(archive.read("model.json"))
            return read


def while_packing(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Have something happen between the choice of a number and its being taken, whenever a model is packed."""

    def write(*arguments: Any) -> Any:
        act()
        return write_zip(*arguments)

    monkeypatch.setattr("appliance.loop_server.library.write_zip", write)


def test_a_number_that_is_taken_meanwhile_is_not_given_twice(
    with_database: Story[None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(database: Database) -> None:
        loop = Loop(database, tmp_path)
        await loop.open()
        running = asyncio.get_running_loop()
        others = [2]

        def another() -> None:
            if others[0]:
                others[0] -= 1
                asyncio.run_coroutine_threadsafe(loop.add(b"faster"), running).result(30)

        while_packing(monkeypatch, another)
        added = await loop.add()
        assert added.version == "3.0"
        models = await loop.models()
        assert sorted(model.version or "" for model in models) == ["1.0", "2.0", "3.0"]
        for model in models:
            assert (await loop.document(model))["version"] == model.version
        assert len(list(loop.blobs.names())) == 3, "what was packed with another number is gone"

    with_database(story)


def test_somebody_who_is_always_too_late_is_asked_to_come_again(
    with_database: Story[None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(database: Database) -> None:
        loop = Loop(database, tmp_path)
        await loop.open()
        running = asyncio.get_running_loop()
        number = [0]

        def insert_another(connection: Connection) -> None:
            number[0] += 1
            key = records.project_key(connection, "workshop", "parts")
            records.add_model(connection, key, f"other {number[0]}", f"{number[0]}.0", "2024", {})

        def another() -> None:
            asyncio.run_coroutine_threadsafe(database.write(insert_another), running).result(30)

        while_packing(monkeypatch, another)
        with pytest.raises(LoopBusy, match="try again"):
            await loop.add()
        assert list(loop.blobs.names()) == []

    with_database(story)


def test_what_cannot_be_written_down_leaves_no_file(
    with_database: Story[None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(database: Database) -> None:
        loop = Loop(database, tmp_path)
        await loop.open()

        def refuse(*_arguments: object) -> None:
            raise StorageRefused("the disk of the database is on fire")

        with monkeypatch.context() as broken:
            broken.setattr(records, "add_zip", refuse)
            with pytest.raises(StorageRefused, match="on fire"):
                await loop.add()
        assert (await loop.models(), list(loop.blobs.names())) == ([], [])
        assert (await loop.add()).version == "1.0"

    with_database(story)


@pytest.mark.parametrize("where", ["unpack_upload", "write_zip", "_put"])
def test_who_leaves_while_a_model_is_stored_leaves_no_file_without_a_model(
    with_database: Story[None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    held = Held()
    act = getattr(library, where)

    def slowly(*arguments: Any) -> Any:
        held.here()
        return act(*arguments)

    monkeypatch.setattr(library, where, slowly)

    async def story(database: Database) -> None:
        loop = Loop(database, tmp_path)
        await loop.open()
        assert not await held.cancelled(loop.add())
        assert len(list(loop.blobs.names())) == len(await loop.models()) == (where == "_put")
        for model in await loop.models():
            await loop.library.remove("workshop", "parts", model.id)
        assert list(loop.blobs.names()) == [], "nobody holds it any more"

    with_database(story)
