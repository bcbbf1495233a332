"""The box with its pages: what they are told, that they need nobody else, and that strangers do not get them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from appliance.access import DEVICE_TABLE, Right
from appliance.dashboard import LONGEST_SIDE, Dashboard
from models.errors import ImageUnreadable, InputTooLarge
from models.images import read_header
from tests.e2e.server_process import ServerProcess, appliance_process
from tests.service.box import Box
from tests.service.conftest import MakeBox
from tests.service.photographs import CAT, MOTORCYCLE, encoded, intersection_over_union

STRANGER = {"x-forwarded-for": "203.0.113.7"}
"""Whoever comes through a proxy that is not trusted is a stranger."""


def test_the_pages_are_told_how_the_box_is_and_what_it_sees(box: Box) -> None:
    dashboard = Dashboard(box.services)

    condition = dashboard.condition()
    assert condition.trouble is None
    assert condition.sentence.startswith("Detecting with model 0.0 on onnx/cpu/1 · ")
    assert "standalone" in condition.sentence

    before = box.services.picks.counts().wanted
    sight = box.run(dashboard.look(CAT.jpeg))
    assert (sight.width, sight.height) == (451, 300)
    [cat] = sight.found
    assert (cat.name, cat.confidence > 0.5) == ("cat", True)
    assert cat.box is not None
    assert intersection_over_union(cat.box, CAT.box) > 0.6
    assert read_header(sight.jpeg).width == 451
    assert sight.milliseconds > 0
    assert box.services.picks.counts().wanted == before, "nothing of it is kept"


def test_a_large_picture_is_shown_small_and_its_boxes_are_in_its_own_pixels(box: Box) -> None:
    large = np.repeat(np.repeat(MOTORCYCLE.pixels, 4, axis=0), 4, axis=1)

    sight = box.run(Dashboard(box.services).look(encoded(large, "JPEG")))

    assert (sight.width, sight.height) == (4 * 741, 4 * 500)
    assert read_header(sight.jpeg).width == LONGEST_SIDE
    assert sight.found[0].box is not None
    left, top, width, height = MOTORCYCLE.box
    assert intersection_over_union(sight.found[0].box, (4 * left, 4 * top, 4 * width, 4 * height)) > 0.6


def test_what_is_no_picture_is_an_error_that_can_be_shown(box: Box) -> None:
    with pytest.raises(ImageUnreadable, match="no picture"):
        box.run(Dashboard(box.services).look(b"text"))


def test_a_page_takes_as_many_pixels_as_the_box_is_set_to_take(make_box: MakeBox) -> None:
    box = make_box(max_image_megapixels=1)

    with pytest.raises(InputTooLarge):
        box.run(Dashboard(box.services).look(encoded(np.zeros((1100, 1000, 3), np.uint8), "JPEG")))
    assert box.run(Dashboard(box.services).look(encoded(np.zeros((900, 1000, 3), np.uint8), "JPEG"))).found == []


def test_a_box_without_a_model_says_so_on_its_page(make_box: MakeBox) -> None:
    box = make_box(runtime="litert/edgetpu/1")  # which no machine that runs these tests has
    box.wait_until(lambda: box.services.supervisor.worker is not None or box.services.versions.error is not None)

    condition = Dashboard(box.services).condition()

    assert condition.trouble, "what was asked for is not there"
    assert "Edge TPU" in condition.trouble


WALK = """
import json, sys
from pathlib import Path
from appliance.access import DEVICE_TABLE, walk
from appliance.app import build, rest
from appliance.dashboard import Dashboard
from appliance.settings import load_settings
from ui import mount

folder = Path(sys.argv[1])
services = build(load_settings(environ={}, data_dir=folder, working_directory=folder, system_root=folder))
app = rest(services)
mount.run_with(app, Dashboard(services))
routes = list(walk(app.routes))
services.picks.close()
print(json.dumps({"routes": routes, "unlisted": DEVICE_TABLE.unlisted(routes)}))
"""
"""NiceGUI can be mounted only once in a process: this one has other tests to run."""


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[str]]]:
    """Every route of the box with its pages, and those that the table of rights does not name."""
    folder = tmp_path_factory.mktemp("walk")
    done = subprocess.run(
        [sys.executable, "-c", WALK, str(folder)], capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, list[list[str]]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The box as it is run."""
    data = Path(tmp_path_factory.mktemp("with-pages")) / "data"
    process = appliance_process(data, environment={"RUNTIME": "onnx/cpu/1", "LOG_FORMAT": "json"})
    process.start()
    try:
        process.wait_until("/readyz")
        yield process
        process.stop()
    finally:
        process.kill()


@pytest.fixture(scope="module")
def visitor(server: ServerProcess) -> Iterator[httpx.Client]:
    """A browser on this machine."""
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=30) as client:
        yield client


def test_every_route_of_the_pages_has_its_place_in_the_table(walked: dict[str, list[list[str]]]) -> None:
    assert walked["unlisted"] == []
    assert ["GET", "/"] in walked["routes"]
    assert any(path.startswith("/_nicegui") for _, path in walked["routes"])


def test_a_stranger_gets_no_page_and_nothing_that_pages_are_made_of(
    walked: dict[str, list[list[str]]], visitor: httpx.Client
) -> None:
    for method, template in walked["routes"]:
        path = re.sub(r"\{[^{}]*\}", "x", template)
        if DEVICE_TABLE.right_to(method, path) is not Right.CHANGE_OR_SEE:
            continue
        answer = visitor.request("POST" if method == "*" else method, path, headers=STRANGER)
        assert answer.status_code == 401, f"{method} {path}"
    refused = visitor.get("/", headers=STRANGER)
    assert "API key" in refused.json()["detail"]
    for transport in ("polling", "websocket"):
        url = f"/_nicegui_ws/socket.io/?EIO=4&transport={transport}"
        assert visitor.get(url, headers=STRANGER).status_code == 401


def test_the_page_is_there_and_needs_nothing_from_elsewhere(visitor: httpx.Client) -> None:
    page = visitor.get("/")

    assert page.status_code == 200
    assert "Detecting with model 0.0" in page.text
    references = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)["']""", page.text)
    assert references
    for reference in references:
        if not reference.startswith("data:"):
            assert reference.startswith("/"), f"the page takes {reference} from elsewhere"
            assert visitor.get(reference).status_code == 200, reference


def test_the_routes_of_the_node_are_there_beside_the_pages(visitor: httpx.Client) -> None:
    answer = visitor.post("/detect", files={"file": CAT.jpeg}, headers={"autoupload": "disabled"})

    assert [found["category_name"] for found in answer.json()["box_detections"]] == ["cat"]
    assert visitor.get("/ws/socket.io/?EIO=4&transport=polling").status_code == 200
    assert visitor.get("/nowhere").status_code == 404


def test_the_log_of_a_whole_run_is_json(server: ServerProcess, visitor: httpx.Client) -> None:
    visitor.get("/")

    lines = [json.loads(line) for line in server.log_text().splitlines()[1:]]

    assert lines
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    assert not [line for line in lines if line["level"] == "ERROR"]
