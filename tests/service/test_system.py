"""The machine below the box: what is wrong with it, as curl is told."""

from __future__ import annotations

import io
import json
import logging
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.dashboard import Dashboard
from tests.service.box import STRANGER, Box
from tests.service.conftest import MakeBox

OF_THIS_MACHINE = {
    "clock_not_kept",
    "hot",
    "data_on_network",
    "data_in_memory",
    "disk_low",
    "under_voltage",
    "throttled",
}


def findings(box: Box) -> dict[str, dict[str, Any]]:
    """By code, but for what depends on the machine that runs the tests."""
    answer = box.http.get("/api/v1/doctor")
    answer.raise_for_status()
    return {each["code"]: each for each in answer.json() if each["code"] not in OF_THIS_MACHINE}


def test_a_box_that_is_well_has_no_findings(make_box: MakeBox) -> None:
    assert findings(make_box()) == {}


def test_what_is_wrong_is_told_with_what_to_do(make_box: MakeBox) -> None:
    box = make_box(
        use_backdoor_controls=True, trusted_networks=["0.0.0.0/0"], bind_host="0.0.0.0", runtime="litert/edgetpu/1"
    )
    box.wait_until(lambda: box.services.supervisor.worker is not None)

    found = findings(box)

    assert set(found) == {"accelerator_degraded", "backdoor_open", "trusts_everybody", "open_without_password"}
    assert all(each["to_do"] for each in found.values())
    assert "litert/edgetpu/1" in found["accelerator_degraded"]["sentence"]


def test_a_robot_that_was_turned_away_is_found(make_box: MakeBox) -> None:
    box = make_box()
    assert box.ask("POST", "/upload", client=("192.168.4.23", 40000), files={"files": b"x"}).status_code == 401

    assert "192.168.4.0/24" in findings(box)["robot_refused"]["to_do"]


def test_the_machine_is_told(box: Box) -> None:
    told = box.http.get("/api/v1/system").json()

    assert told["board"]["processors"] >= 1
    assert told["accelerators"]["runtime"] == "onnx/cpu/1"
    assert told["disk"]["folder"] == str(box.data)
    assert told["versions"]["detector-appliance"]
    assert told["uptime"] > 0


@pytest.fixture
def level_as_it_was() -> Iterator[None]:
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


def test_the_log_is_read_by_level_and_words_and_its_level_is_switched(box: Box, level_as_it_was: None) -> None:
    assert box.http.put("/api/v1/log_level", content="loud").status_code == 422
    assert box.http.put("/api/v1/log_level", content="debug").text == "DEBUG"
    assert box.http.get("/api/v1/log_level").text == "DEBUG"
    logging.getLogger("tests").debug("one of those days")
    logging.getLogger("tests").warning("one of those nights")

    def read(**query: Any) -> list[str]:
        return [line["text"] for line in box.http.get("/api/v1/logs", params=query).json()]

    assert read(contains="ONE OF THOSE") == ["one of those days", "one of those nights"]
    assert read(contains="one of those", level="WARNING") == ["one of those nights"]
    assert read(contains="one of those", limit=1) == ["one of those nights"]
    assert box.http.get("/api/v1/logs", params={"limit": 0}).status_code == 422
    assert box.http.get("/api/v1/logs", params={"level": "loud"}).status_code == 422


def test_a_box_that_somebody_else_started_does_not_start_itself_anew(box: Box) -> None:
    answer = box.http.post("/api/v1/restart")

    assert answer.status_code == 503
    assert "whoever started it" in answer.json()["detail"]
    assert box.http.get("/healthz").status_code == 200


def test_strangers_are_told_nothing_of_the_machine(box: Box) -> None:
    for method, path in (
        ("GET", "/api/v1/system"),
        ("GET", "/api/v1/doctor"),
        ("GET", "/api/v1/logs"),
        ("PUT", "/api/v1/log_level"),
        ("POST", "/api/v1/restart"),
    ):
        assert box.ask(method, path, client=STRANGER).status_code == 401, path


def test_the_page_is_told_the_same(box: Box) -> None:
    system = Dashboard(box.services).system

    view = box.run(system.feed.now())

    groups = {name: dict(lines) for name, lines in view.facts}
    assert groups["Accelerators"]["The model runs as"] == "onnx/cpu/1"
    assert groups["Disk"]["Data folder"] == str(box.data)
    assert all(words for lines in groups.values() for words in lines.values())
    logging.getLogger("tests").error("for the page")
    assert any("for the page" in line for line in box.run(system.lines("ERROR", "", 10)))
    assert box.run(system.logs.now()).newest > 0
    assert not system.can_restart


def test_the_support_bundle_tells_all_but_secrets(make_box: MakeBox) -> None:
    secret = "hush/hush & more"
    box = make_box(loop_username="anna", loop_password=secret)
    key = box.http.post("/api/v1/keys", json={"name": "lift"}).json()["key"]
    logging.getLogger("tests").error("a key %s and a password %s went astray", key, secret)

    answer = box.http.get("/api/v1/support")

    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert "went astray" in texts["log.txt"]
    assert "detector_ready" in texts["metrics.txt"]
    assert json.loads(texts["about.json"])["operation_mode"] == "idle"
    kept = [secret, key, secret.replace(" ", "%20"), *_strings(box)]
    for name, text in texts.items():
        for each in kept:
            assert each not in text, name
    assert box.ask("GET", "/api/v1/support", client=STRANGER).status_code == 401


def _strings(box: Box) -> list[str]:
    """Everything long in the files that hold secrets."""
    found = []
    for name in ("api_keys.json", "password.json", "session.key", "sessions.json"):
        path = box.data / name
        if path.exists():
            found += re.findall(r"[A-Za-z0-9+/=$_-]{24,}", path.read_text(errors="replace"))
    assert found, "the key at least"
    return found
