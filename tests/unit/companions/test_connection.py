"""The connection of a companion, switched on and off by people who may lose patience."""

from __future__ import annotations

import asyncio
from typing import Any

from companions.connection import Connection
from models.errors import LoopUnreachable
from models.loop.client import LoopClient
from tests.support.raw_server import on_loopback


class Slow:
    """A socket that takes its time to close."""

    is_open = True

    def __init__(self) -> None:
        self.open_, self.closing, self.go_on, self.closed = (asyncio.Event() for _ in range(4))

    async def open(self) -> None:
        self.open_.set()

    async def call(self, event: str, arguments: tuple[Any, ...], within: float) -> Any:
        raise LoopUnreachable("nobody answers")

    async def wait_until_gone(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.closing.set()
        await self.go_on.wait()
        self.closed.set()


@on_loopback
async def test_who_hangs_up_and_leaves_has_hung_up() -> None:
    """And what has hung up can be switched on again."""
    sockets: list[Slow] = []

    async def make(client: Any, headers: Any, handlers: Any) -> Slow:
        sockets.append(Slow())
        return sockets[-1]

    async def beat() -> bool:
        return True

    client = LoopClient("127.0.0.1:1")
    client.session.log_in = _logged_in  # type: ignore[method-assign]
    connection = Connection(client, "trainer", heartbeat=beat, restart=lambda: None, make_socket=make)
    await connection.switch(True)
    while not sockets:
        await asyncio.sleep(0.01)
    await sockets[0].open_.wait()

    hanging_up = asyncio.create_task(connection.switch(False))
    await sockets[0].closing.wait()
    hanging_up.cancel()
    await asyncio.sleep(0.01)
    assert not hanging_up.done()
    sockets[0].go_on.set()
    await asyncio.wait([hanging_up])
    assert hanging_up.cancelled()
    assert sockets[0].closed.is_set()

    await connection.switch(True)
    while len(sockets) < 2:
        await asyncio.sleep(0.01)
    sockets[1].go_on.set()
    await connection.close()
    assert not connection.is_on


async def _logged_in(*, anew: bool = False) -> None:
    """There is nobody to log in with."""
