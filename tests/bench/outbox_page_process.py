"""What the page of the outbox does where few pictures wait and where many do, in a process of its own.

    python -m tests.bench.outbox_page_process FEW MANY --pictures 100000 --times 50

FEW and MANY are data folders, made anew. The services behind the page are built as the box builds them, but not started: there
is no model and no Loop. The last line of output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from appliance.app import build
from appliance.dashboard import Dashboard
from appliance.dashboard.outbox import Outbox
from appliance.outbox.export import packed
from appliance.services import Services
from appliance.settings import load_settings
from models.images import encode_jpeg
from tests.bench.measures import percentile
from tests.bench.outbox_process import fill_with

FEW = 100
SHOWN = 24
"""Pictures on a page."""

TICK = 0.005
IDLE_S = 5.0
MIB = 2**20


def services_of(data: Path) -> Services:
    """Those of a box, but for bounds that nobody reaches."""
    bounds = {"max_outbox_size": 10_000_000, "max_outbox_mb": 1_000_000, "min_free_disk_mb": 0}
    return build(load_settings(environ={}, data_dir=data, working_directory=data, system_root=data, overrides=bounds))


async def timed(deed: Callable[[], Awaitable[Any]]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    await deed()
    return time.perf_counter() - began


@asynccontextmanager
async def lateness() -> AsyncIterator[list[float]]:
    """How late, in seconds, the event loop gets to something that is due every 5 ms."""
    late: list[float] = []

    async def tick() -> None:
        while True:
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            late.append(time.perf_counter() - due)

    ticking = asyncio.create_task(tick())
    try:
        yield late
    finally:
        ticking.cancel()


class Visit:
    """A visitor of the page; what is done and how long each took, in seconds."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.outbox: Outbox = Dashboard(services).outbox
        self.seconds: dict[str, list[float]] = {}
        self.middle: str | None = None

    async def find_middle(self) -> None:
        """Where a page in the middle of all begins."""
        ids = await asyncio.to_thread(self.services.outbox.ids, ("normal",))
        self.middle = f"normal/{ids[len(ids) // 2]}"

    async def _do(self, name: str, deed: Callable[[], Awaitable[Any]]) -> None:
        self.seconds.setdefault(name, []).append(await timed(deed))

    async def look(self) -> None:
        """What is shown: the counts, the first page, one in the middle, and the small pictures of it."""
        outbox = self.outbox
        await self._do("what is so now", outbox.feed.now)
        await self._do("first page", lambda: outbox.page("normal", None, SHOWN))
        await self._do("page in the middle", lambda: outbox.page("normal", self.middle, SHOWN))
        page = await outbox.page("normal", self.middle, SHOWN)
        self.middle = page.next or self.middle
        ids = [item.id for item in page.items[:4]]
        await self._do("four small pictures", lambda: asyncio.gather(*(outbox.jpeg(each, True) for each in ids)))

    async def change(self) -> None:
        """A page of pictures is sent first, rejected by the Loop, sent again, and deleted; so there are fewer."""
        outbox = self.outbox
        ids = tuple(item.id for item in (await outbox.page("normal", None, SHOWN)).items)
        await self._do("send 24 first", lambda: outbox.prioritise(ids))
        for item_id in ids:
            await asyncio.to_thread(self.services.outbox.reject, item_id, "too dark", 422)
        await self._do("send 24 again", lambda: outbox.retry(ids))
        await self._do("delete 24", lambda: outbox.delete(ids))


async def measure(few: Visit, many: Visit, times: int) -> dict[str, Any]:
    """Everything, in turns where both can do it."""
    await few.find_middle()
    await many.find_middle()
    async with lateness() as late_idling:
        await asyncio.sleep(IDLE_S)
    async with lateness() as late_looking:
        for number in range(times):
            for visit in (few, many) if number % 2 == 0 else (many, few):
                await visit.look()
    for number in range(2):
        for visit in (few, many) if number % 2 == 0 else (many, few):
            await visit.change()
    told: dict[str, Any] = {"few": few.seconds, "many": many.seconds}
    told["late"] = {"idling": summary(late_idling), "looking": summary(late_looking)}
    told["export"], told["late"]["exporting"] = await export(many.services)
    told["clear"], told["late"]["deleting"] = await clear(many)
    return told


def summary(late: list[float]) -> dict[str, float]:
    """The 99th percentile and the worst, milliseconds."""
    return {"p99": 1e3 * percentile(late, 99), "worst": 1e3 * max(late)}


async def export(services: Services) -> tuple[dict[str, Any], dict[str, float]]:
    """A zip of all, as the route makes it, for somebody who takes it as fast as it comes; and how late the loop was."""
    process = psutil.Process()
    before, began, size, most = process.memory_info().rss, time.perf_counter(), 0, 0
    async with lateness() as late:
        pieces = packed(await asyncio.to_thread(services.outbox.ids, ("normal",)), services.outbox.read)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            size += len(piece)
            most = max(most, process.memory_info().rss)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "bytes": size, "grew_mib": (most - before) / MIB}, summary(late)


async def clear(visit: Visit) -> tuple[dict[str, Any], dict[str, float]]:
    """All of a folder deleted, with the page looking on; and how late the loop was."""
    outbox = visit.outbox
    began, looks = time.perf_counter(), list[float]()
    async with lateness() as late:
        await outbox.delete_all("normal")
        total = 0
        while (work := (await outbox.feed.now()).work) is not None and work.running:
            total = work.total
            looks.append(await timed(lambda: outbox.page("normal", None, SHOWN)))
            await asyncio.sleep(0.2)
    told = {
        "seconds": time.perf_counter() - began,
        "total": total,
        "left": (await outbox.feed.now()).normal,
        "looks": looks,
    }
    return told, summary(late)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments and do it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("few", type=Path)
    parser.add_argument("many", type=Path)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=50)
    read = parser.parse_args(arguments)
    pixels = np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8)
    picture = encode_jpeg(pixels, 30)
    visits = []
    for data, pictures in ((read.few, FEW), (read.many, read.pictures)):
        fill_with(data / "outbox", pictures, picture)
        visits.append(Visit(services_of(data)))
    told = asyncio.run(measure(visits[0], visits[1], read.times))
    for visit in visits:
        visit.services.outbox.close()
    told["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told["picture_bytes"] = len(picture)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
