"""The whole circle with real processes, ports, pictures and the real model: a Loop, a box that follows it, and back.

The Loop deploys, the box gets the model, detects, files what it was unsure about, sends it, and the Loop has it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.cli.demo_project import seed_model_for
from tests.e2e.server_process import appliance_process, loop_process
from tests.service.photographs import CAT, CUP, PERSON, assert_sees

pytestmark = pytest.mark.slow

SHOP = "/api/acme/projects/kitchens"
PATIENCE = 90.0


def wait_for(what: str, found: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """The first answer of `found` that is not empty."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"{what} did not come about within {seconds:g} s")


class Loop:
    """The embedded loop as a process, with one project, and what an operator does there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = loop_process(folder / "loop")
        self.http: httpx.Client

    def start(self) -> None:
        self.process.start()
        self.process.wait_until("/api/status")
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.process.port}", timeout=60.0, trust_env=False)

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self.http.request(method, path, **arguments)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def make_project(self, names: list[str]) -> None:
        categories = [{"name": name, "type": "box"} for name in names]
        self.ask("POST", "/api/acme/projects", json={"project_name": "kitchens", "categories": categories})

    def category_ids(self) -> dict[str, str]:
        return {each["name"]: each["id"] for each in self.ask("GET", SHOP)["categories"]}

    def zipped_model(self) -> bytes:
        folder = self.folder / f"zip-{time.monotonic_ns()}"
        folder.mkdir()
        return seed_model_for(self.category_ids(), folder).read_bytes()

    def add_model(self, model_format: str) -> str:
        """A new model as a zip in one format; its id."""
        before = {each["id"] for each in self.ask("GET", f"{SHOP}/models")["models"]}
        self.ask("POST", f"{SHOP}/{model_format}", files={"files": ("model.zip", self.zipped_model())})
        [new] = [each["id"] for each in self.ask("GET", f"{SHOP}/models")["models"] if each["id"] not in before]
        return str(new)

    def add_format(self, model_id: str, model_format: str) -> None:
        """What a converter does."""
        zipped = {"files": ("model.zip", self.zipped_model())}
        self.ask("PUT", f"{SHOP}/models/{model_id}/{model_format}/file", files=zipped)

    def deploy(self, model_id: str) -> None:
        self.ask("PUT", f"{SHOP}/deployment/target", json={"model_uuid": model_id})

    def images(self) -> list[dict[str, Any]]:
        ids = self.ask("GET", f"{SHOP}/data")["image_ids"]
        return list(self.ask("GET", f"{SHOP}/images", params={"ids": ",".join(ids)})["images"]) if ids else []

    def detector(self) -> dict[str, Any]:
        """The one detector's status, as the Loop shows it to people."""
        found = self.ask("GET", f"{SHOP}/detectors")["detectors"]
        return dict(found[0]) if found else {}


class Box:
    """The appliance as a process that follows the Loop."""

    def __init__(self, folder: Path, loop: Loop) -> None:
        self.process = appliance_process(
            folder / "box",
            environment={
                "LOOP_HOST": f"127.0.0.1:{loop.process.port}",
                "LOOP_ORGANIZATION": "acme",
                "LOOP_PROJECT": "kitchens",
                "MODEL_FORMAT": "litert",
                "NODE_NAME": "robot 7",
                "SYNC_CYCLES": "1",
            },
        )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.process.port}", timeout=60.0, trust_env=False)

    def detect(self, picture: bytes, **headers: str) -> dict[str, Any]:
        answer = self.http.post("/detect", files={"file": picture}, headers=headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def versions(self) -> dict[str, Any]:
        return dict(self.http.get("/model_version").json())

    def serves(self, version: str) -> bool:
        return bool(self.versions()["current_version"] == version)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    made = Loop(tmp_path)
    try:
        made.start()
        yield made
        made.http.close()
        made.process.stop()
    finally:
        made.process.kill()


@pytest.fixture
def box(tmp_path: Path, loop: Loop) -> Iterator[Box]:
    made = Box(tmp_path, loop)
    try:
        yield made
        made.http.close()
        made.process.stop()
    finally:
        made.process.kill()


def test_the_circle(loop: Loop, box: Box) -> None:
    document = json.loads((Path(__file__).parents[2] / "models/zoo/everyday_objects/model.json").read_bytes())
    loop.make_project([category["name"] for category in document["categories"]])
    first = loop.add_model("onnx")
    loop.deploy(first)

    # The format that this box runs is not there yet: it serves what it has, and says what it waits for.
    box.process.start()
    box.process.wait_until("/readyz")
    assert box.versions()["current_version"] == "0.0"
    assert_sees(box.detect(CAT.jpeg, autoupload="disabled"), CAT)
    wait_for("the target", lambda: box.versions()["target_version"] == "1.0")
    status = wait_for("a status with the target", lambda: (now := loop.detector()).get("target_model") == "1.0" and now)
    assert (status["name"], status["current_model"], status["model_format"]) == ("robot 7", None, "litert"), (
        "the Loop knows no seed model"
    )
    assert "update_model" not in status["errors"], "waiting for a converter is no failure"

    # It arrives, and the box takes it.
    loop.add_format(first, "litert")
    wait_for("model 1.0 in service", lambda: box.serves("1.0"))
    answer = box.detect(CUP.jpeg, autoupload="disabled")
    assert_sees(answer, CUP)
    ids = loop.category_ids()
    assert {each["category_id"] for each in answer["box_detections"]} <= set(ids.values())
    assert {each["model_name"] for each in answer["box_detections"]} == {"1.0"}

    # What it was unsure about comes to the Loop with the reason, what a person wants kept with the caller's words.
    box.detect(CUP.jpeg, **{"camera-id": "front", "tags": "breakfast", "source": "robot 7"})
    box.detect(PERSON.jpeg, autoupload="all")
    uploaded = box.http.post("/upload", files={"files": CAT.jpeg}, params={"source": "a person"})
    assert uploaded.json() == [200, "OK"]
    images = wait_for("three images in the Loop", lambda: len(found := loop.images()) == 3 and found)
    by_tag = {tag: image for image in images for tag in image["tags"]}
    unsure = by_tag["uncertain"]
    assert "breakfast" in unsure["tags"]
    assert unsure["source"] == "robot 7"
    assert {each["category_id"] for each in unsure["box_detections"]} <= set(ids.values())
    assert "cup" in {each["category_name"] for each in unsure["box_detections"]}
    assert by_tag["picked_by_system"]["source"] == "a person"
    assert loop.http.get(f"{SHOP}/images/{unsure['id']}/main").content == CUP.jpeg, "byte for byte"
    wait_for("an empty outbox", lambda: box.http.get("/api/v1/outbox").json()["waiting"] == 0)

    # Paused it keeps what it has, whatever the Loop deploys; following again it takes the new one.
    assert box.http.put("/model_version", content="pause").status_code == 200
    second = loop.add_model("litert")
    loop.deploy(second)
    wait_for("the Loop's new version", lambda: box.versions()["loop_version"] == "2.0")
    time.sleep(2)
    assert box.serves("1.0")
    assert box.http.put("/model_version", content="follow_loop").status_code == 200
    wait_for("model 2.0 in service", lambda: box.serves("2.0"))

    # A version of one's own choice; it is still chosen after a restart, and needs no Loop.
    assert box.http.put("/model_version", content="1.0").status_code == 200
    wait_for("model 1.0 again", lambda: box.serves("1.0"))
    loop.process.stop()
    box.process.stop()
    box.process.start()
    box.process.wait_until("/readyz")
    wait_for("model 1.0 without a Loop", lambda: box.serves("1.0"))
    assert box.versions()["version_control"] == "specific_version"
    assert_sees(box.detect(PERSON.jpeg, autoupload="disabled"), PERSON)
    loop.process.start()
    loop.process.wait_until("/api/status")
    wait_for("a status after the Loop came back", lambda: loop.detector().get("current_model") == "1.0")
