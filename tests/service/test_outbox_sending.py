"""A box and a Loop, both running: pictures arrive byte for byte, and people see and steer what waits."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.cli.outbox_server import OutboxServer
from appliance.cli.server import Server
from tests.service.box import STRANGER, Box
from tests.service.conftest import MakeBox
from tests.service.outbox import pictures_in
from tests.service.photographs import CAT, CUP, PERSON
from tests.service.running_loop import RunningLoop

PROJECT = "/api/acme/projects/kitchens"


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLoop]:
    with RunningLoop(tmp_path_factory.mktemp("loop")) as running:
        categories = [{"name": "cat", "type": "box"}]
        made = running.http.post("/api/acme/projects", json={"project_name": "kitchens", "categories": categories})
        assert made.is_success, made.text
        yield running


def settings_with(host: str) -> dict[str, Any]:
    return {"loop_host": host, "loop_organization": "acme", "loop_project": "kitchens"}


@pytest.fixture(scope="module")
def box(make_box: MakeBox, loop: RunningLoop) -> Box:
    made = make_box(**settings_with(loop.host))
    hurry(made)
    return made


def hurry(box: Box) -> None:
    """Do not wait for the moment within the first seconds at which a box begins."""
    assert box.http.post("/api/v1/outbox/retry").status_code == 200


def upload(box: Box, *pictures: bytes, **query: str) -> None:
    files = [("files", (f"{number}.jpg", picture)) for number, picture in enumerate(pictures)]
    answer = box.http.post("/upload", files=files, params=query)
    assert answer.status_code == 200, answer.text


def told(box: Box) -> dict[str, Any]:
    return dict(box.http.get("/api/v1/outbox").json())


def images(loop: RunningLoop) -> list[dict[str, Any]]:
    ids = loop.http.get(f"{PROJECT}/data").json()["image_ids"]
    return list(loop.http.get(f"{PROJECT}/images", params={"ids": ",".join(ids)}).json()["images"]) if ids else []


def in_loop(loop: RunningLoop, source: str) -> list[dict[str, Any]]:
    return [image for image in images(loop) if image["source"] == source]


def test_an_upload_arrives_byte_for_byte_and_is_gone_from_the_box(box: Box, loop: RunningLoop) -> None:
    before = told(box)["sent"]

    upload(box, CAT.jpeg, CUP.jpeg, source="robot 7")

    box.wait_until(lambda: len(in_loop(loop, "robot 7")) == 2)
    box.wait_until(lambda: told(box)["sent"] == before + 2)
    found = {loop.http.get(f"{PROJECT}/images/{each['id']}/main").content for each in in_loop(loop, "robot 7")}
    assert found == {CAT.jpeg, CUP.jpeg}
    assert all("picked_by_system" in image["tags"] for image in in_loop(loop, "robot 7"))
    assert pictures_in(box) == []
    box.wait_until(lambda: told(box)["sending"]["state"] == "idle")


def test_stopped_holds_and_people_see_what_waits(box: Box, loop: RunningLoop) -> None:
    began = time.monotonic()
    assert box.http.put("/outbox_mode", content="stopped").json() == "OK"
    assert time.monotonic() - began < 5.0
    try:
        upload(box, CAT.jpeg, source="later")
        upload(box, PERSON.jpeg, source="first", upload_priority="true")
        box.http.post("/detect", files={"file": CUP.jpeg}, headers={"autoupload": "all", "tags": "wet"})
        box.wait_until(lambda: told(box)["waiting"] == 3)
        now = told(box)
        assert (now["mode"], now["sending"]["state"]) == ("stopped", "stopped")
        assert (now["priority"]["items"], now["normal"]["items"], now["automatic"]["items"]) == (1, 2, 1)
        assert now["bytes"] == now["priority"]["bytes"] + now["normal"]["bytes"]
        assert now["oldest"] is not None
        assert in_loop(loop, "later") == []

        first = box.http.get("/api/v1/outbox/items", params={"limit": 2}).json()
        assert [each["queue"] for each in first["items"]] == ["priority", "normal"]
        rest = box.http.get("/api/v1/outbox/items", params={"after": first["next"]}).json()
        assert rest["next"] is None
        items = [*first["items"], *rest["items"]]
        assert [each["asked_for"] for each in items] == [True, False, True]
        assert items[1]["reasons"] == ["every picture was wanted (autoupload all)"]
        assert "wet" in items[1]["tags"]

        one = box.http.get(f"/api/v1/outbox/items/{items[1]['id']}").json()
        assert one["metadata"]["box_detections"]
        picture = box.http.get(f"/api/v1/outbox/items/{items[1]['id']}/picture")
        assert (picture.content, picture.headers["content-type"]) == (CUP.jpeg, "image/jpeg")

        assert box.http.post(f"/api/v1/outbox/items/{items[2]['id']}/prioritise").json() == {"count": 1}
        assert told(box)["priority"]["items"] == 2
        assert box.http.delete(f"/api/v1/outbox/items/{items[1]['id']}").json() == {"count": 1}
        assert told(box)["waiting"] == 2
        assert box.http.get(f"/api/v1/outbox/items/{items[1]['id']}").status_code == 404
    finally:
        assert box.http.put("/outbox_mode", content="continuous_upload").json() == "OK"
    box.wait_until(lambda: len(in_loop(loop, "later")) == len(in_loop(loop, "first")) == 1)


def test_what_the_loop_does_not_want_is_set_aside_with_its_words_and_the_others_arrive(
    box: Box, loop: RunningLoop
) -> None:
    assert box.http.put("/outbox_mode", content="stopped").json() == "OK"
    upload(box, *[CAT.jpeg] * 5, source="among others")
    victim = pictures_in(box)[2].id
    (box.data / "outbox" / "normal" / victim / f"image_{victim}.jpg").write_text("I am a text.")
    assert box.http.put("/outbox_mode", content="continuous_upload").json() == "OK"

    box.wait_until(lambda: told(box)["rejected"]["items"] == 1 and told(box)["waiting"] == 0)

    [rejected] = box.http.get("/api/v1/outbox/rejected").json()["items"]
    assert rejected["id"] == victim
    assert "422" in rejected["error"]
    assert len(in_loop(loop, "among others")) >= 1, "the same bytes under other names are other images, or known ones"
    kept = box.data / "outbox" / "rejected" / victim
    assert json.loads((kept / "reason.json").read_text())["reason"] == rejected["error"]

    # Somebody repairs the file, and has it sent once more.
    (kept / f"image_{victim}.jpg").write_bytes(PERSON.jpeg)
    assert box.http.post(f"/api/v1/outbox/items/{victim}/retry").json() == {"count": 1}
    box.wait_until(lambda: told(box)["waiting"] == 0 and told(box)["rejected"]["items"] == 0)


def test_a_command_sees_the_same_and_clears_it(box: Box) -> None:
    box.http.put("/outbox_mode", content="stopped")
    try:
        upload(box, *[CUP.jpeg] * 3)
        with Server(box.url) as server:
            pictures = OutboxServer(server)
            assert pictures.count(rejected=False) == 3
            listed = [each["id"] for each in pictures.items(rejected=False)]
            assert sorted(listed) == sorted(kept.id for kept in pictures_in(box))
            assert pictures.picture(listed[0]) == CUP.jpeg
            item = pictures.item(listed[0])
            assert item is not None
            assert item["metadata"]["tags"] == ["seed_model", "picked_by_system"]
            assert pictures.item("2020-01-01") is None
            assert list(pictures.clear(rejected=False)) == [3]
            assert pictures.count(rejected=False) == 0
            assert pictures.retry() == 0
    finally:
        box.http.put("/outbox_mode", content="continuous_upload")


def test_a_stranger_sees_and_changes_nothing(box: Box) -> None:
    for method, path in (
        ("GET", "/api/v1/outbox"),
        ("GET", "/api/v1/outbox/items"),
        ("GET", "/api/v1/outbox/items/2024-01-01/picture"),
        ("DELETE", "/api/v1/outbox/items"),
        ("DELETE", "/api/v1/outbox/items/2024-01-01"),
        ("POST", "/api/v1/outbox/retry"),
    ):
        assert box.ask(method, path, client=STRANGER).status_code == 401, path


def test_a_page_that_no_answer_gave_is_refused_in_words(box: Box) -> None:
    answer = box.http.get("/api/v1/outbox/items", params={"after": "nowhere/2024"})
    assert (answer.status_code, "no place in the outbox" in answer.json()["detail"]) == (422, True)
    assert box.http.get("/api/v1/outbox/items", params={"limit": 0}).status_code == 422
    assert box.http.get("/api/v1/outbox/items/..%2Fx").status_code in (404, 422)


def test_what_is_sent_and_what_is_not_is_in_the_metrics(box: Box) -> None:
    text = box.http.get("/metrics").text
    for name in ("detector_outbox_sent_total", "detector_outbox_not_sent_total", "detector_outbox_rejected_items"):
        assert name in text


def test_a_standalone_box_keeps_and_says_so(make_box: MakeBox) -> None:
    box = make_box()
    upload(box, CAT.jpeg)
    now = told(box)
    assert (now["waiting"], now["loop"], now["sending"]["state"]) == (1, None, "standalone")
    assert "No Learning Loop is configured" in now["sending"]["explanation"]
    assert box.services.uploader is None
    assert box.services.loop is None


def test_a_box_whose_loop_is_not_there_serves_keeps_and_says_why(make_box: MakeBox) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        box = make_box(**settings_with(f"127.0.0.1:{probe.getsockname()[1]}"))
    upload(box, CAT.jpeg, source="early bird")
    hurry(box)
    box.wait_until(lambda: told(box)["sending"]["last_error"] is not None)
    box.wait_until(lambda: told(box)["sending"]["state"] == "waiting")
    now = told(box)
    assert "no connection" in now["sending"]["last_error"]
    assert now["sending"]["retry_at"] is not None
    assert box.detects(CAT.jpeg)
    assert len(pictures_in(box)) == 1


def test_an_upload_gets_in_where_only_automatic_picks_fill_the_outbox(make_box: MakeBox) -> None:
    box = make_box(max_outbox_size=4)
    for _ in range(6):
        box.http.post("/detect", files={"file": CUP.jpeg}, headers={"autoupload": "all"})
        box.wait_until(lambda: box.services.picks.counts().waiting == 0)
    assert (told(box)["waiting"], told(box)["automatic"]["items"]) == (4, 4)
    thinned = told(box)["thinned"]
    assert thinned == 2

    upload(box, CAT.jpeg, PERSON.jpeg)

    now = told(box)
    assert (now["waiting"], now["automatic"]["items"], now["thinned"]) == (4, 2, thinned + 2)
    upload(box, CAT.jpeg, PERSON.jpeg)
    refused = box.http.post("/upload", files={"files": CAT.jpeg})
    assert refused.status_code == 507
    assert (told(box)["automatic"]["items"], told(box)["refused"]) == (0, 1)
    box.http.post("/detect", files={"file": CUP.jpeg}, headers={"autoupload": "all"})
    box.wait_until(lambda: told(box)["picks"]["dropped"]["outbox_full"] == 1)
    assert {kept.picture for kept in pictures_in(box)} == {CAT.jpeg, PERSON.jpeg}, "a promise is a promise"


def test_an_upload_that_does_not_fit_as_a_whole_costs_no_pick(make_box: MakeBox) -> None:
    box = make_box(max_outbox_size=3)
    box.http.post("/detect", files={"file": CUP.jpeg}, headers={"autoupload": "all"})
    box.wait_until(lambda: told(box)["waiting"] == 1)

    files = [("files", (f"{number}.jpg", CAT.jpeg)) for number in range(4)]
    assert box.http.post("/upload", files=files).status_code == 507

    assert (told(box)["waiting"], told(box)["thinned"]) == (1, 0)


def test_the_whole_outbox_deleted_by_a_person_harms_nobody(make_box: MakeBox, loop: RunningLoop) -> None:
    box = make_box(**settings_with(loop.host))
    hurry(box)
    upload(box, CAT.jpeg, source="before")
    shutil.rmtree(box.data / "outbox")
    upload(box, CAT.jpeg, source="after it was deleted")
    box.wait_until(lambda: len(in_loop(loop, "after it was deleted")) == 1)
    assert box.detects(CAT.jpeg)
