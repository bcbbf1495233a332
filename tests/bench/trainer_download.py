"""`python -m tests.bench.trainer_download`: how fast a trainer has a project's pictures on its disk, beside upstream.

The embedded loop runs in a process of its own with pictures of 640 x 480. learning-loop-node starts one picture every 20 ms,
ten at a time, and waits for all ten: at most 50 a second, whatever machine it runs on. Its loop is played here with our
client, without jpeginfo and without a disk, which is kinder to it than the truth.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from models.loop.client import LoopClient, LoopProject
from tests.service.loop_server.pictures import metadata, pair
from tests.service.running_loop import RunningLoop
from trainer_companion.download import Images

GOAL = 5.0
"""Times upstream's rate."""

ORGANIZATION, PROJECT = "bench", "pictures"


def serve(folder: Path, count: int) -> None:
    """The loop, until standard input ends."""
    with RunningLoop(folder, username="ann", password="secret enough") as loop:
        path = f"/api/{ORGANIZATION}/projects"
        loop.http.post(path, json={"project_name": PROJECT, "categories": [{"name": "thing"}]}).raise_for_status()
        dice = np.random.default_rng(1)
        for start in range(0, count, 20):
            parts = []
            for number in range(start, min(count, start + 20)):
                parts += pair(f"image_{number}", _picture(dice), metadata(state="complete"))
            loop.http.post(f"{path}/{PROJECT}/images", files=parts).raise_for_status()
        print(loop.host, flush=True)
        sys.stdin.read()


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


async def measure(host: str, rounds: int) -> tuple[list[float], list[float]]:
    """Pictures a second of ours and of upstream's, taking turns."""
    client = LoopClient(host)
    found: tuple[list[float], list[float]] = ([], [])
    try:
        project = client.project(ORGANIZATION, PROJECT)
        ids = (await project.data("complete")).image_ids
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                found[0].append(len(ids) / await ours(project, ids, Path(folder) / "images"))
            some = ids[:200]
            found[1].append(len(some) / await upstreams(project, some))
    finally:
        await client.close()
    return found


def main() -> int:
    """Exit status 0 where the goal is met."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve, options.pictures)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        program = [sys.executable, "-m", "tests.bench.trainer_download", "--serve", folder]
        with subprocess.Popen(
            [*program, "--pictures", str(options.pictures)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as loop:
            assert loop.stdin is not None
            assert loop.stdout is not None
            mine, theirs = asyncio.run(measure(loop.stdout.readline().strip(), options.rounds))
            loop.stdin.close()
    ratio = statistics.median(mine) / statistics.median(theirs)
    print(f"ours      {statistics.median(mine):7.1f} pictures/s  ({', '.join(f'{each:.0f}' for each in mine)})")
    print(f"upstream  {statistics.median(theirs):7.1f} pictures/s  ({', '.join(f'{each:.0f}' for each in theirs)})")
    print(f"ratio     {ratio:7.1f}  (goal: {GOAL})")
    return 0 if ratio >= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
