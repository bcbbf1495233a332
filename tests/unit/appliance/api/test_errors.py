"""Every error that there is has its place in the table, and its sentence in the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi import FastAPI, Query

from appliance.api.errors import install, response_to, status_of
from models import errors
from models.errors import DetectorApplianceError


def all_errors(root: type[DetectorApplianceError] = DetectorApplianceError) -> Iterator[type[DetectorApplianceError]]:
    """Every kind of error below `root`."""
    for kind in root.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind
            yield from all_errors(kind)


@pytest.mark.parametrize("kind", list(all_errors()), ids=lambda kind: kind.__name__)
def test_every_error_is_a_status_and_a_sentence(kind: type[DetectorApplianceError]) -> None:
    answer = response_to(kind("What was wrong, and what would be right"))

    assert answer.status_code in {400, 401, 403, 409, 413, 422, 429, 502, 503, 507}
    assert json.loads(bytes(answer.body)) == {"detail": "What was wrong, and what would be right"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ImageUnreadable("x"), 422),
        (errors.InputTooLarge("x"), 413),
        (errors.NoModel("x"), 503),
        (errors.Overloaded("x"), 503),
        (errors.NoRoom("x"), 507),
        (errors.StorageRefused("x"), 409),
        (errors.UnknownVersion("x"), 400),
        (errors.WrongPassword("x"), 401),
        (errors.TooManyTries("x"), 429),
        (errors.AccessDenied("x"), 403),
    ],
)
def test_the_nearest_entry_counts(error: DetectorApplianceError, status: int) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.2, "2"), (10.0, "10")])
def test_what_may_work_later_says_when_in_whole_seconds(seconds: float, header: str) -> None:
    assert response_to(errors.Overloaded("x", seconds)).headers["retry-after"] == header


def test_what_will_not_get_better_says_no_time() -> None:
    assert "retry-after" not in response_to(errors.ImageUnreadable("x")).headers


@pytest.fixture
def get() -> Callable[[str], httpx.Response]:
    """Ask an application that fails in every way."""
    app = FastAPI()
    install(app)

    @app.get("/ours")
    async def ours() -> None:
        raise errors.NoRoom("The disk is full")

    @app.get("/bug")
    async def bug() -> None:
        raise ZeroDivisionError("secret detail")

    @app.get("/number")
    async def number(count: int = Query()) -> int:
        return count

    async def ask(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://box") as client:
            return await client.get(path)

    return lambda path: asyncio.run(ask(path))


def test_every_answer_has_the_same_form(get: Callable[[str], httpx.Response], caplog: pytest.LogCaptureFixture) -> None:
    assert (get("/ours").status_code, get("/ours").json()) == (507, {"detail": "The disk is full"})
    assert get("/nowhere").json() == {"detail": "Not Found"}
    invalid = get("/number?count=many")
    assert invalid.status_code == 422
    assert invalid.json()["detail"].startswith("query count: ")
    bug = get("/bug")
    assert bug.status_code == 500
    assert "ZeroDivisionError" in bug.json()["detail"]
    assert "secret detail" not in bug.text, "the traceback is for the log"
    assert "secret detail" in caplog.text
