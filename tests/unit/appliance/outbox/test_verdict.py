"""What an answer of the Loop means for the pictures that were sent."""

from __future__ import annotations

import pytest

from appliance.outbox.verdict import Verdict, verdict
from models.errors import AlreadyInLoop, LoginFailed, LoopBusy, LoopError, LoopRefused, LoopUnreachable, NotInLoop


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LoopRefused("broken content", 422), Verdict(unwanted=True)),
        (LoopRefused("too much at once", 413), Verdict(unwanted=True)),
        (AlreadyInLoop("another picture has this name", 409), Verdict(unwanted=True)),
        (LoopRefused("bad request", 400), Verdict(guilty=True)),
        (LoopBusy("too many requests", 429, 120.0), Verdict(retry_after=120.0)),
        (LoopBusy("maintenance", 503, 60.0), Verdict(retry_after=60.0)),
        (LoopBusy("internal server error", 500), Verdict(guilty=True)),
        (LoopBusy("bad gateway", 502), Verdict(guilty=True)),
        (LoopUnreachable("no connection"), Verdict(guilty=True, broke_off=True)),
        (LoopUnreachable("a web page", 200), Verdict(guilty=True, broke_off=True)),
        (LoginFailed("who are you?", 401), Verdict()),
        (NotInLoop("no such project", 404), Verdict()),
    ],
    ids=str,
)
def test_the_table(error: LoopError, expected: Verdict) -> None:
    assert verdict(error) == expected
