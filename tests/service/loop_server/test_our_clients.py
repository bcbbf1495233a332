"""What devices and companions use to speak to a Loop, against this project's own."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from models.errors import AlreadyInLoop, LoginFailed, LoopRefused, LoopUnreachable, NotInLoop
from models.loop.client import ImageUpload, LoopClient, LoopProject
from models.loop.node import LoopNode
from models.wire.detections import BoxDetection, ImageDetections
from models.wire.loop import DetectorStatus
from models.wire.training import TrainingDetails, TrainingStatus
from tests.service.loop_server.conftest import USER
from tests.service.loop_server.pictures import box, jpeg, metadata
from tests.service.loop_server.shop import NO_SUCH_ID, Shop, model_zip, unzipped
from tests.service.running_loop import RunningLoop
from tests.support.raw_server import Asked, on_loopback, raw_server, reset


@pytest.fixture
def shop(loop: RunningLoop) -> Shop:
    """An empty project of the test's own."""
    return Shop(loop)


@asynccontextmanager
async def project(shop: Shop, host: str | None = None) -> AsyncIterator[LoopProject]:
    """The same project, as a detector without user name asks for it."""
    client = LoopClient(host or shop.loop.host)
    try:
        yield client.project(shop.organization, shop.project)
    finally:
        await client.close()


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    on_loopback(story)()


def test_a_device_gets_its_target_its_models_and_tells_how_it_is(shop: Shop) -> None:
    async def story() -> None:
        async with project(shop) as device:
            assert await device.deployment_target() is None
            model = await asyncio.to_thread(shop.upload)
            target = {"model_uuid": model["id"]}
            answer = await asyncio.to_thread(lambda: shop.http.put(f"{shop.path}/deployment/target", json=target))
            assert answer.is_success, answer.text
            deployed = await device.deployment_target()
            assert deployed is not None
            assert (deployed.model_uuid, deployed.version) == (model["id"], "1.0")
            (listed,) = await device.models("litert")
            assert (listed.id, listed.version, listed.formats) == (model["id"], "1.0", ["litert"])
            assert await device.models("onnx") == []
            await device.report_detector(DetectorStatus(uuid="robot-7", name="robot 7", model_format="litert"))
        client = LoopClient(shop.loop.host)
        with pytest.raises(NotInLoop):
            await client.project(shop.organization, "no-such-project").models()
        assert await client.is_ready()
        await client.close()

    run(story)
    assert "robot 7" in shop.http.get(f"{shop.path}/detectors").text


def test_a_wrong_password_is_told(loop: RunningLoop, shop: Shop) -> None:
    async def story() -> None:
        for password, right in (("wrong", False), (USER[1], True)):
            client = LoopClient(loop.host, username=USER[0], password=password)
            models = client.project(shop.organization, shop.project).models()
            if right:
                assert await models == []
            else:
                with pytest.raises(LoginFailed, match=USER[0]):
                    await models
            await client.close()

    run(story)


def test_a_model_is_downloaded_in_spite_of_a_line_that_breaks(shop: Shop, tmp_path: Path) -> None:
    weights = random.Random(1).randbytes(3_000_000)
    model = shop.upload(data=model_zip(weights))

    async def story() -> None:
        breaks = [1_000_000, 700_000]

        async def line(asked: Asked, writer: asyncio.StreamWriter) -> None:
            """Hands on to the loop, and breaks off twice."""
            there, to_there = await asyncio.open_connection("127.0.0.1", shop.loop.port)
            head = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items())
            to_there.write(f"{asked.method} {asked.path} HTTP/1.1\r\n{head}connection: close\r\n\r\n".encode())
            left = breaks.pop(0) if breaks else 1_000_000_000
            try:
                while left > 0 and (piece := await there.read(min(left, 65536))):
                    writer.write(piece)
                    await writer.drain()
                    left -= len(piece)
            finally:  # the client may go first
                to_there.close()
            if left > 0:
                writer.close()
            else:
                await asyncio.sleep(0.2)
                reset(writer)

        async with raw_server(line) as server, project(shop, server.host) as device:
            for _ in range(2):
                with pytest.raises(LoopUnreachable):
                    await device.download_model(model["id"], "litert", tmp_path / "zip", max_bytes=10_000_000)
            got = await device.download_model(model["id"], "litert", tmp_path / "zip", max_bytes=10_000_000)
            with pytest.raises(NotInLoop):
                await device.download_model(model["id"], "onnx", tmp_path / "zip", max_bytes=10_000_000)
            with pytest.raises(NotInLoop):
                await device.download_model(NO_SUCH_ID, "litert", tmp_path / "zip", max_bytes=10_000_000)
        assert [asked.headers.get("range", "")[:8] for asked in server.asked[:3]] == ["", "bytes=99", "bytes=16"]
        content = (tmp_path / "zip").read_bytes()
        assert unzipped(content)["weights.bin"] == weights
        assert got.sha256 == hashlib.sha256(content).hexdigest()
        assert got.file_name.endswith(".zip")

    run(story)


def test_pictures_arrive_once_and_are_given_to_companions(shop: Shop, tmp_path: Path) -> None:
    answer = shop.http.post(f"{shop.path}/categories", json={"name": "screw"})
    assert answer.is_success, answer.text

    async def story() -> None:
        pictures = {f"2024-01-01_12:34:5{number}.123456": jpeg(number) for number in range(3)}
        described = metadata(box_detections=[box("screw")], tags=["uncertain"])
        batch = [ImageUpload(id, picture, described) for id, picture in pictures.items()]
        async with project(shop) as device:
            await device.upload_images(batch)
            await device.upload_images(batch)
            with pytest.raises(LoopRefused) as refusal:
                await device.upload_images([*batch, ImageUpload("broken", b"no picture", b"{}")])
            assert refusal.value.status == 422
        client = LoopClient(shop.loop.host, username=USER[0], password=USER[1])
        companion = client.project(shop.organization, shop.project)
        data = await companion.data("inbox")
        assert len(data.image_ids) == 3
        assert [category.name for category in data.categories] == ["screw"]
        images = await companion.images(data.image_ids)
        assert {image.id for image in images} == set(data.image_ids)
        assert all(image.box_detections[0].category_id == data.categories[0].id for image in images)
        assert all("uncertain" in image.tags and image.set in ("train", "test") for image in images)
        assert {await companion.download_image(id) for id in data.image_ids} == set(pictures.values())
        with pytest.raises(NotInLoop):
            await companion.download_image(NO_SUCH_ID)

        found = BoxDetection(category_name="screw", model_name="1.0", confidence=0.7, x=1, y=2, width=3, height=4)
        detections = [ImageDetections(image_id=id, box_detections=[found]) for id in data.image_ids]
        await companion.post_detections(detections)
        await client.close()

    run(story)


def test_a_trainer_lives_in_the_loop_from_its_status_to_its_model(
    loop: RunningLoop, shop: Shop, tmp_path: Path
) -> None:
    assert shop.http.post(f"{shop.path}/categories", json={"name": "screw"}).is_success
    (tmp_path / "model.json").write_text('{"categories": []}')
    (tmp_path / "weights.bin").write_bytes(bytes(2_000_000))

    async def story() -> None:
        client = LoopClient(loop.host, username=USER[0], password=USER[1])
        status = TrainingStatus(id=f"trainer of {shop.project}", name="gpu", state="idle")
        begun: asyncio.Future[TrainingDetails] = asyncio.get_running_loop().create_future()
        restarted = asyncio.Event()
        told = asyncio.Event()

        async def heartbeat() -> bool:
            answer = await node.call("update_trainer", status)
            told.set()
            return answer is None or answer.success

        async def begin_training(organization: str, project: str, details: dict[str, Any]) -> bool:
            assert (organization, project) == (shop.organization, shop.project)
            begun.set_result(TrainingDetails.model_validate(details))
            return True

        node = LoopNode(client, "trainer", heartbeat=heartbeat, restart=restarted.set)
        node.on("begin_training", begin_training)
        life = asyncio.create_task(node.run())
        await asyncio.wait_for(told.wait(), 30)
        assert node.is_connected, node.trouble
        answer = await asyncio.to_thread(
            lambda: shop.http.post(f"{shop.path}/trainings", json={"trainer_id": status.id})
        )
        assert answer.status_code == 201, answer.text
        details = await asyncio.wait_for(begun, 30)
        companion = client.project(shop.organization, shop.project)
        files = [tmp_path / "model.json", tmp_path / "weights.bin"]
        model_id = await companion.upload_model(details.training_number, "litert", files)
        with pytest.raises(AlreadyInLoop) as conflict:
            await companion.upload_model(details.training_number, "litert", files)
        assert conflict.value.id == model_id
        answer = await asyncio.to_thread(lambda: shop.http.post(f"/api/nodes/{status.id}/restart"))
        assert answer.is_success, answer.text
        await asyncio.wait_for(restarted.wait(), 30)
        await node.close()
        await client.close()
        assert life.done()

    run(story)
