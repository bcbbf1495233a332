"""An embedded loop for the stories of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service.running_loop import RunningLoop


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLoop]:
    """Born empty, but for its administrator."""
    with RunningLoop(tmp_path_factory.mktemp("loop"), username="ann", password="secret enough") as running:
        yield running
