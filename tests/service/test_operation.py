"""Being operated: health, metrics, logs, and what the box says when it has too much to do or no model."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

import appliance.app
from appliance import logs
from models.zoo import seed_folder
from tests.service.box import STRANGER, Box, settings_for
from tests.service.bundles import model_zip
from tests.service.conftest import MakeBox
from tests.service.outbox import wait_for_pictures
from tests.service.photographs import CAT, CUP


def metrics(box: Box) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of /metrics, by name and labels."""
    text = box.http.get("/metrics").text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(box: Box, name: str, **labels: str) -> float:
    """One sample; 0 where there is none yet."""
    return metrics(box).get((name, frozenset(labels.items())), 0.0)


@pytest.fixture(scope="module")
def observed(make_box: MakeBox) -> Box:
    """A box whose numbers are looked at."""
    return make_box()


def test_a_box_that_is_well_says_so(observed: Box) -> None:
    assert observed.http.get("/healthz").json() == {"status": "ok", "reason": None}
    assert observed.http.get("/readyz").json() == {"ready": True}


def test_metrics_are_prometheus_s_and_move_when_a_picture_is_looked_at(observed: Box) -> None:
    answer = observed.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    before = metrics(observed)

    assert observed.detects(CAT.jpeg)
    observed.call("detect", {"image": CAT.jpeg, "autoupload": "disabled"})
    observed.http.post("/detect", files={"file": b"no picture"})

    after = metrics(observed)

    def moved(name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return after[key] - before.get(key, 0.0)

    assert moved("detector_requests_total", source="rest", outcome="ok") == 1
    assert moved("detector_requests_total", source="socketio", outcome="ok") == 1
    assert moved("detector_requests_total", source="rest", outcome="ImageUnreadable") == 1
    assert moved("detector_request_seconds_count", source="rest") == 2
    assert moved("detector_objects_total", category="cat") == 2
    for stage in ("wait", "decode", "inference", "postprocess"):
        assert moved("detector_stage_seconds_count", stage=stage) == 2
    assert moved("detector_stage_seconds_sum", stage="inference") > 0
    assert after["detector_ready", frozenset()] == 1
    assert after["detector_degraded", frozenset()] == 0
    model = {"organization": "detector-appliance", "project": "everyday-objects", "version": "0.0"}
    assert after["detector_model_info", frozenset({**model, "runtime": "onnx/cpu/1"}.items())] == 1


def test_metrics_tell_of_the_outbox_and_of_who_was_turned_away(observed: Box) -> None:
    before = value(observed, "detector_outbox_items")

    observed.http.post("/upload", files={"files": CAT.jpeg})
    observed.http.post("/detect", files={"file": CUP.jpeg}, headers={"camera-id": "metrics"})
    wait_for_pictures(observed, 2)
    observed.ask("POST", "/upload", client=STRANGER)

    assert value(observed, "detector_outbox_items") == before + 2
    assert value(observed, "detector_outbox_bytes") >= len(CAT.jpeg) + len(CUP.jpeg)
    observed.wait_until(lambda: value(observed, "detector_picks_kept_total") == 1)
    assert value(observed, "detector_picks_wanted_total") == 1
    assert value(observed, "detector_access_refused_total", reason="network") == 1
    told = observed.http.get("/api/v1/outbox").json()
    assert (told["waiting"], told["normal"]["items"], told["priority"]["items"]) == (2, 2, 0)
    assert (told["picks"]["wanted"], told["picks"]["kept"]) == (1, 1)
    assert (told["mode"], told["loop"]) == ("continuous_upload", None)


def test_a_category_name_cannot_break_the_metrics(make_box: MakeBox) -> None:
    box = make_box()
    nasty = 'cat" 1\nforged_total{x="'
    document_categories = [
        {"id": str(number), "name": nasty if number == 15 else f"thing {number}"} for number in range(80)
    ]
    assert box.http.post(
        "/api/v1/models", files={"file": model_zip("1.0", categories=document_categories)}
    ).status_code == 201  # fmt: skip
    box.http.put("/model_version", content="1.0")
    box.wait_until(lambda: box.http.get("/about").json()["model_info"]["version"] == "1.0")

    assert box.detects(CAT.jpeg)

    assert value(box, "detector_objects_total", category=nasty) == 1
    assert "\nforged_total" not in box.http.get("/metrics").text


def test_a_worker_that_dies_is_replaced_and_counted(observed: Box) -> None:
    worker = observed.services.supervisor.worker
    assert worker is not None

    os.kill(worker.pid, signal.SIGKILL)

    assert observed.detects(CAT.jpeg), "a slow answer, no error"
    assert value(observed, "detector_worker_restarts_total") == 1
    assert observed.http.get("/healthz").json()["status"] == "ok"


def test_settings_are_told_with_their_origin(box: Box) -> None:
    rows = {row["name"]: row for row in box.http.get("/api/v1/settings").json()}

    assert rows["runtime"]["value"] == "onnx/cpu/1"
    assert rows["runtime"]["origin"] == "command line"
    assert rows["port"]["origin"] == "default"
    assert all(row["description"] for row in rows.values())


def test_a_reload_over_rest_brings_a_new_worker(make_box: MakeBox) -> None:
    box = make_box()
    before = box.services.supervisor.worker

    answer = box.http.post("/api/v1/reload")

    assert (answer.status_code, answer.json()) == (202, {"status": "OK"})
    box.wait_until(lambda: box.services.supervisor.counters.swaps == 1)
    assert box.services.supervisor.worker is not before
    assert box.detects(CAT.jpeg)


def test_a_full_queue_refuses_with_a_time_to_come_back(make_box: MakeBox) -> None:
    box = make_box(queue_depth=1)

    async def crowd() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=box.url, timeout=30, trust_env=False) as client:
            headers = {"autoupload": "disabled"}
            return await asyncio.gather(
                *(client.post("/detect", files={"file": CAT.jpeg}, headers=headers) for _ in range(30))
            )

    answers = asyncio.run(crowd())

    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused, "thirty at once are too many for a queue of one"
    assert len(refused) < 30
    for answer in refused:
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "send fewer" in answer.json()["detail"]
    assert value(box, "detector_refused_total", reason="queue_full") == len(refused)
    assert box.detects(CAT.jpeg)


def test_what_waited_too_long_is_refused_not_run(make_box: MakeBox) -> None:
    box = make_box(max_wait_rest_s=0.03, max_wait_socketio_s=0.03)

    async def crowd() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=box.url, timeout=30, trust_env=False) as client:
            return await asyncio.gather(*(client.post("/detect", files={"file": CAT.jpeg}) for _ in range(24)))

    answers = asyncio.run(crowd())

    refused = [answer for answer in answers if answer.status_code != 200]
    assert {answer.status_code for answer in refused} == {503}
    assert all("without its turn coming" in answer.json()["detail"] for answer in refused)
    assert value(box, "detector_refused_total", reason="waited_too_long") == len(refused)

    async def story(robot: Any) -> list[Any]:
        return await asyncio.gather(*(robot.call("detect", {"image": CAT.jpeg}, timeout=20) for _ in range(24)))

    errors = [answer["error"] for answer in box.talk(story) if "error" in answer]
    assert errors
    assert all("waited 0.03 s" in error for error in errors)


@pytest.fixture(scope="module")
def no_seed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A box that has no model at all: not even the seed model is where it should be."""
    nowhere = tmp_path_factory.getbasetemp() / "nowhere"
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(appliance.app, "seed_folder", lambda: nowhere)
            box = stack.enter_context(Box(settings_for(tmp_path_factory.mktemp("empty-box"))))
        yield box


def test_a_box_without_a_model_is_alive_not_ready_and_says_what_to_do(no_seed: Box) -> None:
    assert no_seed.http.get("/readyz").status_code == 503
    health = no_seed.http.get("/healthz")
    assert (health.status_code, health.json()) == (
        200,
        {"status": "degraded", "reason": "There is no model on this box"},
    )
    answer = no_seed.http.post("/detect", files={"file": CAT.jpeg})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert "appliance models use VERSION" in answer.json()["detail"]
    assert no_seed.call("detect", {"image": CAT.jpeg}) == {"error": answer.json()["detail"]}
    assert no_seed.call("info") == {"status": "No model loaded"}
    about = no_seed.http.get("/about").json()
    assert (about["model_info"], about["operation_mode"]) == (None, "idle")
    assert no_seed.http.get("/model_version").json()["current_version"] == "None"
    assert value(no_seed, "detector_ready") == 0
    assert value(no_seed, "detector_degraded") == 1


def test_pictures_can_be_uploaded_without_a_model(no_seed: Box) -> None:
    answer = no_seed.http.post("/upload", files={"files": CAT.jpeg})

    assert (answer.status_code, answer.json()) == (200, [200, "OK"])


def test_a_model_brings_it_to_life(no_seed: Box, good_zip: bytes) -> None:
    no_seed.http.post("/api/v1/models", files={"file": good_zip})
    no_seed.http.put("/model_version", content="1.0")

    no_seed.wait_until(lambda: no_seed.http.get("/readyz").status_code == 200)

    assert no_seed.detects(CAT.jpeg)
    assert no_seed.http.get("/healthz").json()["status"] == "ok"


def test_the_fastest_way_is_found_told_and_remembered(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, runtime="auto")
    with Box(settings) as box:
        about = box.http.get("/about").json()
        assert {way["runtime"].split("/")[0] for way in about["ways"]} == {"litert", "onnx"}
        measured = [way for way in about["ways"] if way["milliseconds"] is not None]
        assert measured[0]["milliseconds"] > 0
        [taken] = [way for way in measured if way["runtime"] == about["runtime"]]
        assert taken["milliseconds"] <= 1.5 * min(way["milliseconds"] for way in measured)
        assert value(box, "detector_way_seconds", runtime=about["runtime"]) > 0
        edge_tpu = [way for way in about["ways"] if "edgetpu" in way["runtime"]]
        assert all(way["reason"] for way in edge_tpu), "why it is out of question is said"

    with Box(settings) as box:
        assert box.http.get("/about").json()["ways"] == about["ways"], "it was not measured again"


def test_logs_are_one_json_object_a_line(observed: Box) -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logs.configure("INFO", "json", stream)
    try:
        observed.ask("POST", "/upload", client=("203.0.113.55", 1), headers={"x-api-key": "un\nwanted"})
        observed.http.post("/api/v1/models", files={"file": model_zip("4.0", b"no weights")})
        observed.http.put("/model_version", content="4.0")
        observed.wait_until(lambda: observed.http.get("/about").json()["error"] is not None)
    finally:
        for handler in set(root.handlers) - set(before[0]):
            root.removeHandler(handler)
        root.setLevel(before[1])

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    assert any("203.0.113.55" in line["message"] for line in lines)
    assert any("4.0 could not be brought into service" in line["message"] for line in lines)


def test_the_seed_folder_is_left_as_it_is(observed: Box) -> None:
    assert observed.http.delete("/api/v1/models/0.0").status_code == 409
    assert (seed_folder() / "model.json").exists()
