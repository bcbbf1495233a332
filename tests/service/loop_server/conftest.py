"""A loop for the stories of a module, with one user of each role: on SQLite and a folder, and on what a fleet uses."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.service.running_loop import RunningLoop
from tests.support.postgres import Postgres, running_postgres, server_folder

ELSEWHERE = ("203.0.113.7", 40000)
"""An address of nobody's (RFC 5737)."""

ADMIN = ("ann", "secret enough")
USER = ("bob", "more than eight")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; where none is installed, its tests are reported as not run."""
    if server_folder() is None:
        pytest.skip("NOT RUN: PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with running_postgres() as running:
        yield running


@pytest.fixture(scope="module", params=["one-machine", "fleet"])
def loop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLoop]:
    """A loop that was born empty, but for its users.

    `one-machine`: SQLite and a folder. `fleet`: PostgreSQL, and a storage that is no folder.
    """
    storage = {}
    if request.param == "fleet":
        database: Postgres = request.getfixturevalue("postgres")
        storage = {"database_url": database.new_database(), "blobs_url": f"memory://{uuid4().hex}"}
    with RunningLoop(tmp_path_factory.mktemp("loop"), username=ADMIN[0], password=ADMIN[1], **storage) as running:
        running.http.post("/api/users", json={"name": USER[0], "password": USER[1]}).raise_for_status()
        yield running
