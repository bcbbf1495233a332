"""The connection of a companion to its Loop, as something that can be switched on and off while the program runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from models.loop.client import LoopClient
from models.loop.node import EventHandler, Heartbeat, LoopNode, MakeSocket, make_socket
from models.uninterrupted import to_its_end


class Connection:
    """A node of a Loop; without a `client`, of none: then nothing is ever sent.

    `node_type`, `heartbeat` and `restart` are those of `LoopNode`. Nothing is asked before `switch(True)`.
    """

    def __init__(
        self,
        client: LoopClient | None,
        node_type: str,
        *,
        heartbeat: Heartbeat,
        restart: Callable[[], None],
        organization: str = "",
        project: str = "",
        make_socket: MakeSocket = make_socket,
    ) -> None:
        self.client = client
        self.node = (
            None
            if client is None
            else LoopNode(
                client,
                node_type,
                heartbeat=heartbeat,
                restart=restart,
                organization=organization,
                project=project,
                make_socket=make_socket,
            )
        )
        self._living: asyncio.Task[None] | None = None
        self._switching = asyncio.Lock()

    def on(self, event: str, handler: EventHandler) -> None:
        """Answer an event of the Loop. For before the connection is switched on."""
        if self.node is not None:
            self.node.on(event, handler)

    @property
    def is_on(self) -> bool:
        """Whether the Loop is being spoken to, or at least tried to."""
        return self._living is not None

    @property
    def is_connected(self) -> bool:
        """Whether the Loop hears this node and is heard."""
        return self.is_on and self.node is not None and self.node.is_connected

    @property
    def words(self) -> str:
        """How it is, as a sentence for people."""
        if self.client is None or self.node is None:
            return "no Loop is set (LOOP_HOST)"
        if not self.is_on:
            return f"not speaking to {self.client.base_url}"
        if self.node.is_connected:
            return f"connected to {self.client.base_url}"
        return self.node.trouble or f"connecting to {self.client.base_url}"

    async def switch(self, on: bool) -> None:
        """Speak to the Loop from now on, or hang up and stay silent."""
        async with self._switching:
            if self.node is None or on == self.is_on:
                return
            if on:
                self._living = asyncio.create_task(self.node.run(), name="life in the Loop")
                return
            living, self._living = self._living, None
            assert living is not None
            # Half of it would leave a node that lives on, and cannot be switched on again.
            await to_its_end(_hang_up(self.node, living))

    async def close(self) -> None:
        """Hang up for good, and end what is being asked."""
        await self.switch(False)
        if self.client is not None:
            await self.client.close()


async def _hang_up(node: LoopNode, living: asyncio.Task[None]) -> None:
    await node.close()
    living.cancel()
    await asyncio.gather(living, return_exceptions=True)
