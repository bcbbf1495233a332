"""One thing that is done to an outbox, in a process of its own, so that its time, CPU and memory are its alone.

    python -m tests.bench.outbox_process fill FOLDER --pictures 100000 --bytes 100
    python -m tests.bench.outbox_process open FOLDER
    python -m tests.bench.outbox_process save FEW MANY
    python -m tests.bench.outbox_process drain FOLDER --loop 127.0.0.1:8014
    python -m tests.bench.outbox_process bare FOLDER --loop 127.0.0.1:8014

The last line of output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import anyio._backends._asyncio  # noqa: F401 # the appliance has loaded it long before it sends
import httpx
import psutil

from appliance.outbox import folders
from appliance.outbox.queue import Outbox
from appliance.outbox.reasons import PICKED_BY_SYSTEM
from appliance.outbox.room import OutboxBounds
from appliance.outbox.uploader import Uploader
from models.files import FILE_SYSTEM
from models.loop.client import LoopClient
from models.wire.detections import BoxDetection
from models.wire.image_metadata import ImageMetadata

WIDE = OutboxBounds(max_items=10_000_000, max_bytes=10**13, min_free_bytes=0)
METADATA = ImageMetadata(
    box_detections=[
        BoxDetection(
            category_name="cup", x=1, y=2, width=3, height=4, confidence=0.5, model_name="1.0", category_id="1"
        )
        for _ in range(3)
    ],
    tags=["uncertain", PICKED_BY_SYSTEM],
    source="front",
)
BATCH = 20


def opened(folder: Path) -> Outbox:
    """As the appliance opens it, but for bounds that nobody reaches."""
    return Outbox(folder, WIDE, lambda: datetime.now(timezone.utc), FILE_SYSTEM)


def fill(folder: Path, pictures: int, size: int) -> dict[str, Any]:
    """Lay pictures out as a stopped appliance leaves them, but without syncing each of them."""
    fill_with(folder, pictures, os.urandom(size))
    return {"pictures": pictures}


def fill_with(folder: Path, pictures: int, picture: bytes) -> None:
    """The same with one and the same picture."""
    document = METADATA.model_dump_json().encode()
    moment = datetime(2024, 1, 1, tzinfo=timezone.utc)
    queue = folder / "normal"
    queue.mkdir(parents=True)
    (folder / "priority").mkdir()
    for number in range(pictures):
        item_id = folders.picture_id(moment + timedelta(seconds=number))
        place = f"{queue}/{item_id}"
        os.mkdir(place)  # noqa: PTH102 # a hundred thousand times
        for path, data in zip(folders.paths(place, item_id), (picture, document), strict=True):
            with open(path, "wb") as file:  # noqa: PTH123
                file.write(data)
    os.sync()


def open_it(folder: Path) -> dict[str, Any]:
    """Open it and say how long that took, and what memory it needs beside what the program does."""
    process = psutil.Process()
    before, began = process.memory_info().rss, time.perf_counter()
    outbox = opened(folder)
    seconds = time.perf_counter() - began
    after = process.memory_info().rss
    waiting = outbox.stats().total.items
    outbox.close()
    return {"seconds": seconds, "waiting": waiting, "grew_mib": (after - before) / 2**20}


def save(few: Path, many: Path, times: int) -> dict[str, Any]:
    """Save pictures of 200 kB in both in turns; each is deleted again, which does not count."""
    picture = os.urandom(200_000)
    outboxes = {"few": opened(few), "many": opened(many)}
    seconds: dict[str, list[float]] = {"few": [], "many": []}
    cpu: dict[str, list[float]] = {"few": [], "many": []}
    for number in range(times):
        for name in ("few", "many") if number % 2 == 0 else ("many", "few"):
            began, used = time.perf_counter(), time.thread_time()
            item_id = outboxes[name].save(picture, METADATA)
            seconds[name].append(time.perf_counter() - began)
            cpu[name].append(time.thread_time() - used)
            outboxes[name].remove(item_id)
    waiting = {name: outbox.stats().total.items for name, outbox in outboxes.items()}
    for outbox in outboxes.values():
        outbox.close()
    return {"seconds": seconds, "cpu": cpu, "waiting": waiting}


def timed(work: Callable[[], int]) -> dict[str, Any]:
    """Run it; how many pictures it sent, how long that took, and what CPU time."""
    began, used = time.perf_counter(), time.process_time()
    sent = work()
    return {"sent": sent, "seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - used}


def drain(folder: Path, host: str) -> dict[str, Any]:
    """Send all of it as the appliance does, but for the moment of the start, which it throws dice for."""
    outbox = opened(folder)

    async def work() -> int:
        client = LoopClient(host)
        uploader = Uploader(outbox, client.project("acme", "kitchens"), start_within=0.0)
        uploader.start()
        while outbox.stats().total.items:
            await asyncio.sleep(0.005)
        await uploader.close()
        await client.close()
        return outbox.tallies()["sent"]

    told = timed(lambda: asyncio.run(work()))
    outbox.close()
    return told


def bare(folder: Path, host: str, *, deleting: bool = False) -> dict[str, Any]:
    """Send all of it in the same batches with httpx and nothing else: no index, no politeness; `deleting` what was sent."""
    pictures = sorted((folder / "normal").iterdir())

    def work() -> int:
        with httpx.Client(base_url=f"http://{host}", timeout=60.0, trust_env=False) as client:
            for start in range(0, len(pictures), BATCH):
                files = []
                for picture in pictures[start : start + BATCH]:
                    for path in reversed(folders.paths(picture, picture.name)):
                        files.append(("files", (Path(path).name, Path(path).read_bytes())))
                client.post("/api/acme/projects/kitchens/images", files=files).raise_for_status()
                for picture in pictures[start : start + BATCH] if deleting else ():
                    shutil.rmtree(picture)
        return len(pictures)

    return timed(work)


def main() -> None:
    """Read the arguments and do it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("fill", "open", "save", "drain", "bare", "bare-deleting"))
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--bytes", type=int, default=200_000)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--loop", default="")
    arguments = parser.parse_args()
    folder = arguments.folders[0]
    told = {
        "fill": lambda: fill(folder, arguments.pictures, arguments.bytes),
        "open": lambda: open_it(folder),
        "save": lambda: save(folder, arguments.folders[1], arguments.times),
        "drain": lambda: drain(folder, arguments.loop),
        "bare": lambda: bare(folder, arguments.loop),
        "bare-deleting": lambda: bare(folder, arguments.loop, deleting=True),
    }[arguments.what]()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
