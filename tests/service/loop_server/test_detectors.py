"""Detectors tell how they are, and people see who is there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.service.loop_server.shop import Shop
from tests.service.running_loop import RunningLoop

STATUS: dict[str, Any] = {
    "uuid": "85ef1a58-308d-4c80-8931-43d1f752f4f2",
    "name": "hall 3",
    "state": "online",
    "uptime": 7,
    "model_format": "litert",
    "current_model": None,
    "target_model": "1.1",
    "errors": {"update_model": "Could not update model: no room"},
    "operation_mode": "idle",
    "node_version": None,
}
"""As learning-loop-node 0.27 writes it."""


@pytest.fixture
def shop(loop: RunningLoop) -> Shop:
    """An empty project of the test's own."""
    return Shop(loop)


def seen(shop: Shop) -> list[dict[str, Any]]:
    """What a person is shown."""
    answer = shop.http.get(f"{shop.path}/detectors")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["detectors"]
    return found


def test_people_see_the_last_status_of_every_detector(shop: Shop) -> None:
    assert seen(shop) == []
    for status in (STATUS, {**STATUS, "uuid": "other", "name": "hall 1"}, {**STATUS, "current_model": "1.1"}):
        assert shop.http.post(f"{shop.path}/detectors", json=status).is_success
    first, second = seen(shop)
    assert (first["name"], second["name"]) == ("hall 1", "hall 3")
    assert second.items() >= {**STATUS, "current_model": "1.1", "online": True}.items()


def test_what_later_nodes_tell_is_kept(shop: Shop) -> None:
    shop.http.post(f"{shop.path}/detectors", json={**STATUS, "temperature": 61.5})
    assert seen(shop)[0]["temperature"] == 61.5


@pytest.mark.parametrize("body", [{}, [], "x", {**STATUS, "errors": "many"}, {**STATUS, "uuid": None}])
def test_what_is_no_status_is_refused(shop: Shop, body: Any) -> None:
    answer = shop.http.post(f"{shop.path}/detectors", json=body)
    assert (answer.status_code, bool(answer.json()["detail"])) == (422, True)
    assert seen(shop) == []


def test_an_unknown_project_has_no_detectors(loop: RunningLoop) -> None:
    assert loop.http.post("/api/workshop/projects/nothing/detectors", json=STATUS).status_code == 404
    assert loop.http.get("/api/workshop/projects/nothing/detectors").status_code == 404


@pytest.fixture
def clock(loop: RunningLoop) -> Iterator[list[datetime]]:
    """The time of the loop, to be set."""
    times = [datetime(2024, 1, 31, 12, tzinfo=timezone.utc)]
    before, loop.services.now = loop.services.now, lambda: times[-1]
    yield times
    loop.services.now = before


@pytest.mark.parametrize(("silent", "online"), [(35, True), (89, True), (91, False), (86_400, False)])
def test_who_is_silent_for_long_is_offline(shop: Shop, clock: list[datetime], silent: int, online: bool) -> None:
    shop.http.post(f"{shop.path}/detectors", json=STATUS)
    clock.append(clock[0] + timedelta(seconds=silent))
    [detector] = seen(shop)
    assert (detector["online"], detector["seen"][:19]) == (online, "2024-01-31T12:00:00")


def test_detectors_without_end_do_not_fill_the_disk(
    shop: Shop, clock: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.loop_server.detector_records.MAX_DETECTORS", 3)
    for number in range(5):
        clock.append(clock[-1] + timedelta(seconds=1))
        shop.http.post(f"{shop.path}/detectors", json={**STATUS, "uuid": str(number)})
    assert sorted(detector["uuid"] for detector in seen(shop)) == ["2", "3", "4"]


def test_a_detector_without_a_name_may_do_what_it_needs_and_no_more(loop: RunningLoop, shop: Shop) -> None:
    """Upstream's detectors without LOOP_USERNAME log in with nothing at all."""
    uploaded = shop.upload()
    shop.http.put(f"{shop.path}/deployment/target", json={"version": "1.0"})
    device = loop.client(("203.0.113.9", 40000))
    assert device.get(f"{shop.path}/deployment/target").status_code == 401
    assert device.get(f"{shop.path}/models/{uploaded['id']}/litert/file").status_code == 200, "downloads need no login"

    assert device.post("/api/login", data={"username": "", "password": ""}).status_code == 200
    assert device.get(f"{shop.path}/deployment/target").json()["version"] == "1.0"
    assert device.get(f"{shop.path}/models").json()["models"][0]["id"] == uploaded["id"]
    assert device.post(f"{shop.path}/detectors", json=STATUS).is_success

    form = {"files": ("m.zip", b"")}
    for answer in (
        device.get(f"{shop.path}/detectors"),
        device.put(f"{shop.path}/deployment/target", json={"version": "1.0"}),
        device.delete(f"{shop.path}/deployment/target"),
        device.delete(f"{shop.path}/models/{uploaded['id']}"),
        device.post(f"{shop.path}/litert", files=form),
        device.put(f"{shop.path}/models/{uploaded['id']}/onnx/file", files=form),
        device.put(f"{shop.path}/trainings/1/models/latest/onnx/file", files=form),
    ):
        assert answer.status_code == 403, answer.text
