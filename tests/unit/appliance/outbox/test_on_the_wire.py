"""Sending over real sockets to Loops that misbehave as only a network lets them: nothing is lost, and `stopped` holds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from appliance.outbox.queue import Outbox
from appliance.outbox.room import Count
from appliance.outbox.uploader import Uploader
from models.loop.client import LoopClient
from tests.support.raw_server import Asked, Reply, json_response, on_loopback, raw_server, reset, response
from tests.unit.appliance.outbox.fake_loop import fill, until

STORED = json_response({})


@asynccontextmanager
async def sending_to(outbox: Outbox, host: str) -> AsyncIterator[Uploader]:
    client = LoopClient(host)
    uploader = Uploader(outbox, client.project("acme", "kitchens"), start_within=0.0, chance=lambda: 0.0)
    uploader.start()
    try:
        yield uploader
    finally:
        await uploader.close()
        await client.close()


def first(*replies: Reply) -> Reply:
    """These replies to the first requests; then the pictures are stored."""
    left = list(replies)

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if left:
            await left.pop(0)(asked, writer)
        else:
            writer.write(STORED)

    return reply


def says(answer: bytes) -> Reply:
    async def reply(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return reply


async def breaks_off(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(STORED[:20])
    await writer.drain()
    reset(writer)


async def drips(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    for byte in STORED:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (says(response("200 OK", b"<html><title>Welcome to the hotel</title>", content_type="text/html")), "web page"),
        (says(response("302 Found", location="http://hotel.example/login")), "sends on to"),
        (says(response("204 No Content")), "receipt"),
        (says(response("500 Internal Server Error", b"<html>oops</html>", content_type="text/html")), "500"),
        (says(json_response({"detail": "who are you?"}, "401 Unauthorized")), "who are you?"),
        (says(b"I am no web server\r\n\r\n"), "broke off"),
        (breaks_off, "broke off"),
    ],
)
def test_what_was_not_taken_for_sure_is_kept_and_sent_again(outbox: Outbox, reply: Reply, told: str) -> None:
    @on_loopback
    async def story() -> None:
        saved = fill(outbox, 3)
        async with raw_server(first(reply, reply)) as server, sending_to(outbox, server.host) as uploader:
            await until(lambda: uploader.status().last_error is not None, within=30.0)
            assert told in str(uploader.status().last_error)
            assert outbox.stats().total.items == 3
            await until(lambda: outbox.stats().total == Count(), within=30.0)
            assert all(item_id.encode() in server.asked[-1].body for item_id in saved)

    story()


@on_loopback
async def test_an_answer_that_drips_is_an_answer(outbox: Outbox) -> None:
    fill(outbox, 3)
    async with raw_server(first(drips)) as server, sending_to(outbox, server.host):
        await until(lambda: outbox.stats().total == Count(), within=60.0)
        assert len(server.asked) == 1


@on_loopback
async def test_a_connection_that_is_reset_in_the_middle_of_a_body_loses_nothing(outbox: Outbox) -> None:
    saved = fill(outbox, 20, size=200_000)
    resets = 0

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal resets
        if resets < 2:
            resets += 1
            await asked.reader.read(100_000)
            reset(writer)
            return
        await asked.reader.readexactly(int(asked.headers["content-length"]))
        writer.write(STORED)

    async with raw_server(reply, read_body=False) as server, sending_to(outbox, server.host):
        await until(lambda: outbox.stats().total == Count(), within=60.0)
        assert outbox.tallies()["sent"] == len(saved)
        assert outbox.stats().rejected == Count()


@on_loopback
async def test_every_try_has_the_same_names(outbox: Outbox) -> None:
    [item_id] = fill(outbox, 1)
    busy = says(json_response({"detail": "later"}, "429 Too Many Requests", retry_after="0"))
    async with raw_server(first(busy, busy)) as server, sending_to(outbox, server.host):
        await until(lambda: outbox.stats().total == Count(), within=60.0)
        assert len(server.asked) == 3
        for asked in server.asked:
            assert asked.path == "/api/acme/projects/kitchens/images"
            assert f'filename="image_{item_id}.json"'.encode() in asked.body
            assert f'filename="image_{item_id}.jpg"'.encode() in asked.body


RECEIVE_BUFFER = 32_768


@on_loopback
async def test_no_byte_leaves_once_stopped_is_answered_not_even_what_the_kernel_holds(outbox: Outbox) -> None:
    """The server has a small window and reads slowly, so most of the request waits on this side of the wire."""
    fill(outbox, 20, size=300_000)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    listening.bind(("127.0.0.1", 0))
    received = 0
    ended = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        try:
            while data := await reader.read(4096):
                received += len(data)
                await asyncio.sleep(0.001)
        except ConnectionResetError:
            pass
        finally:
            ended.set()
            writer.close()

    server = await asyncio.start_server(slow, sock=listening, limit=4096)
    host = f"127.0.0.1:{listening.getsockname()[1]}"
    async with sending_to(outbox, host) as uploader:
        await until(lambda: received > 50_000, within=30.0)
        began = asyncio.get_running_loop().time()
        await uploader.set_mode("stopped")
        assert asyncio.get_running_loop().time() - began < 1.0
        before = received
        await asyncio.wait_for(ended.wait(), 30.0)
        assert received - before <= 8 * RECEIVE_BUFFER, "this much may have left before"
        assert outbox.stats().total.items == 20
    server.close()
    await server.wait_closed()
