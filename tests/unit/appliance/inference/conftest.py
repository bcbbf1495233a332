"""What all tests of inference share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from models import runtimes
from tests.support.fake_runtime import FAKE_RUNTIME, Socket


@pytest.fixture(autouse=True)
def _coral(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The runtime `coral`, with nothing plugged in."""
    monkeypatch.setitem(runtimes.BUILT_IN, "coral", FAKE_RUNTIME)
    Socket.empty()
    yield
    Socket.empty()
