"""What a loop holds is there after a restart, what it does not need is gone, and no other loop touches it meanwhile."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy
from sqlalchemy import Connection

from appliance.loop_server import db, migrations
from appliance.loop_server.db import Database
from models.errors import SettingsInvalid
from tests.service.loop_server.conftest import ADMIN
from tests.service.loop_server.images_project import Shop
from tests.service.loop_server.pictures import box, jpeg
from tests.service.running_loop import RunningLoop
from tests.support.postgres import Postgres
from tests.unit.appliance.loop_server.test_migrations import FIRST, differences, steps


@pytest.fixture(params=["one-machine", "fleet"])
def storage(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings that several loops in a row share."""
    if request.param == "one-machine":
        return {}
    postgres: Postgres = request.getfixturevalue("postgres")
    return {"database_url": postgres.new_database(), "blobs_url": f"memory://{uuid4().hex}"}


def wait_until_gone(loop: RunningLoop, name: str) -> None:
    deadline = time.monotonic() + 60
    while loop.services.blobs.holds(name):
        assert time.monotonic() < deadline, "it is still there"
        time.sleep(0.02)


def test_everything_is_there_after_a_restart(tmp_path: Path, storage: dict[str, Any]) -> None:
    with RunningLoop(tmp_path, **storage) as loop:
        shop = Shop(loop, "bolt")
        [image_id] = shop.add(box_detections=[box("bolt")], tags=["uncertain"])
        before, picture = shop.image(image_id), shop.picture(image_id).content
    with RunningLoop(tmp_path, **storage) as again:
        shop.loop = again
        assert shop.image(image_id) == before
        assert shop.picture(image_id).content == picture
        assert shop.add()


def test_files_that_nothing_refers_to_are_removed_at_the_start(tmp_path: Path, storage: dict[str, Any]) -> None:
    """A power cut between the picture and its row leaves one; so does one within an upload of a model."""
    with RunningLoop(tmp_path, **storage) as loop:
        shop = Shop(loop)
        [image_id] = shop.add()
        with loop.services.blobs.keeping() as keeper:
            orphan = keeper.put(jpeg(424242)).sha256
        left_over = tmp_path / "incoming" / "0123" / "part-0"
        left_over.parent.mkdir(parents=True)
        left_over.write_bytes(b"half a model")
    with RunningLoop(tmp_path, **storage) as again:
        wait_until_gone(again, orphan)
        assert not left_over.exists()
        shop.loop = again
        assert shop.picture(image_id).status_code == 200


def test_a_file_that_is_about_to_get_its_row_is_not_swept_away(tmp_path: Path) -> None:
    """The sweep of the start goes on while pictures come in."""
    with RunningLoop(tmp_path) as loop:
        shop = Shop(loop)
        for _ in range(5):
            ids = shop.add(20)
        assert all(shop.picture(image_id).status_code == 200 for image_id in ids)


def test_a_picture_whose_file_is_gone_is_404_and_the_loop_goes_on(tmp_path: Path) -> None:
    with RunningLoop(tmp_path) as loop:
        shop = Shop(loop)
        [lost, kept] = shop.add(2)
        loop.services.blobs._storage.delete(shop.image(lost)["sha256"])
        answer = shop.picture(lost)
        assert (answer.status_code, "has been removed from the disk" in answer.json()["detail"]) == (404, True)
        assert shop.picture(kept).status_code == 200


def test_two_loops_do_not_use_one_database(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "_CLAIMS", 2)
    url = postgres.new_database()
    with RunningLoop(tmp_path / "one", database_url=url):
        other = Database(url)
        try:
            with pytest.raises(SettingsInvalid, match="Another loop uses this database"):
                run(other.start())
        finally:
            run(other.close())
    with RunningLoop(tmp_path / "two", database_url=url) as again:
        assert again.http.get("/api/status").status_code == 200


def run(story: Any) -> Any:
    return asyncio.run(story)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # pg8000 leaves the sockets of such to the collector
def test_connections_that_the_database_has_closed_are_made_anew(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.new_database()
    with RunningLoop(tmp_path, database_url=url) as loop:
        shop = Shop(loop)
        engine = sqlalchemy.create_engine(postgres.url(), poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            name = sqlalchemy.make_url(url).database
            ended = connection.exec_driver_sql(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            ).all()
            assert len(ended) >= 2
        assert len(shop.add(3)) == 3
        assert len(shop.ids()) == 3
    del loop, shop
    gc.collect()


def test_a_database_that_does_not_answer_is_told_in_words(tmp_path: Path) -> None:
    url = f"postgresql+pg8000://nobody@/none?unix_sock={tmp_path}/nothing"
    database = Database(url)
    try:
        with pytest.raises(SettingsInvalid, match="The database cannot be used"):
            run(database.start())
    finally:
        run(database.close())


@pytest.mark.parametrize("revision", steps())
def test_a_fleet_s_database_of_every_age_is_taken_over(postgres: Postgres, revision: str) -> None:
    def old(connection: Connection) -> None:
        migrations.upgrade(connection, steps()[0])
        for statement in FIRST:
            connection.execute(sqlalchemy.text(statement.replace("'set'", '"set"')))
        migrations.upgrade(connection, revision)

    async def story() -> None:
        database = Database(postgres.new_database())
        try:
            await database.write(old)
            await database.start()
            assert await database.read(differences) == []
            found = await database.read(
                lambda connection: connection.execute(sqlalchemy.text("SELECT name FROM images")).scalar_one()
            )
            assert found == "image_1"
        finally:
            await database.close()

    run(story())


def test_a_schema_step_that_fails_leaves_the_fleet_s_database_as_it_was(postgres: Postgres) -> None:
    async def story() -> None:
        database = Database(postgres.new_database())
        try:

            def fails(connection: Connection) -> None:
                migrations.upgrade(connection)
                raise RuntimeError("the power went off")

            with pytest.raises(RuntimeError):
                await database.write(fails)
            tables = await database.read(lambda connection: sqlalchemy.inspect(connection).get_table_names())
            assert tables == []
            await database.start()
        finally:
            await database.close()

    run(story())


def test_what_postgresql_cannot_hold_is_left_out_or_refused(tmp_path: Path, postgres: Postgres) -> None:
    with RunningLoop(tmp_path, database_url=postgres.new_database(), username=ADMIN[0], password=ADMIN[1]) as loop:
        shop = Shop(loop)
        [image_id] = shop.add(
            source="a\0b",
            tags=["x\0y", "\U0001f529"],
            mine={"deep": ["\0"]},
            box_detections=[box("bolt\0", model_name="1\0")],
            box_annotations=[{"category_name": "nut\0", "x": 1, "y": 1, "width": 2, "height": 2}],
        )
        refused = loop.http.put(f"{shop.path}/images/state", json={"ids": ["\0"], "state": "inbox"})
        assert (refused.status_code, "no database holds" in refused.json()["detail"]) == (422, True)
        found = shop.image(image_id)
        assert found["source"] == "ab"
        assert found["tags"][1] == "\U0001f529"
        assert found["box_detections"][0]["category_name"].startswith("bolt")
        assert found["sha256"] == hashlib.sha256(shop.picture(image_id).content).hexdigest()
