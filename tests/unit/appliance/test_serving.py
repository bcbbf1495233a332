"""How the box is run."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import uvicorn

from access import Receive, Scope, Send
from appliance.serving import serve
from appliance.settings import load_settings


async def application(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Nobody asks it anything."""


def test_looking_for_garbage_never_goes_through_all_that_was_there_when_serving_began(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[bool, int, int]] = []
    monkeypatch.setattr("appliance.app.create_app", lambda *_: application)
    monkeypatch.setattr("appliance.logs.configure", lambda *_: None)
    monkeypatch.setattr(
        uvicorn.Server, "run", lambda _: seen.append((gc.isenabled(), gc.get_freeze_count(), len(gc.get_objects())))
    )
    settings = load_settings(environ={}, data_dir=tmp_path, working_directory=tmp_path, system_root=tmp_path)
    before = len(gc.get_objects())
    try:
        serve(settings, lambda: settings)
    finally:
        gc.unfreeze()

    [(enabled, frozen, looked_at)] = seen
    assert enabled
    assert frozen > 0.9 * before
    assert looked_at < 0.1 * before
