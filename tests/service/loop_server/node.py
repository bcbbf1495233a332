"""A node as its Loop sees it: connects over Socket.IO, tells how it is, answers what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import socketio

from tests.service.running_loop import RunningLoop

TRAINER_STATUS: dict[str, Any] = {
    "id": "c2f0b5de-6a0e-4c0c-9a2f-6f4e5d3c2b1a",
    "name": "gpu server",
    "state": "idle",
    "uptime": None,
    "errors": {},
    "progress": None,
    "pretrained_models": [{"name": "small", "label": "Small", "description": "a small model"}],
    "architecture": "mocked",
    "context": None,
}
"""As learning-loop-node 0.27 writes it."""

ANSWER_SECONDS = 30.0


class Node:
    """One connection, as a context; `answers` say what it answers to which event, `heard` is what it was told."""

    def __init__(
        self, loop: RunningLoop, kind: str = "trainer", cookies: dict[str, str] | None = None, **options: Any
    ) -> None:
        self.loop = loop
        self.heard: list[tuple[str, tuple[Any, ...]]] = []
        self.answers: dict[str, Callable[..., Any]] = {}
        self._headers = {"organization": "", "project": "", "nodeType": kind}
        self._cookies = cookies
        self._options = options

    async def __aenter__(self) -> Node:
        self._session = aiohttp.ClientSession(cookies=self._cookies)
        self.client: Any = socketio.AsyncClient(http_session=self._session, reconnection=False)

        async def hear(event: str, *arguments: Any) -> Any:
            self.heard.append((event, arguments))
            answer = self.answers.get(event)
            found = answer(*arguments) if answer else {"success": True, "error_msg": None, "payload": None}
            return await found if asyncio.iscoroutine(found) else found

        self.client.on("*", hear)
        try:
            await self.client.connect(
                self.loop.url, headers=self._headers, socketio_path="/ws/socket.io", **self._options
            )
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(self, *_how: object) -> None:
        await self.client.eio.disconnect(
            abort=True
        )  # a polite goodbye over polling waits until the last poll times out
        await self.client.wait()
        await self._session.close()

    async def tell(self, event: str, *arguments: Any) -> dict[str, Any]:
        """Send an event; the acknowledgement."""
        answer = await self.client.call(event, arguments, timeout=ANSWER_SECONDS)
        assert isinstance(answer, dict), f"{event} was acknowledged with {answer!r}"
        return answer

    async def told(self, event: str, *arguments: Any) -> Any:
        """Send an event that has to be welcome; the payload of the acknowledgement."""
        answer = await self.tell(event, *arguments)
        assert answer["success"], answer
        assert set(answer) == {"success", "error_msg", "payload"}
        return answer["payload"]

    async def ask(self, method: str, path: str, **arguments: Any) -> Any:
        """A request of a person, while the node goes on."""
        return await asyncio.to_thread(self.loop.http.request, method, path, **arguments)
