"""The box takes as many Socket.IO connections as it has places: strangers their share, and who is gone makes room."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Any

import aiohttp
import pytest
import socketio

from access import Places
from appliance.events import PATH
from tests.service.box import STRANGER, Box
from tests.service.conftest import MakeBox

HANDSHAKE = f"/{PATH}/?EIO=4&transport=polling"
FORWARDED = {"X-Forwarded-For": "203.0.113.7"}
"""By no trusted proxy: a stranger's, whose address is the proxy's, here 127.0.0.1."""


@pytest.fixture
def patient(make_box: MakeBox) -> Box:
    """A box with five places, three of them for strangers, two for each; it waits as long as it does in life."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("appliance.events.PLACES", Places(all=5, strangers=3, address=2))
        return make_box()


@pytest.fixture
def hasty(make_box: MakeBox) -> Box:
    """A box with two places for a stranger, that gives up who does not answer its pings at once."""
    impatient = functools.partial(socketio.AsyncServer, ping_interval=0.2, ping_timeout=0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("appliance.events.PLACES", Places(all=4, strangers=4, address=2))
        patch.setattr("socketio.AsyncServer", impatient)
        return make_box()


async def connect(box: Box, session: aiohttp.ClientSession, transport: str, **how: Any) -> socketio.AsyncClient:
    robot = socketio.AsyncClient(reconnection=False, http_session=session)
    await robot.connect(box.url, socketio_path=PATH, transports=[transport], **how)
    return robot


async def connect_soon(box: Box, session: aiohttp.ClientSession, transport: str, **how: Any) -> socketio.AsyncClient:
    """As soon as there is a place: a goodbye that was sent may not have been heard yet."""
    deadline = time.monotonic() + 30.0
    while True:
        try:
            return await connect(box, session, transport, **how)
        except socketio.exceptions.ConnectionError:
            assert time.monotonic() < deadline, "no place came free"
            await asyncio.sleep(0.02)


async def end(*robots: socketio.AsyncClient) -> None:
    for robot in robots:
        reading = robot.eio.read_loop_task
        await robot.eio.disconnect(abort=True)
        reading.cancel()
        await asyncio.wait([reading])


def refused(box: Box) -> float:
    """How many requests were turned away for want of a place, as the box tells those who watch it."""
    metrics = box.http.get("/metrics").text
    counts = [line for line in metrics.splitlines() if 'access_refused_total{reason="connections"}' in line]
    return float(counts[0].split()[-1]) if counts else 0.0


def test_one_more_stranger_is_told_so_and_those_who_are_in_go_on(patient: Box) -> None:
    async def story() -> None:
        async with aiohttp.ClientSession() as session:
            first, second = [await connect(patient, session, "websocket", headers=FORWARDED) for _ in range(2)]
            with pytest.raises(socketio.exceptions.ConnectionError, match="429"):
                await connect(patient, session, "polling", headers=FORWARDED)
            with pytest.raises(socketio.exceptions.ConnectionError):
                await connect(patient, session, "websocket", headers=FORWARDED)
            answer = await session.get(f"{patient.url}{HANDSHAKE}", headers=FORWARDED)
            assert (answer.status, answer.headers["retry-after"]) == (429, "60")
            assert "2 Socket.IO connections are open from 127.0.0.1" in (await answer.json())["detail"]
            assert await asyncio.to_thread(refused, patient) == 3

            assert await first.call("get_outbox_mode") == {"outbox_mode": "continuous_upload"}
            robot = await connect(patient, session, "websocket")
            assert "model" in str(await robot.call("about")), "the robot on the machine is no stranger"
            await first.eio.disconnect()
            third = await connect_soon(patient, session, "websocket", headers=FORWARDED)
            assert await third.call("get_outbox_mode") == await second.call("get_outbox_mode")
            await end(second, third, robot)

    asyncio.run(story())
    reasons = {each["reason"]: each["sentence"] for each in patient.http.get("/api/v1/refusals").json()}
    assert "close one of them first" in reasons["connections"]


def test_there_is_an_end_for_those_who_are_trusted_too(patient: Box) -> None:
    async def story() -> None:
        async with aiohttp.ClientSession() as session:
            robots = []
            with pytest.raises(socketio.exceptions.ConnectionError):
                for _ in range(6):
                    robots.append(await connect(patient, session, "websocket"))
            answer = await session.get(f"{patient.url}{HANDSHAKE}")
            assert "5 Socket.IO connections are open here, as many as may be" in (await answer.json())["detail"]
            assert await robots[0].call("get_outbox_mode") == {"outbox_mode": "continuous_upload"}
            await end(*robots)

    asyncio.run(story())


def test_who_is_gone_without_a_word_makes_room_when_its_pings_go_unanswered(hasty: Box) -> None:
    def knock() -> int:
        return hasty.ask("GET", HANDSHAKE, client=STRANGER).status_code

    assert [knock() for _ in range(3)] == [200, 200, 429]
    hasty.wait_until(lambda: knock() == 200)
