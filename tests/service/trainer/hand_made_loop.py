"""A Loop played by hand: Socket.IO on loopback, HTTP as a transport; it notes all that a trainer says, in its order."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from models.loop.client import LoopClient
from tests.service.loop_server.pictures import jpeg
from tests.service.loop_server.shop import zip_bytes
from tests.service.trainer.trainers import VARIANTS, copy_as_onnx, fake_command, hurry, until, weights
from tests.support import fake_training
from tests.support.socket_loop import SocketLoop, socket_loop
from trainer_companion.node import Trainer
from trainer_companion.settings import TrainerSettings

PROJECT = "/api/acme/projects/cups"
BOLT = "5f1f5a1e-0c10-4f0a-9d5c-0000000000b0"
MODEL, BASE = str(uuid.UUID(int=1, version=4)), str(uuid.UUID(int=2, version=4))
IMAGES = [str(uuid.UUID(int=100 + number, version=4)) for number in range(4)]
"""The last one is not annotated yet."""

DETAILS: dict[str, Any] = {
    "id": "of something that only the Loop knows",
    "categories": [{"id": BOLT, "name": "bolt", "type": "box", "color": "#ff0000"}],
    "hyperparameters": {"epochs": 2},
    "training_number": 7,
    "model_variant": "small",
    "base_model_uuid": BASE,
}


class HandMadeLoop:
    """`asked`: what came, as `GET data?state=complete`; `told`: what came over Socket.IO, as (event, arguments).

    `busy`: requests, by their first two words, that are answered 503 so many times. `before_answer` is awaited while a
    request waits for its answer. `acknowledgements` of an event (values, or what makes them) are used up one by one; then it is
    `{"success": True}`.
    `silent`: it acknowledges nothing.
    """

    def __init__(self, sockets: SocketLoop, folder: Path) -> None:
        self.sockets = sockets
        self.asked: list[str] = []
        self.told: list[tuple[str, tuple[Any, ...]]] = []
        self.busy: Counter[str] = Counter()
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.acknowledgements: dict[str, list[Any]] = {}
        self.silent = False
        self._bundle = folder / "bundle"
        category = {"id": BOLT, "name": "bolt", "type": "box"}
        fake_training.write_bundle(self._bundle, weights(), [category], 1)
        sockets.sio.on("*", self._hear)

    def states(self) -> list[str]:
        """Those that it was told, without repetitions."""
        found: list[str] = []
        for event, arguments in self.told:
            if event == "update_trainer" and found[-1:] != [arguments[0]["state"]]:
                found.append(arguments[0]["state"])
        return found

    def heard(self, event: str) -> list[tuple[Any, ...]]:
        """The arguments of each event of this name."""
        return [arguments for name, arguments in self.told if name == event]

    async def call(self, event: str, *arguments: Any) -> Any:
        """Tell the trainer something; its answer."""
        return await self.sockets.sio.call(event, arguments, to=self.sockets.connected[-1], timeout=30)

    async def _hear(self, event: str, _sid: str, *arguments: Any) -> Any:
        self.told.append((event, arguments))
        while self.silent:
            await asyncio.sleep(0.05)
        if event == "update_training" and self.before_answer is not None:
            await self.before_answer()
        left = self.acknowledgements.get(event)
        found = left.pop(0) if left else {"success": True}
        return found() if callable(found) else found

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """HTTP."""
        await request.aread()
        if request.url.path == "/api/login":
            return httpx.Response(200, headers={"set-cookie": f"session={self.sockets.session}; Path=/"})
        path = request.url.path.removeprefix(f"{PROJECT}/")
        query = f"?{request.url.query.decode()}" if request.url.query else ""
        self.asked.append(f"{request.method} {path}{query}")
        if self.before_answer is not None:
            await self.before_answer()
        kind = " ".join([request.method, path.split("/")[0]])
        if self.busy[kind]:
            self.busy[kind] -= 1
            return httpx.Response(503, json={"detail": "not now"})
        return self._answer(request.method, path, dict(request.url.params))

    def _answer(self, method: str, path: str, query: dict[str, str]) -> httpx.Response:
        if (method, path) == ("GET", "data"):
            found = IMAGES[:3] if query["state"] == "complete" else IMAGES[3:] if query["state"] == "inbox" else []
            return httpx.Response(200, json={"image_ids": found, "categories": DETAILS["categories"]})
        if (method, path) == ("GET", "images"):
            return httpx.Response(200, json={"images": [_image(id) for id in query["ids"].split(",")]})
        if method == "GET" and re.fullmatch("images/.*/main", path):
            return httpx.Response(200, content=jpeg(IMAGES.index(path.split("/")[1])))
        if method == "GET" and (match := re.fullmatch("models/(.*)/appliance_pytorch/file", path)):
            files = {file.name: file.read_bytes() for file in self._bundle.iterdir()}
            files["network.pt"] = b"what a training begins with"  # the one here looks at nothing of it
            document = json.loads(files["model.json"])
            where = {"host": "a.loop", "organization": "acme", "project": "cups", "format": "appliance_pytorch"}
            files["model.json"] = json.dumps({**document, **where, "id": match[1], "version": "1.3"}).encode()
            disposition = {"content-disposition": 'attachment; filename="model.zip"'}
            return httpx.Response(200, content=zip_bytes(files), headers=disposition)
        if method == "PUT" and re.fullmatch("trainings/7/models/latest/.*/file", path):
            return httpx.Response(200, json={"id": MODEL})
        if (method, path) == ("POST", "detections"):
            return httpx.Response(200, json={})
        return httpx.Response(404, json={"detail": "no such thing"})


def _image(id: str) -> dict[str, Any]:
    box = {"category_name": "bolt", "category_id": BOLT, "x": 3, "y": 4, "width": 10, "height": 8}
    kind = "test" if id == IMAGES[2] else "train"
    return {"id": id, "set": kind, "width": 32, "height": 24, "box_annotations": [box], "tags": []}


@asynccontextmanager
async def hand_made(folder: Path, *options: str, **given: Any) -> AsyncIterator[tuple[HandMadeLoop, Trainer]]:
    """A loop by hand, and a trainer that is connected to it. `given`: settings, and `sleep` of the trainer."""
    ours: dict[str, Any] = {
        "variants": lambda: VARIANTS,
        "command": fake_command(*options),
        "export": copy_as_onnx,
        "sleep": given.pop("sleep", hurry),
    }
    async with socket_loop() as sockets:
        loop = HandMadeLoop(sockets, folder)
        client = LoopClient(sockets.host, transport=httpx.MockTransport(loop.answer))
        trainer = Trainer(
            TrainerSettings(data_folder=folder / "trainer", loop_host=sockets.host, node_name="by hand", **given),
            restart=lambda: loop.told.append(("restarting", ())),
            stop=lambda: None,
            client=client,
            **ours,
        )
        try:
            await trainer.start()
            await trainer.connection.switch(True)
            await until(lambda: loop.heard("update_trainer"), "the trainer says that it lives")
            yield loop, trainer
        finally:
            await trainer.close()
            await trainer.connection.close()
