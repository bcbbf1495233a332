"""What trainers, converters and annotators ask of a project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.errors import LoopBusy, LoopUnreachable, NotInLoop
from models.loop.client import LoopClient
from models.wire.detections import BoxDetection, ImageDetections
from tests.support.virtual_time import in_virtual_time

CATEGORY = {"id": "c1", "name": "dirt", "type": "point", "hotkey": None}


class Answers(httpx.AsyncBaseTransport):
    """Gives these answers one after another, beside logins; writes down what was asked."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        if request.url.path == "/api/login":
            return httpx.Response(200, headers={"set-cookie": "session=1; Path=/"})
        self.asked.append(request)
        return self.answers.pop(0)


class Sleeps:
    """Time that passes at once."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


def ok(document: Any) -> httpx.Response:
    return httpx.Response(200, json=document)


@in_virtual_time
async def test_the_images_of_a_project_are_listed_by_state() -> None:
    loop = Answers(*[ok({"image_ids": ["a", "b"], "categories": [CATEGORY]})] * 2)
    project = LoopClient("loop.example", transport=loop).project("o", "p")
    data = await project.data("complete")
    assert data.image_ids == ["a", "b"]
    assert (data.categories[0].name, data.categories[0].type) == ("dirt", "point")
    await project.data()
    assert [request.url.raw_path for request in loop.asked] == [
        b"/api/o/projects/p/data?state=complete",
        b"/api/o/projects/p/data",
    ]


@in_virtual_time
async def test_images_are_asked_for_by_the_hundred() -> None:
    ids = [f"id-{number}" for number in range(250)]

    def images(some: list[str]) -> httpx.Response:
        return ok({"images": [{"id": id, "set": "train", "tags": None, "box_annotations": None} for id in some]})

    loop = Answers(images(ids[:100]), images(ids[100:200]), images(ids[200:]))
    project = LoopClient("loop.example", transport=loop).project("o", "p")
    found = await project.images(ids, model_version="1.1")
    assert [image.id for image in found] == ids
    assert [len(request.url.params["ids"].split(",")) for request in loop.asked] == [100, 100, 50]
    assert {request.url.params["model_version"] for request in loop.asked} == {"1.1"}
    assert await project.images([]) == []


@in_virtual_time
async def test_an_image_is_its_bytes_and_a_web_page_is_no_image() -> None:
    loop = Answers(
        httpx.Response(200, content=b"\xff\xd8jpeg", headers={"content-type": "image/jpeg"}),
        httpx.Response(200, html="<title>Log in</title>"),
        httpx.Response(404, json={"detail": "no such image"}),
    )
    project = LoopClient("loop.example", transport=loop).project("o", "p")
    assert await project.download_image("10f7/x") == b"\xff\xd8jpeg"
    assert loop.asked[0].url.raw_path == b"/api/o/projects/p/images/10f7%2Fx/main"
    with pytest.raises(LoopUnreachable, match="Log in"):
        await project.download_image("a")
    with pytest.raises(NotInLoop, match=r"has no image a .*no such image"):
        await project.download_image("a")


@in_virtual_time
async def test_detections_are_given_by_the_hundred_and_count_only_with_200() -> None:
    loop = Answers(httpx.Response(200), httpx.Response(200), httpx.Response(202))
    project = LoopClient("loop.example", transport=loop).project("o", "p")
    box = BoxDetection(category_name="dirt", model_name="1.1", confidence=0.5, x=1, y=2, width=3, height=4)
    detections = [ImageDetections(image_id=str(number), box_detections=[box]) for number in range(101)]
    await project.post_detections(detections)
    bodies = [json.loads(request.content) for request in loop.asked]
    assert [len(body) for body in bodies] == [100, 1]
    assert bodies[1][0]["image_id"] == "100"
    assert bodies[1][0]["box_detections"][0]["width"] == 3
    with pytest.raises(LoopUnreachable):
        await project.post_detections(detections[:1])


@in_virtual_time
async def test_a_loop_that_is_busy_with_others_is_asked_again_when_it_says() -> None:
    busy = [httpx.Response(429, headers={"retry-after": "30"}), httpx.Response(429)]
    sleeps = Sleeps()
    loop = Answers(*busy, ok({"image_ids": []}))
    project = LoopClient("loop.example", transport=loop, sleep=sleeps).project("o", "p")
    assert (await project.data()).image_ids == []
    assert [30 <= sleeps.slept[0] <= 31, 5 <= sleeps.slept[1] <= 6] == [True, True]


@in_virtual_time
async def test_patience_ends_and_does_not_extend_to_devices_or_other_troubles() -> None:
    sleeps = Sleeps()
    loop = Answers(*(httpx.Response(429) for _ in range(100)))
    project = LoopClient("loop.example", transport=loop, sleep=sleeps).project("o", "p")
    with pytest.raises(LoopBusy):
        await project.data()
    assert (len(loop.asked), len(sleeps.slept)) == (21, 20)
    with pytest.raises(LoopBusy):
        await project.models()
    assert len(loop.asked) == 22

    loop.answers = [httpx.Response(503)]
    with pytest.raises(LoopBusy):
        await project.data()
    assert len(sleeps.slept) == 20


@in_virtual_time
async def test_the_projects_of_a_loop_are_listed() -> None:
    item = {"organization_id": "acme", "project_id": "bolts", "resource": "/acme/projects/bolts"}
    loop = Answers(ok({"projects": [item]}), ok({"projects": "all"}))
    client = LoopClient("loop.example", transport=loop)
    [found] = await client.projects()
    assert (found.organization_id, found.project_id) == ("acme", "bolts")
    assert loop.asked[0].url.raw_path == b"/api/projects"
    with pytest.raises(LoopUnreachable, match="the list of projects"):
        await client.projects()


@in_virtual_time
async def test_a_model_gets_one_more_format(tmp_path: Path) -> None:
    files = [tmp_path / "model.json", tmp_path / "model.tflite"]
    files[0].write_bytes(b"{}")
    files[1].write_bytes(b"weights")
    page = httpx.Response(200, html="<title>Welcome to the hotel</title>")
    loop = Answers(httpx.Response(200), httpx.Response(404, json={"detail": "no such model"}), page)
    project = LoopClient("loop.example", transport=loop).project("o", "p")
    await project.add_format("m 1", "litert", files)
    [request] = loop.asked
    assert (request.method, request.url.raw_path) == ("PUT", b"/api/o/projects/p/models/m%201/litert/file")
    assert request.content.count(b'name="files"') == 2
    assert b'filename="model.tflite"' in request.content
    with pytest.raises(NotInLoop, match="no such model"):
        await project.add_format("gone", "litert", files)
    with pytest.raises(LoopUnreachable, match="hotel"):
        await project.add_format("m 1", "litert", files)
