"""`python -m tests.bench.trainer_download`: how fast a trainer has a project's pictures on its disk, beside upstream.

The embedded loop is `appliance loop`, with pictures of 640 x 480; this process is the trainer, in the event loop in which
`trainer-companion serve` runs. learning-loop-node starts one picture every 20 ms, ten at a time, and waits for all ten: at most
50 a second, whatever machine it runs on. Its loop is played here with our client, without jpeginfo and without a disk, which is
kinder to it than the truth. What others do on the machine slows ours down and not upstream's, which sleeps: beside the rate
stands the processor time of a picture.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil
import uvloop
from PIL import Image

from models.loop.client import LoopClient, LoopProject
from tests.e2e.server_process import loop_process
from tests.service.loop_server.pictures import metadata, pair
from trainer_companion.download import Images

GOAL = 5.0
"""Times upstream's rate."""

ORGANIZATION, PROJECT = "bench", "pictures"


def fill(url: str, count: int) -> None:
    """Have the loop hold a project with so many pictures."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
        path = f"/api/{ORGANIZATION}/projects"
        http.post(path, json={"project_name": PROJECT, "categories": [{"name": "thing"}]}).raise_for_status()
        dice = np.random.default_rng(1)
        for start in range(0, count, 20):
            parts = []
            for number in range(start, min(count, start + 20)):
                parts += pair(f"image_{number}", _picture(dice), metadata(state="complete"))
            http.post(f"{path}/{PROJECT}/images", files=parts).raise_for_status()


def _picture(dice: np.random.Generator) -> bytes:
    """Soft noise, which packs like a photograph: about 60 kB."""
    small = dice.integers(0, 255, (40, 54, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


async def ours(project: LoopProject, ids: Sequence[str], folder: Path) -> float:
    """Seconds."""
    began = time.perf_counter()
    fetched = await Images(folder).fetch(project, ids, lambda share: None)
    assert len(fetched.stored) == len(ids)
    return time.perf_counter() - began


async def upstreams(project: LoopProject, ids: Sequence[str]) -> float:
    """Seconds."""
    began = time.perf_counter()
    for start in range(0, len(ids), 10):
        tasks = []
        for id in ids[start : start + 10]:
            at = time.perf_counter()
            tasks.append(asyncio.create_task(project.download_image(id)))
            await asyncio.sleep(max(0, 0.02 - (time.perf_counter() - at)))
        await asyncio.gather(*tasks)
    return time.perf_counter() - began


@dataclass
class Measured:
    """Pictures a second of ours and of upstream's, and milliseconds of processor time a picture of ours: trainer, its
    inspector, loop.
    """

    ours: list[float] = field(default_factory=list)
    upstreams: list[float] = field(default_factory=list)
    trainer: list[float] = field(default_factory=list)
    inspector: list[float] = field(default_factory=list)
    loop: list[float] = field(default_factory=list)


async def measure(host: str, loop: psutil.Process, rounds: int) -> Measured:
    """Ours and upstream's, taking turns."""
    client = LoopClient(host)
    found = Measured()
    me = psutil.Process()
    try:
        project = client.project(ORGANIZATION, PROJECT)
        ids = (await project.data("complete")).image_ids
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                before, of_loop = me.cpu_times(), loop.cpu_times()
                found.ours.append(len(ids) / await ours(project, ids, Path(folder) / "images"))
                after, loop_after = me.cpu_times(), loop.cpu_times()
            found.trainer.append(_ms(before.user + before.system, after.user + after.system, len(ids)))
            children, children_after = (each.children_user + each.children_system for each in (before, after))
            found.inspector.append(_ms(children, children_after, len(ids)))
            found.loop.append(_ms(of_loop.user + of_loop.system, loop_after.user + loop_after.system, len(ids)))
            some = ids[:200]
            found.upstreams.append(len(some) / await upstreams(project, some))
    finally:
        await client.close()
    return found


def _ms(before: float, after: float, count: int) -> float:
    return 1000 * (after - before) / count


def main() -> int:
    """Exit status 0 where the goal is met."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        loop = loop_process(Path(folder) / "loop")
        loop.start()
        try:
            loop.wait_until("/api/status")
            fill(f"http://127.0.0.1:{loop.port}", options.pictures)
            found = uvloop.run(measure(f"127.0.0.1:{loop.port}", psutil.Process(loop.pid), options.rounds))
        finally:
            loop.kill()
    mine, theirs = statistics.median(found.ours), statistics.median(found.upstreams)
    print(f"ours      {mine:7.1f} pictures/s  ({', '.join(f'{each:.0f}' for each in found.ours)})")
    print(f"upstream  {theirs:7.1f} pictures/s  ({', '.join(f'{each:.0f}' for each in found.upstreams)})")
    print(f"ratio     {mine / theirs:7.1f}  (goal: {GOAL})")
    for name in ("trainer", "inspector", "loop"):
        print(f"{name:9} {statistics.median(getattr(found, name)):7.2f} ms of processor time a picture of ours")
    return 0 if mine / theirs >= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
