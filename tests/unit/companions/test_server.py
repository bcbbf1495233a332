"""The node REST of learning-loop-node on a companion, and its life."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from companions.connection import Connection
from companions.server import create_app
from companions.settings import CompanionSettings
from models.loop.client import LoopClient
from tests.support.asgi import ELSEWHERE, client, served
from tests.support.socket_loop import socket_loop
from tests.support.virtual_time import in_virtual_time


class Busy:
    """A companion that notes what it is told."""

    def __init__(self, client: LoopClient | None = None) -> None:
        self.heard: list[str] = []
        self.connection = Connection(client, "node", heartbeat=self.beat, restart=lambda: None)

    async def beat(self) -> bool:
        assert self.connection.node is not None
        answer = await self.connection.node.call("update_busy", {"state": "idle"})
        return answer is not None and answer.success

    async def start(self) -> None:
        self.heard.append("start")

    async def close(self) -> None:
        self.heard.append("close")

    def status(self) -> Mapping[str, Any]:
        return {"state": "idle"}


@pytest.fixture
def root_level() -> Iterator[None]:
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


@pytest.mark.usefixtures("root_level")
@in_virtual_time
async def test_upstreams_switches_answer_what_they_were_told() -> None:
    async with served(create_app(CompanionSettings(), Busy())) as http:
        for route in ("/debug_logging", "/socketio"):
            for word in ("off", "on"):
                answer = await http.put(route, content=word)
                assert (answer.status_code, answer.json()) == (200, word)
            assert (await http.put(route, content="perhaps")).status_code == 400
            assert (await http.put(route, content="x" * 5000)).status_code == 413
        assert logging.getLogger().level == logging.DEBUG
        await http.put("/debug_logging", content="off")
        assert logging.getLogger().level == logging.INFO


@in_virtual_time
async def test_it_begins_and_ends_with_the_server() -> None:
    companion = Busy()
    async with served(create_app(CompanionSettings(), companion)) as http:
        assert companion.heard == ["start"]
        health = (await http.get("/healthz")).json()
        assert health == {"status": "ok", "loop": "no Loop is set (LOOP_HOST)", "state": "idle"}
    assert companion.heard == ["start", "close"]


@in_virtual_time
async def test_strangers_see_the_health_and_change_nothing() -> None:
    async with client(create_app(CompanionSettings(), Busy()), ELSEWHERE) as http:
        assert (await http.get("/healthz")).status_code == 200
        refused = await http.put("/socketio", content="off")
    assert refused.status_code == 403
    assert "trusted_networks" in refused.json()["detail"]


def test_the_connection_is_switched_on_and_off() -> None:
    async def story() -> None:
        async with socket_loop() as loop:
            companion = Busy(LoopClient(loop.host))
            try:
                assert loop.events == []
                await companion.connection.switch(True)
                await until(lambda: loop.events != [])
                assert companion.connection.words == f"connected to http://{loop.host}"
                await companion.connection.switch(False)
                await until(lambda: loop.gone == loop.connected)
                assert "not speaking" in companion.connection.words
                await companion.connection.switch(True)
                await until(lambda: len(loop.connected) == 2)
            finally:
                await companion.connection.close()

    asyncio.run(story())


async def until(is_so: Any) -> None:
    for _ in range(3000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to that")
