"""The whole circle with real processes, ports, pictures and the real model: a Loop, a box that follows it, and back.

The Loop deploys, the box gets the model, detects, files what it was unsure about, sends it, and the Loop has it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.circle import SHOP, Box, Loop, a_box, a_loop, wait_for
from tests.service.photographs import CAT, CUP, PERSON, assert_sees

pytestmark = pytest.mark.slow


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    with a_loop(tmp_path) as made:
        yield made


@pytest.fixture
def box(tmp_path: Path, loop: Loop) -> Iterator[Box]:
    with a_box(tmp_path, loop) as made:
        yield made


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
