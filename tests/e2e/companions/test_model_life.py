"""The life of a model on one machine, with real processes, ports and libraries: a device collects pictures, people annotate
them, a trainer trains, a converter converts, the Loop deploys, the device follows and sees what it never saw before.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.e2e.circle import SHOP, Box, Loop, a_box, a_loop, wait_for
from tests.e2e.server_process import ServerProcess, free_port
from tests.support.shapes_network import COLOURS, scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NAMES = list(COLOURS)
COLLECTED, HELD_OUT = 200, 40
TRAINING = {"epochs": 12, "resolution": 64, "colour": 0.1}
TRAINED_WITHIN_S, CONVERTED_WITHIN_S = 420.0, 240.0

Drawn = list[tuple[int, tuple[int, int, int, int]]]
"""Class and x, y, width, height of what is in a picture."""


def pictures(count: int, seed: int) -> list[tuple[bytes, Drawn]]:
    """JPEGs of coloured squares, with what is in them."""
    dice = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        pixels, found = scene(dice)
        done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
        assert done
        made.append((jpeg.tobytes(), found))
    return made


@contextmanager
def companion(module: str, folder: Path, loop: Loop, **environment: str) -> Iterator[ServerProcess]:
    """A companion as a process of its own that serves the Loop. It has to end cleanly."""
    port = free_port()
    command = [sys.executable, "-m", module, "serve", "--loop", f"127.0.0.1:{loop.process.port}", "--port", str(port)]
    process = ServerProcess(
        [*command, "--data-dir", str(folder / module)],
        port=port,
        log=folder / f"{module}.log",
        environment={"NODE_NAME": module, **environment},
    )
    process.start()
    try:
        process.wait_until("/healthz")
        yield process
        process.stop()
    finally:
        process.kill()
    assert "Traceback" not in process.log_text(), process.log_text()


def annotate(loop: Loop, collected: Sequence[tuple[bytes, Drawn]]) -> None:
    """What people do with the pictures of the inbox."""
    drawn = {hashlib.sha256(jpeg).hexdigest(): found for jpeg, found in collected}
    ids = []
    for image in all_images(loop):
        boxes = [
            {"category_name": NAMES[number], "x": x, "y": y, "width": width, "height": height}
            for number, (x, y, width, height) in drawn[image["sha256"]]
        ]
        loop.ask("PUT", f"{SHOP}/images/{image['id']}/annotations", json={"box_annotations": boxes})
        ids.append(image["id"])
    loop.ask("PUT", f"{SHOP}/images/state", json={"ids": ids, "state": "complete"})


def all_images(loop: Loop) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next": 0}
    while page["next"] is not None:
        page = loop.ask("GET", f"{SHOP}/images", params={"after": page["next"], "limit": 100, "state": "inbox"})
        found += page["images"]
    return found


def recall(box: Box, held_out: Sequence[tuple[bytes, Drawn]]) -> float:
    """Share of the squares that the device finds: the right colour, and most of the right place."""
    found = there = 0
    for jpeg, drawn in held_out:
        seen = box.detect(jpeg, autoupload="disabled")["box_detections"]
        for number, (x, y, width, height) in drawn:
            there += 1
            found += any(
                each["category_name"] == NAMES[number]
                and abs(each["x"] - x) + abs(each["y"] - y) <= 8
                and abs(each["width"] - width) + abs(each["height"] - height) <= 12
                for each in seen
            )
    return found / there


def test_from_pictures_to_a_device_that_sees(tmp_path: Path) -> None:
    collected, held_out = pictures(COLLECTED, seed=1), pictures(HELD_OUT, seed=2)
    with a_loop(tmp_path) as loop, a_box(tmp_path, loop) as box:
        loop.make_project(NAMES)
        box.process.start()
        box.process.wait_until("/readyz")
        before = recall(box, held_out)

        # The device collects, people annotate.
        for jpeg, _ in collected:
            assert box.http.post("/upload", files={"files": jpeg}).status_code == 200
        wait_for("all pictures in the Loop", lambda: len(loop.ask("GET", f"{SHOP}/data")["image_ids"]) == COLLECTED)
        annotate(loop, collected)

        # A trainer trains and leaves its model in the formats that it can write.
        with companion("trainer_companion", tmp_path, loop):
            nodes = wait_for(
                "a trainer", lambda: [each for each in trainers(loop) if each["online"] and each["state"] == "idle"]
            )
            training = {"trainer_id": nodes[0]["id"], "model_variant": "edge-residual-128", "hyperparameters": TRAINING}
            loop.ask("POST", f"{SHOP}/trainings", json=training)
            [model] = wait_for(
                "a trained model",
                lambda: loop.ask("GET", f"{SHOP}/models", params={"format": "appliance_pytorch"})["models"],
                TRAINED_WITHIN_S,
            )
            wait_for("an idle trainer", lambda: trainers(loop)[0]["state"] == "idle", TRAINED_WITHIN_S)
        assert loop.ask("GET", f"{SHOP}/models", params={"format": "litert"})["models"] == []
        loop.deploy(model["id"])

        # A converter makes what the device runs, with the proof that it sees the same.
        environment = {"LITERT_TOOLS_PYTHON": os.environ["LITERT_TOOLS_PYTHON"], "POLL_SECONDS": "2"}
        with companion("converter_companion", tmp_path, loop, **environment) as converter:
            converted = wait_for(
                "a litert model",
                lambda: (
                    loop.ask("GET", f"{SHOP}/models", params={"format": "litert"})["models"]
                    or told(converter)["failed"]
                ),
                CONVERTED_WITHIN_S,
            )
            assert isinstance(converted, list), converter.log_text()
        assert converted[0]["id"] == model["id"]
        assert {"appliance_pytorch", "litert", "onnx"} <= set(converted[0]["formats"])
        parity = parity_of(loop, model["id"])
        assert [each["file"] for each in parity["results"]] == ["model.tflite", "model_int8.tflite"]
        assert parity["annotated"] > 0
        for each in parity["results"]:
            assert abs(each["result"]["map50"] - parity["source"]["map50"]) <= 0.02

        # The device follows, and sees.
        wait_for("the new model in service", lambda: box.serves(model["version"]))
        after = recall(box, held_out)
        assert after >= 0.7 > before, f"before {before:.2f}, after {after:.2f}"
        ids = loop.category_ids()
        [first, *_] = box.detect(held_out[0][0], autoupload="disabled")["box_detections"]
        assert first["category_id"] == ids[first["category_name"]]
        assert first["model_name"] == model["version"]


def trainers(loop: Loop) -> list[dict[str, Any]]:
    return list(loop.ask("GET", "/api/nodes", params={"kind": "trainer"})["nodes"])


def told(process: ServerProcess) -> dict[str, Any]:
    """What a companion says of itself."""
    import httpx

    return dict(httpx.get(f"http://127.0.0.1:{process.port}/healthz", trust_env=False).json())


def parity_of(loop: Loop, model_id: str) -> dict[str, Any]:
    """The report that the converter put into the zip."""
    answer = loop.http.get(f"{SHOP}/models/{model_id}/litert/file")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return dict(json.loads(archive.read("parity.json")))
