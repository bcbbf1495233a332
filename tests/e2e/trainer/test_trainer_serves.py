"""`trainer-companion serve` with the real recipe against a running loop: trained, killed in between, stopped in the end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from tests.service.loop_server.images_project import Shop
from tests.service.loop_server.pictures import metadata, pair
from tests.service.running_loop import RunningLoop
from tests.support.shapes_network import COLOURS, scene

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
PATIENCE_S = 240.0
PICTURES = 48


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLoop]:
    with RunningLoop(tmp_path_factory.mktemp("loop"), username="ann", password="secret enough") as running:
        yield running


@pytest.fixture(scope="module")
def shop(loop: RunningLoop) -> Shop:
    """A project with coloured squares."""
    made = Shop(loop, *COLOURS)
    dice = np.random.default_rng(3)
    names = list(COLOURS)
    for number in range(PICTURES):
        picture, found = scene(dice)
        _, encoded = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        boxes = [
            {"category_name": names[kind], "x": x, "y": y, "width": width, "height": height}
            for kind, (x, y, width, height) in found
        ]
        answer = made.upload(
            pair(f"image_{number}", encoded.tobytes(), metadata(state="complete", box_annotations=boxes))
        )
        assert answer.status_code == 200, answer.text
    return made


class Served:
    """The program."""

    def __init__(self, loop: RunningLoop, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "trainer_companion", "serve", "--port", str(self.port)]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LOOP_")},
            "LOOP_HOST": loop.host,
            "DATA_FOLDER": str(folder),
            "NODE_NAME": "gpu",
        }
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)

    def health(self) -> dict[str, Any]:
        """What it says of itself; nothing while it does not listen yet."""
        try:
            found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self.port}/healthz", trust_env=False).json()
        except httpx.HTTPError:
            return {}
        return found

    def end(self, number: signal.Signals) -> tuple[int, float, str]:
        """Its exit status, seconds until then, and its log."""
        began = time.monotonic()
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=30)
        return self.process.returncode, time.monotonic() - began, log


def until(is_so: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := is_so():
            return found
        time.sleep(0.1)
    raise AssertionError(f"never: {what}")


def test_a_real_training_survives_kill_and_leaves_a_model_that_sees(
    loop: RunningLoop, shop: Shop, tmp_path: Path
) -> None:
    served = Served(loop, tmp_path)
    try:
        node = until(
            lambda: next((node for node in loop.services.nodes.known("trainer") if node.online), None), "connected"
        )
        assert "edge-residual-128" in [each["name"] for each in node.status["pretrained_models"]]
        wish = {
            "trainer_id": node.id,
            "model_variant": "edge-residual-128",
            "hyperparameters": {"epochs": 40, "resolution": 64},
        }
        begun = loop.http.post(f"{shop.path}/trainings", json=wish)
        assert begun.status_code == 201, begun.text
        until(lambda: list(tmp_path.glob("projects/*/*/trainings/*/job/checkpoints/last.pt")), "a checkpoint")
        until(lambda: (served.health().get("progress") or 0) > 0.1, "some progress")
        served.end(signal.SIGKILL)

        served = Served(loop, tmp_path)
        until(lambda: loop.http.get(f"{shop.path}/trainings/1").json()["ended"], "the end of the training")
        training = loop.http.get(f"{shop.path}/trainings/1").json()
        assert training["state"] == "finished", training
        matrix = training["metrics"][-1]["metrics"]["confusion_matrix"]
        assert set(matrix) == set(shop.categories.values())
        [model] = loop.http.get(f"{shop.path}/models").json()["models"]
        assert sorted(model["formats"]) == ["appliance_pytorch", "onnx"]
        found = [shop.image(id, model_version=model["version"])["box_detections"] for id in shop.ids()]
        assert len(found) == PICTURES
        assert sum(map(len, found)) >= PICTURES / 2, "it sees hardly anything"

        until(lambda: served.health().get("state") == "idle", "idle")
        status, seconds, log = served.end(signal.SIGTERM)
        assert status == 0, log
        assert seconds < 20
        assert "Traceback" not in log
        last = json.loads((tmp_path / "last_training.json").read_bytes())
        assert last["outcome"] == "finished"
        assert not re.search("password|secret", log)
    finally:
        if served.process.poll() is None:
            served.process.kill()
            served.process.communicate()


def test_it_ends_soon_in_the_middle_of_a_training_and_goes_on(loop: RunningLoop, shop: Shop, tmp_path: Path) -> None:
    served = Served(loop, tmp_path)
    try:
        node = until(
            lambda: next((node for node in loop.services.nodes.known("trainer") if node.online), None), "connected"
        )
        wish = {"trainer_id": node.id, "hyperparameters": {"minutes": 30, "resolution": 64}}
        begun = loop.http.post(f"{shop.path}/trainings", json=wish)
        assert begun.status_code == 201, begun.text
        until(lambda: served.health().get("state") == "running" and served.health().get("progress"), "it trains")
        status, seconds, log = served.end(signal.SIGTERM)
        assert status == 0, log
        assert seconds < 25
        leader = next(iter(tmp_path.glob("projects/*/*/trainings/*/job/process.json")), None)
        assert leader is None, "the training process was left behind"

        served = Served(loop, tmp_path)
        until(lambda: served.health().get("state") == "running", "it goes on")
        until(
            lambda: next((node for node in loop.services.nodes.known("trainer") if node.online), None),
            "connected again",
        )
        number = begun.json()["number"]
        assert loop.http.post(f"{shop.path}/trainings/{number}/abort").status_code == 200
        assert served.health()["state"] == "idle"
    finally:
        if served.process.poll() is None:
            served.process.terminate()
            served.process.communicate(timeout=30)
