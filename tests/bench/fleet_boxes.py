"""Outboxes of many boxes in one process, each with its own uploader and its own connection to the Loop. Run as a module.

It fills the outboxes, writes `{"ready": true}`, waits for a line `{"patience": seconds}`, and sends everything. When all is
sent, or patience is over, it answers

    {"seconds": 12.3, "left": 0, "uploads": [[start, seconds, pictures, true], ...]}

with one item a request: when it began (monotonic clock), how long it took, how many pictures it carried, and whether it got
through.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from appliance.outbox.queue import Outbox
from appliance.outbox.room import OutboxBounds
from appliance.outbox.uploader import Uploader
from models.files import FILE_SYSTEM
from models.loop.client import LoopClient
from models.loop.project import LoopProject
from models.loop.uploads import ImageUpload
from models.wire.image_metadata import ImageMetadata

Record = tuple[float, float, int, bool]


class Timed:
    """A project of the Loop, and how long each upload took."""

    def __init__(self, project: LoopProject, records: list[Record]) -> None:
        self._project = project
        self._records = records

    async def upload_images(
        self, batch: Sequence[ImageUpload], *, throttle: Callable[[int], Awaitable[None]] | None = None
    ) -> None:
        """As the project's."""
        began, through = time.monotonic(), False
        try:
            await self._project.upload_images(batch, throttle=throttle)
            through = True
        finally:
            self._records.append((began, time.monotonic() - began, len(batch), through))


async def send(outboxes: Sequence[Outbox], host: str, patience: float) -> dict[str, object]:
    """Send all that waits in `outboxes`, or as much as gets through in `patience` seconds."""
    records: list[Record] = []
    clients = [LoopClient(host) for _ in outboxes]
    uploaders = [
        Uploader(outbox, Timed(client.project("acme", "bolts"), records))
        for outbox, client in zip(outboxes, clients, strict=True)
    ]
    began = time.monotonic()
    for uploader in uploaders:
        uploader.start()
    while time.monotonic() < began + patience and any(outbox.stats().total.items for outbox in outboxes):
        await asyncio.sleep(0.1)
    seconds = time.monotonic() - began
    await asyncio.gather(*(uploader.close() for uploader in uploaders))
    await asyncio.gather(*(client.close() for client in clients))
    return {
        "seconds": seconds,
        "left": sum(outbox.stats().total.items for outbox in outboxes),
        "uploads": records,
    }


def filled(folder: Path, pictures: int, size: int, seed: int) -> Outbox:
    """An outbox with so many pictures of `size` bytes, real JPEGs with something behind their end."""
    import cv2

    outbox = Outbox(folder, OutboxBounds(10_000, 10**10, 0), lambda: datetime.now(timezone.utc), FILE_SYSTEM)
    chance = np.random.default_rng(seed)
    for _ in range(pictures):
        _, jpeg = cv2.imencode(".jpg", chance.integers(0, 255, (48, 64, 3), dtype=np.uint8))
        outbox.save(jpeg.tobytes() + chance.bytes(max(0, size - len(jpeg))), ImageMetadata(source="fleet"))
    return outbox


def main() -> None:
    """Read the arguments, fill the outboxes, and send when told to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", required=True, help="of the Loop, with its port")
    parser.add_argument("--folder", type=Path, required=True, help="for the outboxes")
    parser.add_argument("--boxes", type=int, default=100)
    parser.add_argument("--pictures", type=int, default=10, help="in each outbox")
    parser.add_argument("--size", type=int, default=50_000, help="bytes of a picture")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    outboxes = [
        filled(arguments.folder / str(number), arguments.pictures, arguments.size, arguments.seed + number)
        for number in range(arguments.boxes)
    ]
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(asyncio.run(send(outboxes, arguments.host, json.loads(line)["patience"]))), flush=True)


if __name__ == "__main__":
    main()
