"""The annotator as a program of its own lives with the embedded loop: a person draws, the mask is in the Loop."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree

import httpx
import pytest
from PIL import Image

from tests.e2e.server_process import ServerProcess, free_port
from tests.service.running_loop import RunningLoop
from tests.support.pasted_things import Scene, filled, intersection_over_union, scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DEADLINE = 60.0
PATH = "/api/workshop/projects/parts"

T = TypeVar("T")


def eventually(look: Callable[[], T | None], what: str, node: ServerProcess) -> T:
    """What `look` returns, as soon as that is something. Fails with the node's log."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} never came about\n{node.log_text()}")


def jpeg(shown: Scene, orientation: int = 1) -> bytes:
    """As a camera that was held in that orientation writes it."""
    picture = Image.fromarray(shown.pixels)
    turned = {1: picture, 6: picture.transpose(Image.Transpose.ROTATE_90)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", quality=92, exif=exif)
    return buffer.getvalue()


class Page:
    """A page of the Loop on which somebody annotates; asks the loop, which asks the node."""

    def __init__(self, loop: RunningLoop, node_id: str, frontend_id: str = "page 1") -> None:
        self.loop, self.frontend_id = loop, frontend_id
        self.path = f"/api/nodes/{node_id}"
        self.category = next(each for each in self.ask("GET", PATH)["categories"] if each["type"] == "segmentation")

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self.loop.http.request(method, path, **arguments)
        assert answer.is_success, answer.text
        return answer.json()

    def send(self, image_id: str, event_type: str, x: int, y: int, **more: Any) -> httpx.Response:
        data = {
            "coordinate": {"x": x, "y": y},
            "event_type": event_type,
            "context": {"organization": "workshop", "project": "parts"},
            "image_uuid": image_id,
            "category": self.category,
            **more,
        }
        message = {"frontend_id": self.frontend_id, "data": data}
        return self.loop.http.post(f"{self.path}/user_input", json=message)

    def draw(self, image_id: str, event_type: str, x: int, y: int, **more: Any) -> str:
        answer = self.send(image_id, event_type, x, y, **more)
        assert answer.is_success, answer.text
        svg = answer.json()["payload"]
        assert isinstance(svg, str)
        assert not svg or ElementTree.fromstring(svg).tag == "g"
        return svg

    def box(self, image_id: str, box: tuple[int, int, int, int]) -> str:
        x, y, width, height = box
        self.draw(image_id, "left_mouse_down", x, y)
        assert "<rect" in self.draw(image_id, "mouse_move", x + width // 2, y + height // 2)
        return self.draw(image_id, "left_mouse_up", x + width - 1, y + height - 1)

    def upload(self, name: str, data: bytes) -> str:
        metadata = json.dumps({"state": "annotate"})
        parts = [("files", (f"{name}.json", metadata)), ("files", (f"{name}.jpg", data))]
        before = set(self.ask("GET", f"{PATH}/data")["image_ids"])
        self.ask("POST", f"{PATH}/images", files=parts)
        [image_id] = set(self.ask("GET", f"{PATH}/data")["image_ids"]) - before
        return str(image_id)

    def polygons(self, image_id: str) -> list[dict[str, Any]]:
        [image] = self.ask("GET", f"{PATH}/images", params={"ids": image_id})["images"]
        found: list[dict[str, Any]] = image["segmentation_annotations"]
        return found


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[RunningLoop]:
    with RunningLoop(tmp_path / "loop", username="node", password="secret of nodes") as loop:
        categories = [{"name": "hole", "type": "segmentation", "color": "#ff8800"}]
        project = {"project_name": "parts", "categories": categories}
        assert loop.http.post("/api/workshop/projects", json=project).is_success
        yield loop


@contextmanager
def annotator(loop: RunningLoop, folder: Path, **environment: str) -> Iterator[tuple[ServerProcess, Page]]:
    port = free_port()
    command = [sys.executable, "-m", "annotator_companion", "serve", "--loop", loop.host, "--port", str(port)]
    node = ServerProcess(
        [*command, "--name", "pen", "--data-dir", str(folder)],
        port=port,
        log=folder.parent / "annotator.log",
        environment={"LOOP_USERNAME": "node", "LOOP_PASSWORD": "secret of nodes", **environment},
    )
    node.start()
    try:
        node.wait_until("/healthz")
        found = eventually(
            lambda: [
                each for each in loop.http.get("/api/nodes?kind=annotation_node").json()["nodes"] if each["online"]
            ],
            "the node",
            node,
        )
        assert (found[0]["name"], found[0]["state"], found[0]["capabilities"]) == ("pen", "online", ["segmentation"])
        yield node, Page(loop, found[0]["id"])
        node.stop()
    finally:
        node.kill()


def test_a_box_becomes_a_mask_in_the_loop_and_a_stroke_corrects_it(loop: RunningLoop, tmp_path: Path) -> None:
    shown = scene(1)
    height, width = shown.mask.shape
    with annotator(loop, tmp_path / "data") as (_, page):
        image_id = page.upload("upright", jpeg(shown))
        svg = page.box(image_id, shown.box)
        assert "#ff8800" in svg, "in the colour of the category"
        [polygon] = page.polygons(image_id)
        assert polygon["category_id"] == page.category["id"]
        corners = [(point["x"], point["y"]) for point in polygon["shape"]["points"]]
        assert intersection_over_union(filled(corners, width, height), shown.mask) > 0.85

        x, y, w, h = shown.box
        page.draw(image_id, "left_mouse_down", x + w // 3, y + h // 2, is_shift_key_pressed=True)
        page.draw(image_id, "mouse_move", x + w // 2, y + h // 2, is_shift_key_pressed=True)
        page.draw(image_id, "left_mouse_up", x + 2 * w // 3, y + h // 2, is_shift_key_pressed=True)
        [corrected] = page.polygons(image_id)
        assert corrected["id"] == polygon["id"], "the same annotation, replaced"

        assert page.draw(image_id, "key_up", 0, 0, key_up="Escape") == ""
        assert page.draw(image_id, "mouse_move", 5, 5) == "", "it has forgotten what was drawn"
        page.box(image_id, shown.box)
        assert len(page.polygons(image_id)) == 2, "another annotation"
        page.ask("POST", f"{page.path}/user_logout", json={"frontend_id": page.frontend_id})
        assert page.draw(image_id, "mouse_move", 5, 5) == ""


def test_a_picture_is_drawn_on_as_it_is_displayed(loop: RunningLoop, tmp_path: Path) -> None:
    shown = scene(4)
    height, width = shown.mask.shape
    with annotator(loop, tmp_path / "data") as (_, page):
        image_id = page.upload("turned", jpeg(shown, orientation=6))
        page.box(image_id, shown.box)
        [polygon] = page.polygons(image_id)
        corners = [(point["x"], point["y"]) for point in polygon["shape"]["points"]]
        assert intersection_over_union(filled(corners, width, height), shown.mask) > 0.85


def test_what_goes_wrong_is_a_sentence_and_the_node_lives_on(loop: RunningLoop, tmp_path: Path) -> None:
    with annotator(loop, tmp_path / "data") as (node, page):
        shown = scene(1)
        image_id = page.upload("fine", jpeg(shown))
        missing = page.send("10f7d7d2-4076-7006-af37-fa28a6a848ae", "mouse_move", 1, 1)
        assert missing.status_code == 409
        assert "10f7d7d2" in missing.json()["detail"]
        page.category = {**page.category, "id": "10f7d7d2-4076-7006-af37-fa28a6a848ae"}
        page.send(image_id, "left_mouse_down", shown.box[0], shown.box[1])
        refused = page.send(image_id, "left_mouse_up", shown.box[0] + 80, shown.box[1] + 80)
        assert refused.status_code == 409
        assert "did not take the annotation" in refused.json()["detail"]
        assert httpx.get(f"http://127.0.0.1:{node.port}/healthz").json()["pages"] == 1


def test_it_comes_back_under_the_same_id_and_speaks_upstreams_node_rest(loop: RunningLoop, tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        with annotator(loop, tmp_path / "data") as (node, page):
            ids.append(page.path)
            http = httpx.Client(base_url=f"http://127.0.0.1:{node.port}")
            assert http.put("/debug_logging", content="on").json() == "on"
            assert http.put("/socketio", content="off").json() == "off"
            eventually(lambda: not loop.http.get("/api/nodes").json()["nodes"][0]["online"], "its absence", node)
            assert http.put("/socketio", content="on").json() == "on"
            eventually(lambda: loop.http.get("/api/nodes").json()["nodes"][0]["online"], "its presence", node)
            http.close()
    assert ids[0] == ids[1]
