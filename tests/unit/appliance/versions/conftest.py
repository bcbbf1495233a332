"""What the stories of the versions share."""

from __future__ import annotations

import pytest

from tests.support.scripted_loop import ScriptedLoop


@pytest.fixture
def loop() -> ScriptedLoop:
    """A Loop that has nothing yet."""
    return ScriptedLoop()
