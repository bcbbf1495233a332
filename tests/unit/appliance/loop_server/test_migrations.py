"""A database of any age becomes one of today, with all that is in it, or stays what it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, select, text

from appliance.loop_server import migrations
from appliance.loop_server.db import Database
from appliance.loop_server.tables import images, metadata, models, projects
from models.errors import SettingsInvalid

T = TypeVar("T")


def write(folder: Path, act: Callable[[Connection], T]) -> T:
    """One transaction of a program that knows nothing of the schema."""

    async def run() -> T:
        database = Database(f"sqlite:///{folder / 'loop.db'}")
        try:
            return await database.write(act)
        finally:
            await database.close()

    return asyncio.run(run())


def start(folder: Path) -> None:
    """Start a loop of today on the folder's database."""

    async def run() -> None:
        database = Database(f"sqlite:///{folder / 'loop.db'}")
        try:
            await database.start()
        finally:
            await database.close()

    asyncio.run(run())


def steps() -> list[str]:
    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    found: list[Any] = compare_metadata(context, metadata)
    return found


def tables(connection: Connection) -> list[str]:
    return inspect(connection).get_table_names()


FIRST = [
    "INSERT INTO projects (id, organization, project, created) VALUES (1, 'acme', 'bolts', '2024')",
    "INSERT INTO images (key, project_id, id, name, sha256, size, format, width, height, state, 'set', received, tags, extras)"
    " VALUES (5, 1, 'the id', 'image_1', 'abc', 3, 'jpeg', 4, 5, 'inbox', 'train', '2024', '[\"uncertain\"]', '{}')",
    "INSERT INTO detections VALUES (5, '1.0', '{\"box_detections\": []}', '2024')",
    "INSERT INTO models (project_id, id, version, created, categories, extras)"
    " VALUES (1, 'model', '1.0', '2024', '[]', '{}')",
    "INSERT INTO model_files VALUES (1, 'model', 'litert', 'def', 7, '2024')",
    "INSERT INTO trainings (project_id, number, created, state, details) VALUES (1, 1, '2024', 'ended', '{}')",
]
"""What a loop of the first schema might have held."""


def test_the_steps_lead_to_the_tables_that_the_program_uses(tmp_path: Path) -> None:
    start(tmp_path)
    assert write(tmp_path, differences) == []


@pytest.mark.parametrize("revision", steps())
def test_a_database_of_every_age_is_taken_over_with_all_that_is_in_it(tmp_path: Path, revision: str) -> None:
    def old(connection: Connection) -> None:
        migrations.upgrade(connection, steps()[0])
        for statement in FIRST:
            connection.execute(text(statement))
        migrations.upgrade(connection, revision)

    write(tmp_path, old)
    for _ in range(2):  # the second start finds nothing to do
        start(tmp_path)
    assert write(tmp_path, differences) == []

    def look(connection: Connection) -> None:
        assert connection.execute(select(projects.c.project)).scalar_one() == "bolts"
        row = connection.execute(select(images)).one()
        assert (row.key, row.name, row.tags) == (5, "image_1", ["uncertain"])
        assert connection.execute(select(models.c.version)).scalar_one() == "1.0"
        connection.execute(projects.delete())
        for table in ("images", "detections", "models", "model_files", "trainings"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0, table

    write(tmp_path, look)


def test_a_step_that_fails_leaves_the_schema_as_it_was(tmp_path: Path) -> None:
    def fails(connection: Connection) -> None:
        migrations.upgrade(connection)
        assert "images" in tables(connection)
        raise RuntimeError("the power went off")

    with pytest.raises(RuntimeError):
        write(tmp_path, fails)
    assert write(tmp_path, tables) == []
    start(tmp_path)


def test_a_database_of_a_newer_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    start(tmp_path)
    write(
        tmp_path,
        lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")) and None,
    )
    with pytest.raises(SettingsInvalid, match="If a newer version of this program has used it, run that one"):
        start(tmp_path)


def test_every_step_ships_with_the_package() -> None:
    assert len(steps()) == len(list((Path(migrations.__file__).parent / "versions").glob("step_*.py")))
    assert steps() == sorted(steps())
