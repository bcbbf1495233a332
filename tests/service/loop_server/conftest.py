"""A loop for the stories of a module, with one user of each role."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service.running_loop import RunningLoop

ELSEWHERE = ("203.0.113.7", 40000)
"""An address of nobody's (RFC 5737)."""

ADMIN = ("ann", "secret enough")
USER = ("bob", "more than eight")


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLoop]:
    """A loop that was born empty, but for its users."""
    with RunningLoop(tmp_path_factory.mktemp("loop"), username=ADMIN[0], password=ADMIN[1]) as running:
        running.http.post("/api/users", json={"name": USER[0], "password": USER[1]}).raise_for_status()
        yield running
