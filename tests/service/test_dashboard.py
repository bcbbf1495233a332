"""The box with its pages: what they are told, that they need nobody else, and that strangers do not get them."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import httpx
import numpy as np
import pytest

from access import Right
from appliance.dashboard import Dashboard
from appliance.dashboard.pictures import LONGEST_SIDE, Maker
from appliance.dashboard.seeing import SHARE, Seeing
from appliance.device_table import DEVICE_TABLE
from appliance.inference.waiting import Picture
from models.errors import ImageUnreadable, InputTooLarge, InvalidInput
from models.images import read_header
from tests.e2e.server_process import ServerProcess, appliance_process
from tests.service.box import Box, settings_for
from tests.service.conftest import MakeBox
from tests.service.photographs import CAT, CUP, MOTORCYCLE, Photograph, encoded, intersection_over_union

STRANGER = {"x-forwarded-for": "203.0.113.7"}
"""Whoever comes through a proxy that is not trusted is a stranger."""


def test_the_pages_are_told_how_the_box_is_and_what_it_sees(box: Box) -> None:
    dashboard = Dashboard(box.services)

    condition = box.run(dashboard.condition.now())
    assert condition.troubles == ()
    assert condition.severity == "good"
    assert condition.sentence.startswith("Detecting with model 0.0 on the processor · ")
    assert condition.sentence.endswith("no Learning Loop")

    before = box.services.picks.counts().wanted
    sight = box.run(dashboard.seeing.look(CAT.jpeg))
    assert (sight.width, sight.height) == (451, 300)
    [cat] = sight.found
    assert cat.name == "cat"
    assert cat.confidence is not None
    assert cat.confidence > 0.5
    assert cat.box is not None
    assert intersection_over_union(cat.box, CAT.box) > 0.6
    assert sight.milliseconds > 0
    assert box.services.picks.counts().wanted == before, "nothing of it is kept"


def test_a_large_picture_is_shown_small_and_its_boxes_are_in_its_own_pixels(box: Box) -> None:
    dashboard = Dashboard(box.services)
    large = np.repeat(np.repeat(MOTORCYCLE.pixels, 4, axis=0), 4, axis=1)

    sight = box.run(dashboard.seeing.look(encoded(large, "JPEG")))

    assert (sight.width, sight.height) == (4 * 741, 4 * 500)
    assert sight.source == f"/pictures/seen/own/{sight.key}"
    shown = box.run(dashboard.seeing.jpeg("own", sight.key))
    assert shown is not None
    assert read_header(shown).width == LONGEST_SIDE
    assert sight.found[0].box is not None
    left, top, width, height = MOTORCYCLE.box
    assert intersection_over_union(sight.found[0].box, (4 * left, 4 * top, 4 * width, 4 * height)) > 0.6


def test_who_has_no_picture_at_hand_sees_what_is_in_the_one_that_comes_along(box: Box) -> None:
    sight = box.run(Dashboard(box.services).seeing.look_at_sample())

    [cup] = sight.found
    assert cup.name == "cup"
    assert cup.box is not None
    assert intersection_over_union(cup.box, CUP.box) > 0.8


def test_what_is_no_picture_is_an_error_that_can_be_shown(box: Box) -> None:
    with pytest.raises(ImageUnreadable, match="no picture"):
        box.run(Dashboard(box.services).seeing.look(b"text"))


def test_a_page_takes_as_many_pixels_as_the_box_is_set_to_take(make_box: MakeBox) -> None:
    box = make_box(max_image_megapixels=1)

    with pytest.raises(InputTooLarge):
        box.run(Dashboard(box.services).seeing.look(encoded(np.zeros((1100, 1000, 3), np.uint8), "JPEG")))
    sight = box.run(Dashboard(box.services).seeing.look(encoded(np.zeros((900, 1000, 3), np.uint8), "JPEG")))
    assert sight.found == ()


def test_a_box_without_a_model_says_so_on_its_page(make_box: MakeBox) -> None:
    box = make_box(runtime="litert/edgetpu/1")  # which no machine that runs these tests has
    box.wait_until(lambda: box.services.supervisor.worker is not None or box.services.versions.error is not None)

    condition = box.run(Dashboard(box.services).condition.now())

    assert condition.troubles, "what was asked for is not there"
    assert any("Edge TPU" in trouble.reason for trouble in condition.troubles)


def test_each_camera_is_shown_with_its_latest_picture(make_box: MakeBox) -> None:
    box = make_box()
    dashboard = Dashboard(box.services)
    assert box.run(dashboard.seeing.recent.now()) == ()

    for camera, photograph in (("front", CAT), ("rear", MOTORCYCLE), ("front", MOTORCYCLE), ("front", CAT)):
        box.http.post("/detect", files={"file": photograph.jpeg}, headers={"camera-id": camera}).raise_for_status()
    box.run(dashboard.seeing.look(CAT.jpeg))  # one's own is no camera's

    front, rear = box.run(dashboard.seeing.recent.now())
    assert (front.camera, rear.camera) == ("front", "rear")
    assert [mark.name for mark in front.sight.found] == ["cat"]
    assert rear.sight.found[0].name == "motorcycle"
    jpeg = box.run(dashboard.seeing.jpeg("camera", front.sight.key))
    assert jpeg is not None
    assert read_header(jpeg).width == 451

    again = box.run(dashboard.seeing.look_again(rear.sight.key))
    assert again.found == rear.sight.found


class CostlyMaker(Maker):
    """Every picture costs a second of the processor."""

    async def small(self, picture: Picture, longest_side: int, quality: int = 90) -> tuple[bytes, int, int]:
        self.spent += 1.0
        return await super().small(picture, longest_side, quality)


def test_showing_cameras_takes_no_more_than_its_share_of_the_processor(make_box: MakeBox) -> None:
    box, now = make_box(), 0.0
    maker = CostlyMaker(lambda: box.services.image_limits)
    seeing = Seeing(box.services, box.services.detecting.recent, maker, str, clock=lambda: now)

    def shown_after_another_picture(photograph: Photograph) -> str:
        answer = box.http.post("/detect", files={"file": photograph.jpeg}, headers={"autoupload": "disabled"})
        answer.raise_for_status()
        [sight] = box.run(seeing.recent.now())
        return sight.sight.found[0].name

    assert shown_after_another_picture(CAT) == "cat"
    now = 1 / SHARE - 1
    assert shown_after_another_picture(MOTORCYCLE) == "cat", "it is too early for another one"
    now = 2 / SHARE
    assert shown_after_another_picture(MOTORCYCLE) == "motorcycle"


def test_arrays_of_robots_are_shown_too(make_box: MakeBox) -> None:
    box = make_box()
    dashboard = Dashboard(box.services)
    array = {"bytes": CAT.pixels.tobytes(), "dtype": "uint8", "shape": list(CAT.pixels.shape)}

    box.call("detect", {"image": array, "camera_id": "raw", "autoupload": "disabled"})

    [raw] = box.run(dashboard.seeing.recent.now())
    assert (raw.camera, raw.sight.width, raw.sight.height) == ("raw", 451, 300)
    sent = box.run(dashboard.seeing.look_again(raw.sight.key))
    box.run(dashboard.seeing.send(sent.key))
    assert box.services.outbox.stats().total.items == 1


def test_what_the_model_missed_goes_first_with_the_box_that_was_drawn(make_box: MakeBox) -> None:
    box = make_box()
    dashboard = Dashboard(box.services)
    sight = box.run(dashboard.seeing.look(CAT.jpeg))

    box.run(dashboard.seeing.send_missed(sight.key, "whisker", (10, 20, 30, 40)))

    [item] = box.run(dashboard.outbox.page("priority", None, 10)).items
    stored = box.services.outbox.read(item.id)
    assert stored is not None
    assert stored.picture == CAT.jpeg, "byte for byte as it was chosen"
    [said] = stored.metadata.box_annotations
    assert (said.category_name, said.x, said.y, said.width, said.height) == ("whisker", 10, 20, 30, 40)
    assert "missed_by_model" in stored.metadata.tags
    assert stored.metadata.box_detections, "what it did find is told, too"


def test_what_is_tried_and_forgotten_cannot_be_sent(box: Box) -> None:
    with pytest.raises(InvalidInput, match="not kept any more"):
        box.run(Dashboard(box.services).seeing.send("never-tried"))


def test_the_outbox_of_the_page_is_that_of_curl(make_box: MakeBox) -> None:
    box = make_box()
    outbox = Dashboard(box.services).outbox
    for photograph in (CAT, MOTORCYCLE):
        box.http.post("/upload", files={"files": photograph.jpeg}).raise_for_status()

    view = box.run(outbox.feed.now())
    assert (view.waiting, view.mode, view.loop) == (2, "continuous_upload", None)
    page = box.run(outbox.page("normal", None, 1))
    assert page.items[0].reasons == ("somebody asked for it (upload)",)
    assert page.next is not None
    [second] = box.run(outbox.page("normal", page.next, 10)).items
    small = box.run(outbox.jpeg(second.id, small=True))
    assert small is not None
    assert read_header(small).width == 320
    assert box.http.get(second.picture).content == CAT.jpeg, "the older one"

    box.run(outbox.set_mode("stopped"))
    assert box.http.get("/outbox_mode").text == "stopped"
    box.http.put("/outbox_mode", content="continuous_upload").raise_for_status()
    assert box.run(outbox.feed.now()).mode == "continuous_upload"

    assert box.run(outbox.prioritise((second.id,))) == 1
    assert box.run(outbox.delete((second.id, "gone"))) == 1
    assert box.run(outbox.feed.now()).waiting == 1
    assert box.run(outbox.sight(second.id)) is None


def test_the_models_of_the_page_are_those_of_curl(make_box: MakeBox, good_zip: bytes) -> None:
    box = make_box()
    models = Dashboard(box.services).models
    view = box.run(models.feed.now())
    assert view.standalone
    [seed] = view.models
    assert (seed.version, seed.serves, seed.ships_with_box, len(seed.categories)) == ("0.0", True, True, 80)

    box.http.post(models.upload_url, files={"file": good_zip}).raise_for_status()
    assert "1.0" in [row.version for row in box.run(models.feed.now()).models], "at once: somebody looks for it"
    box.http.put("/model_version", content="1.0").raise_for_status()
    box.wait_until(lambda: box.run(models.feed.now()).current == "1.0")
    view = box.run(models.feed.now())
    assert (view.mode, view.chosen, view.rollback_to) == ("specific_version", "1.0", "0.0")
    added = next(row for row in view.models if row.version == "1.0")
    assert added.serves
    assert added.resolution == 300

    assert box.run(models.roll_back()) == "0.0"
    box.wait_until(lambda: box.run(models.feed.now()).current == "0.0")
    box.run(models.remove(added.key))
    assert [row.version for row in box.run(models.feed.now()).models] == ["0.0"]

    box.run(models.lock(600))
    assert box.http.get("/api/v1/update_lock").json()["held"]
    assert box.run(models.feed.now()).locked_seconds == 600


def test_a_refused_robot_is_let_in_and_that_lasts(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with Box(settings) as box:
        dashboard = Dashboard(box.services)
        robot = ("192.168.4.23", 40000)
        assert box.ask("POST", "/upload", client=robot, files={"files": CAT.jpeg}).status_code == 401
        [trouble] = box.run(dashboard.condition.now()).troubles
        assert trouble.network == "192.168.4.0/24"

        box.services.reread = lambda: settings_for(tmp_path)
        box.run(dashboard.trust(trouble.network))

        assert box.ask("POST", "/upload", client=robot, files={"files": CAT.jpeg}).status_code == 200
        assert box.run(dashboard.condition.now()).troubles == ()
        assert [str(each) for each in settings_for(tmp_path).trusted_networks] == ["192.168.4.0/24"], "after a restart"

        box.run(dashboard.distrust(trouble.network))
        assert box.ask("POST", "/upload", client=robot, files={"files": CAT.jpeg}).status_code == 401
        for nonsense in ("", "everybody", "192.168.4.23/24"):
            with pytest.raises(InvalidInput, match="no network"):
                box.run(dashboard.trust(nonsense))


WALK = """
import json, sys
from pathlib import Path
from access import walk
from appliance.device_table import DEVICE_TABLE
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
    for page in ("/", "/live", "/models", "/outbox", "/system", "/settings"):
        assert ["GET", page] in walked["routes"]
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

    written = server.log_text().splitlines()[1:]
    lines = [json.loads(line) for line in written if not line.startswith("Nobody has set a password")]

    assert len(written) - 1 <= len(lines), "only the code to claim the box is said to people, too"
    assert lines
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    assert not [line for line in lines if line["level"] == "ERROR"]


def test_a_session_is_good_for_the_socket_of_the_pages_until_it_ends(
    server: ServerProcess, visitor: httpx.Client
) -> None:
    visitor.put("/api/v1/password", json={"password": "correct horse"}).raise_for_status()
    answer = visitor.post("/api/v1/login", json={"password": "correct horse"}, headers=STRANGER)
    answer.raise_for_status()
    cookie = {**STRANGER, "Cookie": answer.headers["set-cookie"].partition(";")[0]}
    url = f"ws://127.0.0.1:{server.port}/_nicegui_ws/socket.io/?EIO=4&transport=websocket"

    async def story() -> None:
        async with aiohttp.ClientSession() as browser:
            with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
                await browser.ws_connect(url, headers=STRANGER)
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await browser.ws_connect(url, headers={**cookie, "Origin": "http://evil.example"})
            async with browser.ws_connect(url, headers=cookie) as page:
                assert str(await page.receive_str(timeout=20)).startswith("0{")
                await page.send_str("40")
                assert str(await page.receive_str(timeout=20)).startswith("40")
                await asyncio.to_thread(visitor.delete, "/api/v1/sessions")
                await page.send_str('42["event",{}]')
                assert (await page.receive(timeout=20)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
                assert page.close_code == 1008

    asyncio.run(story())
    seen = visitor.get("/", headers={**cookie, "Accept": "text/html"})
    assert (seen.status_code, seen.headers["location"]) == (303, "/login")
    visitor.delete("/api/v1/password").raise_for_status()
