"""A Loop that comes back after an outage, with a hundred boxes waiting for it: what others see of that."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.bench.children import LineProcess
from tests.bench.goals import Goal
from tests.bench.incidents import Incident
from tests.bench.measures import percentile
from tests.e2e.server_process import ServerProcess, loop_process

BOXES = 100
PICTURES = 10
"""In the outbox of each."""

ALONE_PICTURES = 300
PATIENCE = 300.0
PROBED_EVERY = 0.02
LIMIT = 3.0


def measure(folder: Path, outage: float) -> Incident:
    """What asking the Loop for its deployment target costs while one box sends, and while a hundred come back.

    `outage` is for how many seconds the hundred have failed before the Loop comes back.
    """
    folder.mkdir()
    loop = loop_process(folder / "loop")
    try:
        _start(loop)
        with httpx.Client(base_url=f"http://127.0.0.1:{loop.port}", trust_env=False) as operator:
            operator.post("/api/acme/projects", json={"project_name": "bolts"}).raise_for_status()
        with _boxes(folder / "one", loop.port, boxes=1, pictures=ALONE_PICTURES, seed=10**6) as one:
            alone, alone_told = _probed(loop.port, one)
        with _boxes(folder / "many", loop.port, boxes=BOXES, pictures=PICTURES, seed=0) as many:
            loop.stop()
            many.tell({"patience": PATIENCE})
            time.sleep(outage)
            _start(loop)
            back = time.monotonic()
            fleet, told = _probed(loop.port, many, tell=False)
    finally:
        loop.kill()
    before, after = percentile(alone, 95), percentile(fleet, 95)
    uploads = [Upload(*each) for each in told["uploads"]]
    tries = [each for each in uploads if each.began < back]
    drained = max(each.began + each.seconds for each in uploads) - back
    detail = (
        f"{after:.1f} against {before:.1f} ms; {BOXES * PICTURES} pictures of {BOXES} boxes there {drained:.0f} s after the "
        f"Loop was back; {len(tries) / BOXES:.1f} tries a box in {outage:.0f} s without it"
    )
    return Incident(
        [
            Goal(
                f"{BOXES} boxes come back: p95 of the Loop against one box alone",
                after / before,
                "≤",
                LIMIT,
                "x",
                detail,
            ),
            Goal(f"{BOXES} boxes come back: pictures not sent", told["left"] + alone_told["left"], "≤", 0, ""),
        ],
        {"alone_ms": alone, "fleet_ms": fleet, "uploads": told["uploads"], "back": back},
    )


class Upload:
    """One request of `fleet_boxes`."""

    def __init__(self, began: float, seconds: float, pictures: int, through: bool) -> None:
        self.began = began
        self.seconds = seconds
        self.pictures = pictures
        self.through = through


def _start(loop: ServerProcess) -> None:
    loop.start()
    loop.wait_until("/api/status")


@contextmanager
def _boxes(folder: Path, loop_port: int, *, boxes: int, pictures: int, seed: int) -> Iterator[LineProcess]:
    command = [sys.executable, "-m", "tests.bench.fleet_boxes", "--host", f"127.0.0.1:{loop_port}"]
    command += ["--folder", str(folder), "--boxes", str(boxes), "--pictures", str(pictures), "--seed", str(seed)]
    with LineProcess(command, folder.parent / f"{folder.name}.log") as process:
        process.hear()
        yield process


def _probed(port: int, boxes: LineProcess, *, tell: bool = True) -> tuple[list[float], dict[str, Any]]:
    """Milliseconds of the Loop's answers until the boxes have sent everything, and what these tell then."""
    milliseconds: list[float] = []
    done = threading.Event()

    def probe() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0, trust_env=False) as client:
            while not done.wait(PROBED_EVERY):
                began = time.perf_counter()
                client.get("/api/acme/projects/bolts/models").raise_for_status()
                milliseconds.append(1e3 * (time.perf_counter() - began))

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        if tell:
            boxes.tell({"patience": PATIENCE})
        return milliseconds, boxes.hear()
    finally:
        done.set()
        thread.join()
