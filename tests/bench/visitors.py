"""People who have the dashboard open, without their browsers: run as a module.

Each loads a page, connects as its script does, and does what costs the server something: it fetches the pictures that it is
told of and says when it has them, and acknowledges what it has received. Drawing is nothing that the box has to do, and no
browser takes processor time from the box where both share a machine.

It waits for lines `{"open": 3}` on standard input, has that many pages open then, and answers with how many of them are
connected, and what came since the line before:

    {"open": 3, "updates": 40, "pictures": 25, "cpu_seconds": 0.03}
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import html
import json
import re
import sys
import time
import uuid
from typing import Any

import aiohttp
import socketio

ACKNOWLEDGED_EVERY = 3.0
"""Seconds, as NiceGUI's script has it."""

_ELEMENTS = re.compile(r"parseElements\(String\.raw`(.*?)`\)", re.DOTALL)
_QUERY = re.compile(r"^\s*query: (\{.*\}),$", re.MULTILINE)


class Visitor:
    """One open page."""

    def __init__(self, url: str, path: str, session: aiohttp.ClientSession) -> None:
        self.updates = 0
        self.pictures = 0
        self._url = url
        self._path = path
        self._session = session
        self._socket = socketio.AsyncClient(reconnection=False)  # on a connection of its own, as in browsers
        self._elements: dict[str, Any] = {}
        self._client_id = ""
        self._received = 0
        self._fetching: set[asyncio.Task[None]] = set()
        self._acknowledging: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()

    @property
    def is_there(self) -> bool:
        """Whether the page is connected."""
        return bool(self._socket.connected)

    async def come(self) -> None:
        """Load the page and connect."""
        async with self._session.get(self._url + self._path) as answer:
            answer.raise_for_status()
            page = await answer.text()
        elements, query = _ELEMENTS.search(page), _QUERY.search(page)
        if elements is None or query is None:
            raise RuntimeError("The page looks different from what NiceGUI made when this was written.")
        self._elements = json.loads(html.unescape(elements[1]))
        asked = ast.literal_eval(query[1])
        self._client_id = asked["client_id"]
        asked |= {"tab_id": uuid.uuid4(), "document_id": uuid.uuid4(), "implicit_handshake": "true"}
        self._socket.on("update", self._update)
        for number in self._elements:
            self._look_at(number)
        words = "&".join(f"{name}={value}" for name, value in asked.items())
        await self._socket.connect(
            f"{self._url}/?{words}", socketio_path="/_nicegui_ws/socket.io", transports=["websocket"]
        )
        self._connected.set()
        self._acknowledging = asyncio.create_task(self._acknowledge())

    async def leave(self) -> None:
        """Close the page."""
        for task in [self._acknowledging, *self._fetching]:
            if task is not None:
                task.cancel()
        await self._socket.disconnect()

    async def _update(self, changed: dict[str, Any]) -> None:
        self.updates += 1
        self._received = changed.pop("_id") + 1
        for number, element in changed.items():
            before = self._elements.pop(number, {})
            if element is None:
                continue
            self._elements[number] = element
            if _source(element) != _source(before):
                self._look_at(number)

    def _look_at(self, number: str) -> None:
        if _source(self._elements[number]):
            task = asyncio.create_task(self._fetch(int(number), self._elements[number]))
            self._fetching.add(task)
            task.add_done_callback(self._fetching.discard)

    async def _fetch(self, number: int, element: dict[str, Any]) -> None:
        source = _source(element)
        async with self._session.get(self._url + source) as answer:
            await answer.read()
            self.pictures += answer.ok
        shown = next(event["listener_id"] for event in element["events"] if event["type"] == "shown")
        said = {"id": number, "client_id": self._client_id, "listener_id": shown, "args": [json.dumps(source)]}
        await self._connected.wait()
        await self._socket.emit("event", said)

    async def _acknowledge(self) -> None:
        while True:
            await asyncio.sleep(ACKNOWLEDGED_EVERY)
            await self._socket.emit("ack", {"client_id": self._client_id, "next_message_id": self._received})


def _source(element: dict[str, Any]) -> str:
    """Where the picture of a picture lies that can be looked at; empty for any other element."""
    props = element.get("props", {})
    return str(props.get("src", "")) if "marks" in props else ""


async def serve(port: int, path: str) -> None:
    """Do what the lines say until there are no more."""
    visitors: list[Visitor] = []
    updates = pictures = 0
    cpu = time.process_time()
    async with aiohttp.ClientSession() as session:
        print(json.dumps({"ready": True}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            wanted = json.loads(line)["open"]
            came = sum(visitor.updates for visitor in visitors), sum(visitor.pictures for visitor in visitors)
            said = {"updates": came[0] - updates, "pictures": came[1] - pictures}
            while len(visitors) > wanted:
                await visitors.pop().leave()
            while len(visitors) < wanted:
                visitors.append(Visitor(f"http://127.0.0.1:{port}", path, session))
                await visitors[-1].come()
            updates = sum(visitor.updates for visitor in visitors)
            pictures = sum(visitor.pictures for visitor in visitors)
            now = time.process_time()
            there = sum(visitor.is_there for visitor in visitors)
            print(json.dumps({"open": there, **said, "cpu_seconds": now - cpu}), flush=True)
            cpu = now


def main() -> None:
    """Read the arguments and serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/", help="the page that all of them look at")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.path))


if __name__ == "__main__":
    main()
