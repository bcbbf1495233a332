"""How long a person waits for the annotator, and how good one box is: `python -m tests.bench.annotator`.

Everything on one photograph of 1920 x 1080 pixels, and again on the same enlarged to 12 megapixels. `node`: in this process,
as an event of the Loop comes in. `whole way`: a page asks the embedded loop over HTTP, which asks an annotator, a process
of its own, over Socket.IO. Quality, one box each: things pasted into photographs (`tests.support.pasted_things`), and
things where they stand in photographs (`tests.support.outlined_things`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np

from annotator_companion.history import Histories, Means
from annotator_companion.pictures import PictureKey, Pictures
from annotator_companion.polygons import outline
from annotator_companion.threads import Threads
from annotator_companion.tools import tools
from annotator_companion.tools.base import Action, Picture
from models.wire.training import AnnotationData, SegmentationAnnotation
from tests.bench import machine
from tests.bench.photograph import write_photograph
from tests.e2e.server_process import ServerProcess, free_port
from tests.service.running_loop import RunningLoop
from tests.support import outlined_things, pasted_things
from tests.support.pasted_things import Scene

MOVES = 200
BOXES = ((130, 500, 100), (1300, 60, 300), (640, 200, 640), (300, 60, 960))
"""Left, top and side, pixels."""

LARGE = (4608, 2592)
LARGE_BOXES = ((1500, 400, 960), (300, 100, 2400))

CATEGORY = {"id": "8b0f0c3e-0000-4000-8000-000000000000", "name": "thing", "type": "segmentation"}
CONTEXT = {"organization": "bench", "project": "annotator"}
IMAGE = "10f7d7d2-4076-7006-af37-fa28a6a848ae"


@dataclass
class Times:
    """Milliseconds: from input to answer, and of processor."""

    name: str
    wall: list[float]
    cpu: list[float]

    def row(self) -> str:
        """Of a Markdown table."""
        cells = [float(np.quantile(self.wall, share)) for share in (0.5, 0.95, 1)]
        cells.append(statistics.mean(self.cpu) if self.cpu else float("nan"))
        return f"| {self.name} | {len(self.wall)} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |"


Send = Callable[..., Awaitable[str]]


def event(event_type: str, x: int, y: int, *, image: str = IMAGE, **more: Any) -> dict[str, Any]:
    """What a page sends."""
    place = {"coordinate": {"x": x, "y": y}, "context": CONTEXT, "image_uuid": image, "category": CATEGORY}
    return {**place, "event_type": event_type, **more}


async def measure(send: Send, rounds: int, prefix: str, boxes: Sequence[tuple[int, int, int]] = BOXES) -> list[Times]:
    """The same story over whatever way `send` takes."""
    found: dict[str, Times] = {}

    async def timed(name: str, *arguments: Any, **more: Any) -> str:
        times = found.setdefault(name, Times(f"{prefix}: {name}", [], []))
        wall, cpu = time.perf_counter(), time.process_time()
        svg = await send(event(*arguments, **more))
        times.wall.append((time.perf_counter() - wall) * 1e3)
        times.cpu.append((time.process_time() - cpu) * 1e3)
        return svg

    dice = np.random.default_rng(1)
    for _ in range(rounds):
        for left, top, side in boxes:
            await timed("box begun", "left_mouse_down", left, top)
            for step in np.linspace(0, side, MOVES // len(boxes)):
                await timed("mouse move, box", "mouse_move", left + int(step), top + int(step))
            name = f"mouse-up, box of {side} px (GrabCut)"
            assert "polygon" in await timed(name, "left_mouse_up", left + side - 1, top + side - 1)
            middle: Any = (left + side // 2, top + side // 2)
            shift: Any = {"is_shift_key_pressed": True}
            await send(event("left_mouse_down", *middle, **shift))
            for step in np.linspace(0, side / 4, MOVES // len(boxes)):
                await timed("mouse move, stroke", "mouse_move", middle[0] + int(step), middle[1], **shift)
            await timed(f"mouse-up, stroke in {side} px", "left_mouse_up", middle[0] + side // 4, middle[1], **shift)
            await send(event("key_up", 0, 0, key_up="Escape"))
        await send(event("key_up", 0, 0, key_up="t"))
        at = np.array([900, 500])
        for _ in range(6):
            await timed("click, live-wire", "left_mouse_down", *at.tolist())
            await send(event("left_mouse_up", *at.tolist()))
            for _ in range(MOVES // 6):
                to = at + dice.integers(-220, 220, 2)
                await timed("mouse move, live-wire", "mouse_move", *to.tolist())
            at = at + dice.integers(-150, 150, 2)
        await timed("closed, live-wire", "key_up", 900, 500, key_up="Enter")
        await send(event("key_up", 0, 0, key_up="t"))
    return list(found.values())


async def in_process(
    jpeg: bytes, rounds: int, name: str = "node", boxes: Sequence[tuple[int, int, int]] = BOXES
) -> list[Times]:
    """An event's way through the node."""

    async def fetch(_key: PictureKey) -> bytes:
        return jpeg

    async def store(_organization: str, _project: str, _annotation: SegmentationAnnotation) -> None:
        return None

    cv2.setNumThreads(1)  # as in the annotator's own process
    with Threads(2) as threads:
        pictures = Pictures(fetch, threads, 2**29)
        histories = Histories(Means(tools(["grabcut", "livewire"]), pictures, store, threads))

        async def send(given: dict[str, Any]) -> str:
            return await histories.handle("page", AnnotationData.model_validate(given))

        wall, cpu = time.perf_counter(), time.process_time()
        await send(event("mouse_move", 1, 1))
        first = ((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3)
        found = [Times(f"{name}: first move over a picture (decoded)", [first[0]], [first[1]])]
        found += await measure(send, rounds, name, boxes)
        await histories.close()
        await pictures.close()
    return found


@contextmanager
def annotator(loop: RunningLoop, folder: Path) -> Iterator[str]:
    """An annotator in a process of its own; its id in the loop."""
    port = free_port()
    command = [sys.executable, "-m", "annotator_companion", "serve", "--loop", loop.host, "--port", str(port)]
    node = ServerProcess([*command, "--data-dir", str(folder)], port=port, log=folder.with_suffix(".log"))
    node.start()
    try:
        node.wait_until("/healthz")
        deadline = time.monotonic() + 60
        while not (nodes := loop.http.get("/api/nodes?kind=annotation_node").json()["nodes"]):
            assert time.monotonic() < deadline, node.log_text()
            time.sleep(0.1)
        yield nodes[0]["id"]
    finally:
        node.kill()


def whole_way(jpeg: bytes, rounds: int, folder: Path) -> list[Times]:
    """A page's way through the embedded loop to the node and back."""
    with RunningLoop(folder / "loop") as loop:
        project = {"project_name": "annotator", "categories": [{"name": "thing", "type": "segmentation"}]}
        loop.http.post("/api/bench/projects", json=project).raise_for_status()
        path = "/api/bench/projects/annotator"
        CATEGORY["id"] = loop.http.get(path).json()["categories"][0]["id"]
        parts: Any = [("files", ("a.json", json.dumps({}))), ("files", ("a.jpg", jpeg))]
        loop.http.post(f"{path}/images", files=parts).raise_for_status()
        [image] = loop.http.get(f"{path}/data").json()["image_ids"]
        with annotator(loop, folder / "annotator") as node_id:

            async def story() -> list[Times]:
                async with httpx.AsyncClient(base_url=loop.url, timeout=60, trust_env=False) as http:

                    async def send(given: dict[str, Any]) -> str:
                        message = {"frontend_id": "page", "data": {**given, "image_uuid": image}}
                        answer = await http.post(f"/api/nodes/{node_id}/user_input", json=message)
                        answer.raise_for_status()
                        return str(answer.json()["payload"])

                    return await measure(send, rounds, "whole way")

            found = asyncio.run(story())
    for times in found:
        times.cpu.clear()  # spent in three places
    return found


def enlarged(jpeg: bytes) -> bytes:
    """The same photograph as a better camera delivers it."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return cv2.imencode(".jpg", cv2.resize(picture, LARGE, interpolation=cv2.INTER_CUBIC))[1].tobytes()


def quality(what: str, scenes: Iterable[Scene]) -> str:
    """Intersection over union after one box."""
    [tool] = tools(["grabcut"])
    found: dict[str, list[float]] = {}
    milliseconds = []
    for shown in scenes:
        height, width = shown.mask.shape
        x, y, w, h = shown.box
        drawing = tool.begin(Picture(shown.pixels))
        start, end = (x, y), (x + w - 1, y + h - 1)
        drawing.handle(Action("down", start, pressed=start))
        cpu = time.process_time()
        sketch = drawing.handle(Action("up", end, pressed=start))
        assert sketch is not None and sketch.region is not None
        polygon = outline(sketch.region, None, width, height)
        milliseconds.append((time.process_time() - cpu) * 1e3)
        mask = pasted_things.filled(polygon, width, height)
        found.setdefault(shown.kind, []).append(pasted_things.intersection_over_union(mask, shown.mask))
    every = [each for some in found.values() for each in some]
    kinds = ", ".join(f"{kind} {statistics.median(some):.3f}" for kind, some in found.items())
    return (
        f"{len(every)} {what}: IoU median {statistics.median(every):.3f}, mean {statistics.mean(every):.3f}, "
        f"worst tenth below {np.quantile(every, 0.1):.3f} ({kinds}); "
        f"CPU ms a box: median {statistics.median(milliseconds):.0f}, longest {max(milliseconds):.0f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scenes", type=int, default=60)
    given = parser.parse_args()
    for key, value in machine.describe().items():
        print(f"{key}: {value}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photograph(folder / "photograph.jpg")
        jpeg = (folder / "photograph.jpg").read_bytes()
        found = asyncio.run(in_process(jpeg, given.rounds))
        found += asyncio.run(in_process(enlarged(jpeg), given.rounds, "node, 12 Mpx", LARGE_BOXES))
        found += whole_way(jpeg, given.rounds, folder)
    print("\n| ms | times | median | p95 | longest | CPU mean |\n|---|---|---|---|---|---|")
    for times in found:
        print(times.row())
    print()
    for width, height in ((1280, 960), (2560, 1920)):
        seeds = range(1000, 1000 + given.scenes)
        print(quality(f"scenes of {width} x {height}", (pasted_things.scene(seed, width, height) for seed in seeds)))
    print(quality("things where they stand", outlined_things.scenes().values()))


if __name__ == "__main__":
    main()
