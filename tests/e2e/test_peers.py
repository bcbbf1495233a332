"""Robots and programs that talk to a detector node today talk to the appliance unchanged."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import socketio

from tests.e2e.peers import run_peer
from tests.e2e.server_process import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # making a peer's environment takes minutes

SEED_VERSION = "0.0"
ARRIVES_WITHIN = 10.0
"""Seconds in which a picture that was sent without waiting for an acknowledgement must be in the outbox."""


def assert_sees_what_people_see(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """`found`: name of what a picture shows -> boxes, best first. The best box must be that, and lie in the picture."""
    assert sorted(found) == ["cat", "cup", "person"]
    for shown, boxes in found.items():
        assert boxes, f"nothing was found in the picture of a {shown}"
        assert boxes[0]["category_name"] == shown
        assert boxes[0]["model_name"] == SEED_VERSION
        assert boxes[0]["confidence"] > 0.5
        assert boxes[0]["x"] >= 0
        assert boxes[0]["y"] >= 0
        assert boxes[0]["width"] > 100
        assert boxes[0]["height"] > 100


def uploaded(data_folder: Path, tag: str) -> list[tuple[Path, dict[str, Any]]]:
    """Pictures in the outbox that carry the tag, with what is known of them; waits for the first one to come in."""
    deadline = time.monotonic() + ARRIVES_WITHIN
    while time.monotonic() < deadline:
        found = []
        for description in sorted((data_folder / "outbox").glob("*/*/image_*.json")):
            metadata = json.loads(description.read_text())
            if tag in metadata["tags"]:
                found.append((description.with_suffix(".jpg"), metadata))
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"no picture with the tag {tag!r} came into the outbox within {ARRIVES_WITHIN:.0f} s")


def assert_managed(report: Mapping[str, Any]) -> None:
    """What every rosys shows of a detector, and changes about it."""
    info, version = report["info"], report["version"]
    assert info["operation_mode"] in {"idle", "detecting"}
    assert (info["organization"], info["project"]) == ("detector-appliance", "everyday-objects")
    assert info["current_version"] == SEED_VERSION
    assert info["resolution"] == 300
    assert {"person", "cat", "cup"} <= {category["name"] for category in info["categories"]}
    assert version["current_version"] == SEED_VERSION
    assert SEED_VERSION in version["local_versions"]
    assert report["version_control_when_paused"] == "pause"
    assert "99.9" in report["unknown_version"]
    assert report["known_version"] == ""
    assert report["soft_reload"] == ""
    assert report["soft_reload_seconds"] < 2


def test_a_robot_with_rosys_0_37_detects_uploads_and_manages(
    appliance: ServerProcess, data_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    report = run_peer("rosys-0.37", "rosys_0_37.py", appliance.port, photographs, home=tmp_path)

    for form in ("raw", "jpeg"):
        assert_sees_what_people_see(report[form]["detect"])
        assert_sees_what_people_see(dict(zip(["cat", "cup", "person"], report[form]["batch_detect"], strict=True)))
        ((picture, metadata),) = uploaded(data_folder, f"rosys 0.37 {form}")
        with PIL.Image.open(picture) as image:
            assert image.size == (451, 300)
        assert metadata["source"] == "robot"
        assert metadata["state"] == "inbox"
        assert "picked_by_system" in metadata["tags"]
        assert [box["category_name"] for box in metadata["box_detections"]] == ["cat"]
    assert report["raw"]["large"][0]["category_name"] == "cat"
    assert_managed(report["manage"])
    assert report["manage"]["outbox_mode"] == "continuous_upload"
    assert report["manage"]["outbox_mode_when_stopped"] == "stopped"


def test_a_robot_with_rosys_0_28_detects_uploads_and_manages(
    appliance: ServerProcess, data_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    report = run_peer("rosys-0.28", "rosys_0_28.py", appliance.port, photographs, home=tmp_path)

    assert_sees_what_people_see(report["detect"])
    ((picture, metadata),) = uploaded(data_folder, "rosys 0.28")
    assert picture.read_bytes() == (photographs / "cat.jpg").read_bytes()
    assert metadata["source"] == "robot"
    assert metadata["created"].startswith("2024-05-06")
    assert [box["category_name"] for box in metadata["box_detections"]] == ["cat"]
    assert_managed(report)


@pytest.mark.parametrize("era", ["0.13", "0.27"])
def test_programs_written_for_learning_loop_node_get_what_its_own_types_accept(
    appliance: ServerProcess, data_folder: Path, photographs: Path, tmp_path: Path, era: str
) -> None:
    report = run_peer(f"learning-loop-node-{era}", "node_client.py", appliance.port, photographs, era, home=tmp_path)
    over_socketio, over_rest = report["socketio"], report["rest"]

    assert_sees_what_people_see(over_socketio["jpeg"])
    assert_sees_what_people_see(over_rest["detect"])
    if era == "0.27":
        assert_sees_what_people_see(over_socketio["raw"])
        assert_sees_what_people_see(dict(zip(["cat", "cup", "person"], over_socketio["batch_detect"], strict=True)))
    assert over_socketio["upload"] == (None if era == "0.13" else {"status": "OK"})
    assert over_rest["upload"] == [200, [200, "OK"]]
    ((picture, metadata),) = uploaded(data_folder, f"node {era}")
    assert picture.read_bytes() == (photographs / "cat.jpg").read_bytes()
    assert picture.parents[1].name == ("normal" if era == "0.13" else "priority")
    assert metadata["source"] == "front"
    (box,) = metadata["box_detections"]
    assert box["category_name"] == "cat"
    assert not box["category_id"], "the seed model's categories are none of the Loop's"
    for answer in (over_socketio, over_rest):
        assert answer["about"]["model_info"]["version"] == SEED_VERSION
        assert answer["version"]["current_version"] == SEED_VERSION
    assert over_socketio["info"]["version"] == SEED_VERSION
    assert over_socketio["outbox_mode"] == {"outbox_mode": over_rest["outbox_mode"]}


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
def test_a_plain_socketio_client_detects_over_any_transport(
    appliance: ServerProcess, photographs: Path, transports: list[str]
) -> None:
    async def detect() -> dict[str, Any]:
        client = socketio.AsyncClient()
        url = f"http://127.0.0.1:{appliance.port}"
        await client.connect(url, socketio_path="/ws/socket.io", transports=transports)
        answers: dict[str, Any] = {}
        for path in sorted(photographs.glob("*.jpg")):
            message = {"image": path.read_bytes(), "autoupload": "disabled"}
            answers[path.stem] = await client.call("detect", message, timeout=5)
        await client.eio.disconnect(abort=True)  # a polite goodbye waits until the last poll times out, 30 s
        return answers

    answers = asyncio.run(detect())

    assert_sees_what_people_see({name: best_first(answer) for name, answer in answers.items()})


def test_one_connection_may_mix_the_picture_forms_of_every_era(appliance: ServerProcess, photographs: Path) -> None:
    jpeg = (photographs / "cat.jpg").read_bytes()
    pixels = np.asarray(PIL.Image.open(io.BytesIO(jpeg)))
    raw = {"bytes": pixels.tobytes(), "dtype": "uint8", "shape": pixels.shape}
    messages: list[dict[str, Any]] = [
        {"image": jpeg, "mac": "front", "autoupload": None},
        {"image": jpeg, "camera-id": "front", "tags": [], "source": None, "creation_date": None},
        {"image": jpeg, "camera_id": "front"},
        {"image": raw, "camera_id": "front", "autoupload": "filtered"},
        {"image": {**raw, "format": "raw"}, "camera_id": "front"},
        {"image": {"format": "jpeg", "bytes": jpeg}, "camera_id": "front"},
    ]

    async def detect() -> tuple[list[Any], Any]:
        async with socketio.AsyncSimpleClient() as client:
            await client.connect(f"http://127.0.0.1:{appliance.port}", socketio_path="/ws/socket.io")
            single = [await client.call("detect", message, timeout=5) for message in messages]
            images = [message["image"] for message in messages]
            return single, await client.call("batch_detect", {"images": images, "autoupload": "disabled"}, timeout=5)

    single, batch = asyncio.run(detect())

    assert [best_first(answer)[0]["category_name"] for answer in single] == ["cat"] * len(messages)
    assert [best_first(answer)[0]["category_name"] for answer in batch["items"]] == ["cat"] * len(messages)


def best_first(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Boxes of an answer, best first. Fails with the detector's words if it answered with an error."""
    assert "error" not in answer, answer["error"]
    return sorted(answer["box_detections"], key=lambda box: -box["confidence"])
