"""Whatever the OpenAPI description lets somebody send, and whatever it does not: no answer is a failure of the box."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.service.box import Box
from tests.service.conftest import MakeBox
from tests.service.photographs import CAT

DOCUMENTED = {503, 507}
"""No model or too much to do, and no room: not the fault of who asks, nor a fault of the box."""

EXAMPLES = 30


@pytest.fixture(scope="module")
def described(make_box: MakeBox) -> Iterator[Box]:
    """A box of which every route may be asked; /reset is not served, as on any box without a backdoor."""
    level = logging.getLogger().level
    yield make_box()
    logging.getLogger().setLevel(level)


WITHOUT_INPUT = [
    "DELETE /api/v1/outbox/items",
    "DELETE /api/v1/outbox/rejected",
    "DELETE /api/v1/sessions",
    "DELETE /api/v1/update_lock",
    "GET /about",
    "GET /api/v1/doctor",
    "GET /api/v1/keys",
    "GET /api/v1/log_level",
    "GET /api/v1/login",
    "GET /api/v1/loop",
    "GET /api/v1/models",
    "GET /api/v1/outbox",
    "GET /api/v1/refusals",
    "GET /api/v1/sessions",
    "GET /api/v1/settings",
    "GET /api/v1/support",
    "GET /api/v1/system",
    "GET /api/v1/update",
    "GET /api/v1/update_lock",
    "GET /healthz",
    "GET /metrics",
    "GET /model_version",
    "GET /operation_mode",
    "GET /outbox_mode",
    "GET /readyz",
    "POST /api/v1/logout",
    "POST /api/v1/outbox/retry",
    "POST /api/v1/reload",
    "POST /api/v1/restart",
]
WITH_INPUT = [
    "DELETE /api/v1/keys/{name}",
    "DELETE /api/v1/models/{version}",
    "DELETE /api/v1/outbox/items/{item_id}",
    "DELETE /api/v1/password",
    "DELETE /api/v1/sessions/{session_id}",
    "GET /api/v1/logs",
    "GET /api/v1/outbox/export",
    "GET /api/v1/outbox/items",
    "GET /api/v1/outbox/items/{item_id}",
    "GET /api/v1/outbox/items/{item_id}/picture",
    "GET /api/v1/outbox/rejected",
    "POST /api/v1/claim",
    "POST /api/v1/keys",
    "POST /api/v1/login",
    "POST /api/v1/models",
    "POST /api/v1/outbox/items/{item_id}/prioritise",
    "POST /api/v1/outbox/items/{item_id}/retry",
    "POST /detect",
    "POST /upload",
    "PUT /api/v1/log_level",
    "PUT /api/v1/password",
    "PUT /api/v1/settings",
    "PUT /api/v1/update_lock",
    "PUT /debug_logging",
    "PUT /model_version",
    "PUT /operation_mode",
    "PUT /outbox_mode",
    "PUT /socketio",
]


def operations(box: Box) -> dict[str, Any]:
    """Every operation of the description, by method and path."""
    schema = schemathesis.openapi.from_url(f"{box.url}/openapi.json")
    found: list[Any] = [cast("Any", result).ok() for result in schema.get_all_operations()]
    return {f"{operation.method.upper()} {operation.path}": operation for operation in found}


def test_the_lists_above_are_all_there_is(described: Box) -> None:
    assert sorted(operations(described)) == sorted(WITHOUT_INPUT + WITH_INPUT)


@pytest.mark.parametrize(
    ("route", "mode"),
    [(route, GenerationMode.POSITIVE) for route in WITHOUT_INPUT + WITH_INPUT]
    + [(route, GenerationMode.NEGATIVE) for route in WITH_INPUT],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_nothing_that_can_be_sent_makes_a_route_fail(described: Box, route: str, mode: GenerationMode) -> None:
    operation = operations(described)[route]
    failures: list[str] = []

    @seed(1)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        response = case.call(timeout=20)
        if response.status_code >= 500 and response.status_code not in DOCUMENTED:
            failures.append(f"{response.status_code} {response.text[:300]} to {case.as_curl_command()}")

    # Where any text is a name, nothing wrong can be sent.
    with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
        ask()

    assert failures == []


def test_the_box_has_outlived_it(described: Box) -> None:
    described.http.put("/operation_mode", content="idle")
    described.http.put("/socketio", content="on")

    assert described.detects(CAT.jpeg)
    assert described.http.get("/readyz").status_code == 200
    assert described.services.budget.taken == 0
