"""A box with real worker processes follows a Loop: good models, models of no use, and what people and the Loop are told."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.load import cpu_threads
from tests.service.box import Box, settings_for
from tests.service.bundles import model_zip, zip_of
from tests.service.misbehaving_loop import MisbehavingLoop
from tests.service.running_loop import RunningLoop
from tests.support.scripted_loop import ORGANIZATION, PROJECT, id_of
from tests.support.unruly_runtime import install, picture, unruly_bundle

WAY = f"unruly/cpu/{cpu_threads()[-1]}"
"""A forced way: nothing is measured, and nothing else is tried."""

PATIENCE = 120.0


@pytest.fixture(scope="module", autouse=True)
def _unruly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The runtime `unruly` is installed, for this process and for those that it starts."""
    site = tmp_path_factory.mktemp("site")
    install(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        patch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
        yield


def unruly_zip(folder: Path, version: str, **script: Any) -> bytes:
    """A model for the runtime `unruly`; `script`: how it misbehaves."""
    made = unruly_bundle(folder / f"{version}-{hashlib.sha256(repr(script).encode()).hexdigest()[:8]}", **script)
    document = json.loads((made.folder / "model.json").read_text())
    document |= {
        "id": id_of(version),
        "organization": ORGANIZATION,
        "project": PROJECT,
        "version": version,
        "format": "litert",
    }
    return zip_of({"model.json": json.dumps(document), "cpu.json": (made.folder / "cpu.json").read_bytes()})


class Robot:
    """Asks the box for detections all the time, and writes down what it got."""

    def __init__(self, box: Box) -> None:
        self.answers: list[tuple[int, str | None]] = []
        """Status and the version that answered."""
        self._box = box
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Robot:
        self._thread.start()
        return self

    def __exit__(self, *_how: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def failures(self) -> list[int]:
        """Answers that were none."""
        return [status for status, _ in self.answers if status != 200]

    def _ask(self) -> None:
        while not self._over.wait(0.02):
            answer = self._box.http.post(
                "/detect", files={"file": picture()}, headers={"autoupload": "disabled"}, timeout=60.0
            )
            boxes = answer.json().get("box_detections") or [{}]
            self.answers.append((answer.status_code, boxes[0].get("model_name")))


@pytest.fixture(scope="module")
def loop() -> Iterator[MisbehavingLoop]:
    """A Loop that does as it is told."""
    with MisbehavingLoop() as made:
        yield made


@pytest.fixture(scope="module")
def zips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where models are made."""
    return tmp_path_factory.mktemp("zips")


@pytest.fixture(scope="module")
def follower(loop: MisbehavingLoop, zips: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A box that follows that Loop; 1.0 serves."""
    loop.offer("1.0", unruly_zip(zips, "1.0"))
    loop.deploy("1.0")
    settings = settings_for(
        tmp_path_factory.mktemp("follower"),
        loop_host=loop.host,
        loop_organization=ORGANIZATION,
        loop_project=PROJECT,
        runtime=WAY,
        load_deadline_s=8.0,
        inference_deadline_s=3.0,
        sync_cycles=1,
        node_version="7.1",
    )
    with Box(settings) as box:
        box.wait_until(lambda: versions(box)["current_version"] == "1.0", PATIENCE)
        yield box


def versions(box: Box) -> dict[str, Any]:
    """GET /model_version."""
    told: dict[str, Any] = box.http.get("/model_version").json()
    return told


def update(box: Box) -> dict[str, Any]:
    """GET /api/v1/update."""
    told: dict[str, Any] = box.http.get("/api/v1/update").json()
    return told


def test_what_is_deployed_serves_and_the_loop_is_told(follower: Box, loop: MisbehavingLoop) -> None:
    told = versions(follower)
    assert (told["target_version"], told["loop_version"], told["version_control"]) == ("1.0", "1.0", "follow_loop")
    assert update(follower)["state"] in ("on_probation", "up_to_date")
    answer = follower.http.post("/detect", files={"file": picture()}, headers={"autoupload": "disabled"})
    assert answer.json()["box_detections"][0]["model_name"] == "1.0"
    assert follower.http.get("/about").json()["loop"]["state"] == "connected"

    follower.wait_until(lambda: bool(loop.reports) and loop.reports[-1]["current_model"] == "1.0", PATIENCE)
    report = loop.reports[-1]
    assert report["uptime"] >= 0
    assert {key: report[key] for key in report if key not in ("uuid", "uptime")} == {
        "name": "testbox",
        "state": "online",
        "model_format": "litert",
        "current_model": "1.0",
        "target_model": "1.0",
        "errors": {},
        "operation_mode": "idle",
        "node_version": "7.1",
    }
    assert json.loads((follower.data / "uuids.json").read_text()) == {"testbox": report["uuid"]}


FAULTS: dict[str, tuple[Callable[[Path, str], bytes], str]] = {
    "no zip": (lambda folder, version: b"<html>I am no model</html>", "no zip"),
    "no model.json": (lambda folder, version: zip_of({"cpu.json": "{}"}), "no model.json"),
    "another version": (lambda folder, version: unruly_zip(folder, "9.9"), "'id' is"),
    "weights that do not load": (lambda folder, version: unruly_zip(folder, version, load={"*": "raise"}), "own logic"),
    "weights that crash": (lambda folder, version: unruly_zip(folder, version, load={"*": "abort"}), "signal 6"),
    "weights that hang": (lambda folder, version: unruly_zip(folder, version, load={"*": "hang"}), "within 8 s"),
    "weights that crash on pictures": (lambda folder, version: unruly_zip(folder, version, infer="abort"), "signal 6"),
    "weights that return rubbish": (lambda folder, version: unruly_zip(folder, version, infer="nan"), "NaN"),
    "weights of another shape": (lambda folder, version: unruly_zip(folder, version, infer="shape"), "shape (3, 3)"),
}


QUICK = ("no zip", "weights that crash")


@pytest.mark.parametrize(
    "case", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in FAULTS]
)
def test_a_target_of_no_use_costs_no_answer_and_corrected_bytes_serve(
    follower: Box, loop: MisbehavingLoop, zips: Path, case: str
) -> None:
    make, sentence = FAULTS[case]
    version = f"2.{list(FAULTS).index(case)}"
    before = versions(follower)["current_version"]
    with Robot(follower) as robot:
        loop.offer(version, make(zips, version))
        loop.deploy(version)
        follower.wait_until(
            lambda: update(follower)["version"] == version and update(follower)["state"] == "failed", 60
        )

        about = follower.http.get("/about").json()
        assert sentence in about["error"]
        assert (about["model_info"]["version"], about["target_model"]) == (before, version)
        assert sentence in follower.http.get("/healthz").json()["reason"]
        [failure] = [
            each for each in follower.http.get("/api/v1/models").json()["failures"] if each["version"] == version
        ]
        assert sentence in failure["reason"]
        follower.wait_until(lambda: sentence in loop.reports[-1]["errors"].get("update_model", ""), 60)
        assert loop.reports[-1]["current_model"] == before
        looks = loop.count(f"HEAD {_file(version)}")
        follower.wait_until(lambda: loop.count(f"HEAD {_file(version)}") > looks + 1, 60)
        assert loop.count(f"GET {_file(version)}") == 1, "it is not downloaded again"

        loop.offer(version, unruly_zip(zips, version))
        follower.wait_until(lambda: versions(follower)["current_version"] == version, 60)
    assert robot.failures == []
    assert {answered for _, answered in robot.answers} <= {before, version}
    assert follower.http.get("/about").json()["error"] is None


def _file(version: str) -> str:
    return f"/api/{ORGANIZATION}/projects/{PROJECT}/models/{id_of(version)}/litert/file"


def test_a_model_that_kills_its_workers_on_probation_is_gone_back_from(
    follower: Box, loop: MisbehavingLoop, zips: Path
) -> None:
    before = versions(follower)["current_version"]
    for _ in range(60):
        follower.http.post("/detect", files={"file": picture()}, headers={"autoupload": "disabled"})
    follower.wait_until(lambda: update(follower)["state"] == "up_to_date", 60)
    loop.offer("3.0", unruly_zip(zips, "3.0"))
    loop.deploy("3.0")
    follower.wait_until(lambda: versions(follower)["current_version"] == "3.0", 60)

    for _ in range(8):  # pictures that kill whoever looks at them, and no other ones between them
        if versions(follower)["current_version"] == "3.0":
            follower.http.post("/detect", files={"file": picture("abort")}, headers={"autoupload": "disabled"})

    follower.wait_until(lambda: versions(follower)["current_version"] == before, 60)
    assert "Model 3.0 is unfit" in follower.http.get("/about").json()["error"]
    follower.wait_until(lambda: "3.0 is unfit" in loop.reports[-1]["errors"].get("update_model", ""), 60)
    downloads = loop.count(f"GET {_file('3.0')}")
    looks = loop.count(f"HEAD {_file('3.0')}")
    follower.wait_until(lambda: loop.count(f"HEAD {_file('3.0')}") > looks + 1, 60)
    assert (versions(follower)["current_version"], loop.count(f"GET {_file('3.0')}")) == (before, downloads)
    loop.deploy(before)


def test_a_robot_holds_the_lock_over_rest_and_socketio(follower: Box, loop: MisbehavingLoop, zips: Path) -> None:
    before = versions(follower)["current_version"]
    held = follower.http.put("/api/v1/update_lock", content='{"seconds": 600}')
    assert (held.status_code, held.json()["held"]) == (200, True)
    assert 590 < held.json()["seconds_left"] <= 600

    loop.offer("4.0", unruly_zip(zips, "4.0"))
    loop.deploy("4.0")
    follower.wait_until(lambda: update(follower)["state"] == "postponed", 60)
    assert "update lock" in update(follower)["sentence"]
    assert versions(follower)["current_version"] == before
    assert follower.http.get("/about").json()["update_lock"]["held"]
    assert follower.call("get_update")["state"] == "postponed"
    assert follower.call("set_update_lock", {"seconds": 1000})["status"] == "OK"
    assert 990 < follower.call("get_update_lock")["seconds_left"] <= 1000
    assert "detector_update_lock_seconds 9" in follower.http.get("/metrics").text

    assert follower.http.delete("/api/v1/update_lock").json() == {"held": False, "seconds_left": 0.0}
    follower.wait_until(lambda: versions(follower)["current_version"] == "4.0", 60)


@pytest.mark.parametrize(
    "body", ["", "600", '{"seconds": "600"}', '{"seconds": true}', '{"seconds": -1}', '{"seconds": 86401}', '{"seconds": NaN}',
             '{"seconds": 1e999}', "[]", "{}"],
)  # fmt: skip
def test_a_lease_that_is_none_is_refused_with_what_would_be_one(follower: Box, body: str) -> None:
    answer = follower.http.put("/api/v1/update_lock", content=body)
    assert answer.status_code == 422
    assert '{"seconds": 600}' in answer.json()["detail"]
    assert follower.http.get("/api/v1/update_lock").json()["held"] is False


@pytest.mark.parametrize("data", ["600", True, None, {}, {"seconds": [1]}, -1, 2**63, 86401])
def test_a_lease_that_is_none_is_refused_over_socketio(follower: Box, data: Any) -> None:
    assert "seconds" in follower.call("set_update_lock", data)["error"]
    assert follower.call("get_update_lock")["held"] is False


def test_a_version_of_the_loop_is_fetched_by_its_number_and_an_unknown_one_changes_nothing(
    follower: Box, loop: MisbehavingLoop, zips: Path
) -> None:
    loop.offer("5.0", unruly_zip(zips, "5.0"))
    before = versions(follower)
    refused = follower.http.put("/model_version", content="6.6")
    assert (refused.status_code, versions(follower)) == (400, before)
    assert "neither on this box nor in the Loop" in refused.json()["detail"]
    assert "neither on this box" in follower.call("set_model_version_mode", "6.6")["error"]

    assert follower.http.put("/model_version", content="5.0").json() == "OK"
    follower.wait_until(lambda: versions(follower)["current_version"] == "5.0", 60)
    told = versions(follower)
    assert (told["target_version"], told["loop_version"]) == ("5.0", "4.0")
    assert told["version_control"] == "specific_version"

    loop.away = lambda request: (_ for _ in ()).throw(ConnectionError("gone"))
    try:
        refused = follower.http.put("/model_version", content="6.6")
        assert refused.status_code == 400
        assert "the Loop cannot be asked for it" in refused.json()["detail"]
        assert follower.http.put("/model_version", content="4.0").json() == "OK", "it is on this box"
        follower.wait_until(lambda: versions(follower)["current_version"] == "4.0", 60)
        follower.wait_until(lambda: follower.http.get("/api/v1/loop").json()["state"] == "away", 60)
        told = follower.http.get("/api/v1/loop").json()
        assert told["host"] == loop.host
        assert told["because"]
        assert "detector_loop_connected 0.0" in follower.http.get("/metrics").text
    finally:
        loop.away = None
    follower.wait_until(lambda: follower.http.get("/api/v1/loop").json()["state"] == "connected", 90)
    assert follower.http.put("/model_version", content="follow_loop").json() == "OK"


def test_a_box_may_be_kept_from_the_loop_until_a_test_wants_it(tmp_path: Path, loop: MisbehavingLoop) -> None:
    settings = settings_for(
        tmp_path,
        loop_host=loop.host,
        loop_organization=ORGANIZATION,
        loop_project=PROJECT,
        runtime=WAY,
        skip_repeat_on_start=True,
    )
    with Box(settings) as box:
        assert box.http.get("/api/v1/loop").json()["state"] == "off"
        assert versions(box)["loop_version"] == "None"
        assert box.http.put("/socketio", content="on").json() == "on"
        box.wait_until(lambda: versions(box)["current_version"] == versions(box)["loop_version"] != "None", PATIENCE)
        box.http.put("/socketio", content="off")
        assert box.http.get("/api/v1/loop").json()["state"] == "off"


def test_a_standalone_box_says_so(box: Box) -> None:
    told = box.http.get("/api/v1/loop").json()
    assert (told["state"], told["host"], told["because"]) == ("standalone", None, None)
    assert box.http.get("/api/v1/update").json()["state"] == "none"
    assert "detector_loop_connected" not in box.http.get("/metrics").text


def test_the_embedded_loop_is_followed_and_knows_its_detector(tmp_path: Path) -> None:
    """The real one: a model uploaded in a format, deployed, and the box in its list of detectors."""
    with RunningLoop(tmp_path / "loop", username="ann", password="secret enough") as loop:
        loop.http.post("/api/acme/projects", json={"project_name": "kitchens"}).raise_for_status()
        shop = "/api/acme/projects/kitchens"
        uploaded = loop.http.post(
            f"{shop}/appliance_pytorch", files={"files": ("model.zip", zip_of({"model.json": "{}"}))}
        )
        assert uploaded.status_code == 200, uploaded.text
        model_id = uploaded.json()["id"]
        loop.http.put(f"{shop}/deployment/target", json={"model_uuid": model_id}).raise_for_status()
        settings = settings_for(
            tmp_path, loop_host=loop.host, loop_organization="acme", loop_project="Kitchens", sync_cycles=1
        )
        with Box(settings) as box:
            box.wait_until(lambda: update(box)["state"] == "waiting_for_format", PATIENCE)
            assert box.http.get("/about").json()["error"] is None
            content = {"files": ("model.zip", model_zip("1.0", id=model_id))}
            loop.http.put(f"{shop}/models/{model_id}/litert/file", files=content).raise_for_status()
            box.wait_until(lambda: versions(box)["current_version"] == versions(box)["loop_version"], PATIENCE)
            assert versions(box)["current_version"] != "0.0"

            def known() -> bool:
                [detector] = loop.http.get(f"{shop}/detectors").json()["detectors"] or [{}]
                return bool(detector.get("current_model") == versions(box)["current_version"])

            box.wait_until(known, PATIENCE)
