"""What tests of the core share."""

from __future__ import annotations

import pytest

from models import runtimes
from tests.support.scripted_runtime import SCRIPTED_RUNTIME, ScriptedModel, ScriptedRuntime


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[ScriptedModel]:
    """The runtime `scripted` is installed; the models that it has loaded."""
    loaded: list[ScriptedModel] = []
    monkeypatch.setattr(ScriptedRuntime, "loaded", loaded)
    monkeypatch.setitem(runtimes.BUILT_IN, "scripted", SCRIPTED_RUNTIME)
    return loaded
