"""Models that are brought over the network, on their way to the disk."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from appliance.api.v1 import models
from tests.support.held_threads import Held

FORM = (
    b'--cut\r\nContent-Disposition: form-data; name="file"; filename="model.zip"\r\n\r\n'
    + b"x" * 1000
    + b"\r\n--cut--\r\n"
)


def test_who_leaves_while_a_model_is_written_waits_until_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder in which it lies goes then."""
    held = Held()
    monkeypatch.setattr(models, "_write", lambda *_: held.here())

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": FORM, "more_body": False}

    async def story() -> None:
        headers = [(b"content-type", b"multipart/form-data; boundary=cut")]
        asked = Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)
        assert not await held.cancelled(models._receive(asked, tmp_path / "model.zip", 0))

    asyncio.run(story())
