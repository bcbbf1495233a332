"""Whatever the loop's OpenAPI description lets somebody send, and whatever it does not: no answer is a failure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.service.loop_server.conftest import ADMIN
from tests.service.loop_server.images_project import Shop
from tests.service.loop_server.pictures import box
from tests.service.running_loop import RunningLoop

EXAMPLES = 10

pytestmark = pytest.mark.slow

UNSENT = {"POST /api/users", "DELETE /api/users/{name}", "PUT /api/users/{name}/password"}
"""Each example of these hashes a password; what they do with odd input is tested beside `users`."""


@pytest.fixture(scope="module")
def shop(loop: RunningLoop) -> Iterator[Shop]:
    """A project that has something of everything."""
    made = Shop(loop, "bolt")
    made.add(2, box_detections=[box("bolt")], box_annotations=[{**box("bolt"), "confidence": None}])
    yield made


def operations(loop: RunningLoop) -> dict[str, Any]:
    schema = schemathesis.openapi.from_url(f"{loop.url}/openapi.json")
    found: list[Any] = [cast("Any", result).ok() for result in schema.get_all_operations()]
    return {f"{operation.method.upper()} {operation.path}": operation for operation in found}


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: str(mode.value))
def test_nothing_that_can_be_sent_makes_a_route_fail(loop: RunningLoop, shop: Shop, mode: GenerationMode) -> None:
    found = operations(loop)
    assert found.keys() > UNSENT
    failures: list[str] = []
    asked = 0
    for route, operation in found.items():
        if route in UNSENT:
            continue

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
            meant = {"organization": "acme", "project": shop.name, "category_id": shop.categories["bolt"]}
            if case.operation.method.upper() != "DELETE":  # what is there shall stay there
                case.path_parameters = {
                    name: meant.get(name, value) for name, value in (case.path_parameters or {}).items()
                }
            response = case.call(timeout=30)
            if response.status_code >= 500:
                failures.append(f"{response.status_code} {response.text[:300]} to {case.as_curl_command()[:2000]}")

        try:
            ask()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, route  # whatever one sends there is as described
        else:
            asked += 1
    assert failures == []
    assert asked > 20


def test_the_loop_has_outlived_it(loop: RunningLoop, shop: Shop) -> None:
    assert loop.services.budget.taken == 0
    assert loop.services.database.waiting == 0
    assert loop.http.get("/api/users", auth=ADMIN).status_code == 200
    assert shop.picture(shop.add()[0]).status_code == 200
