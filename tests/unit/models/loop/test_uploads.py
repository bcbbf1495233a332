"""Pictures and models sent to a server on loopback, which is slow, resets, or answers before it has read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.errors import AlreadyInLoop, LoopBusy, LoopRefused, LoopUnreachable, StorageRefused
from models.loop.client import ImageUpload, LoopClient, LoopProject
from models.loop.uploads import files_body
from tests.support.held_threads import Held
from tests.support.raw_server import Asked, RawServer, json_response, on_loopback, raw_server, reset, response

BATCH = [ImageUpload(str(number), bytes([number]) * 300_000, b'{"tags": []}') for number in range(5)]


@asynccontextmanager
async def project(server: RawServer) -> AsyncIterator[LoopProject]:
    """A project of the Loop on `server`."""
    client = LoopClient(server.host)
    try:
        yield client.project("zauberzeug", "demo")
    finally:
        await client.close()


async def take(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(json_response("OK"))


@on_loopback
async def test_pictures_arrive_whole_over_one_connection() -> None:
    async with raw_server(take) as server, project(server) as loop:
        await loop.upload_images(BATCH)
        await loop.upload_images(BATCH[:1])
    assert server.connections == 1
    assert [asked.path for asked in server.asked] == ["/api/zauberzeug/projects/demo/images"] * 2
    assert len(server.asked[0].body) == int(server.asked[0].headers["content-length"])
    for image in BATCH:
        assert image.picture in server.asked[0].body
    assert "transfer-encoding" not in server.asked[0].headers


@on_loopback
async def test_a_connection_reset_while_pictures_are_sent_is_told_and_the_next_try_works() -> None:
    tries: list[int] = []

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        tries.append(len(asked.body))
        if len(tries) == 1:
            reset(writer)
        else:
            await take(asked, writer)

    async with raw_server(reply, read_body=False) as server, project(server) as loop:
        with pytest.raises(LoopUnreachable, match="broke off"):
            await loop.upload_images(BATCH)
    assert len(server.asked) == 1, "pictures must not be sent again by themselves"
    async with raw_server(take) as server, project(server) as loop:
        await loop.upload_images(BATCH)


@on_loopback
async def test_an_answer_before_the_end_of_the_body_is_understood() -> None:
    async def refuse(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(response("413 Content Too Large", b"<title>413 too large</title>", connection="close"))
        while await asked.reader.read(65536):  # as servers do, so that their answer is not lost with the connection
            pass
        writer.close()

    async with raw_server(refuse, read_body=False) as server, project(server) as loop:
        with pytest.raises(LoopRefused, match="413 too large") as failure:
            await loop.upload_images([ImageUpload("1", bytes(20_000_000), b"{}")])
    assert failure.value.status == 413


@on_loopback
async def test_a_cancelled_upload_ends_at_once_and_no_byte_follows() -> None:
    allowed = came = 0
    gone = asyncio.Event()

    async def slow(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal came
        try:
            while piece := await asked.reader.read(65536):
                came += len(piece)
        finally:
            gone.set()
            writer.close()

    async def throttle(size: int) -> None:
        nonlocal allowed
        allowed += size
        await asyncio.sleep(0.02)

    async with raw_server(slow, read_body=False) as server, project(server) as loop:
        task = asyncio.create_task(loop.upload_images(BATCH, throttle=throttle))
        while came < 300_000:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        allowed_then = allowed
        await gone.wait()
        assert allowed == allowed_then
        assert 300_000 <= came <= allowed < 1_500_000


@on_loopback
async def test_a_model_is_sent_from_the_disk_and_gets_its_id(tmp_path: Path) -> None:
    weights = tmp_path / 'we"ights.bin'
    weights.write_bytes(bytes(range(256)) * 4000)
    description = tmp_path / "model.json"
    description.write_text('{"categories": []}')
    answers = [
        response("429 Too Many Requests", retry_after="0"),
        json_response({"id": "abc", "version": "1.3"}),
        json_response({"detail": {"id": "abc"}}, "409 Conflict"),
        response("500 Internal Server Error"),
    ]

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        login = response("200 OK", set_cookie="session=1; Path=/")
        writer.write(login if asked.path == "/api/login" else answers.pop(0))

    async with raw_server(reply) as server, project(server) as loop:
        assert await loop.upload_model(7, "litert", [description, weights]) == "abc"
        with pytest.raises(AlreadyInLoop) as conflict:
            await loop.upload_model(7, "litert", [description, weights])
        assert conflict.value.id == "abc"
        with pytest.raises(LoopBusy):
            await loop.upload_model(7, "litert", [description, weights])
        with pytest.raises(StorageRefused, match="missing"):
            await loop.upload_model(7, "litert", [tmp_path / "missing"])

    sent = server.asked[2]
    assert (sent.method, sent.path) == ("PUT", "/api/zauberzeug/projects/demo/trainings/7/models/latest/litert/file")
    assert sent.headers["cookie"] == "session=1"
    assert len(sent.body) == int(sent.headers["content-length"])
    assert weights.read_bytes() in sent.body
    assert b'name="files"; filename="model.json"' in sent.body
    assert b'name="files"; filename="we_ights.bin"' in sent.body


@pytest.mark.parametrize("content", [b"less", bytes(2000)])
def test_a_file_that_changes_while_it_is_sent_is_told(tmp_path: Path, content: bytes) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_bytes(bytes(1000))

    class Changing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path == "/api/login":
                return httpx.Response(200)
            weights.write_bytes(content)
            await request.aread()
            raise AssertionError("sent as if it were whole")

    @on_loopback
    async def story() -> None:
        client = LoopClient("loop.example", transport=Changing())
        with pytest.raises(StorageRefused, match="changed while it was sent"):
            await client.project("o", "p").upload_model(1, "litert", [weights])
        await client.close()

    story()


def test_a_file_that_is_being_opened_while_nobody_wants_it_any_more_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights").write_bytes(b"w" * 10)
    held, opened = Held(), []

    class Slow(type(tmp_path)):  # type: ignore[misc] # the class of this system's paths
        def open(self, *how: Any, **options: Any) -> Any:
            held.here()
            opened.append(super().open(*how, **options))
            return opened[0]

    async def send() -> None:
        async with aclosing(aiter(files_body([(Slow(tmp_path / "weights"), 10)]))) as pieces:  # type: ignore[type-var]
            async for _ in pieces:
                pass

    async def story() -> None:
        assert not await held.cancelled(send())
        assert [file.closed for file in opened] == [True]

    asyncio.run(story())
