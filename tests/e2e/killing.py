"""Kill the box again and again while it saves and sends, and count what became of the pictures. By command:

    python -m tests.e2e.killing --times 200
    python -m tests.e2e.killing --times 200 --spoil-index

It prints one line a kill and the counts at the end; the exit status is 0 if every acknowledged picture is in the Loop and
none is there twice. `--spoil-index` deletes the outbox's index or overwrites part of it between kills.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import httpx
import numpy as np

from appliance.outbox.index import INDEX_FILE
from tests.e2e.server_process import ServerProcess, appliance_process, loop_process

SENDERS = 3
"""Clients that upload all the time."""

LONGEST_LIFE = 1.5
"""Seconds that the box may run after it was ready, at most."""

DRAINED_WITHIN = 120.0


@dataclass
class Outcome:
    """What was sent and what arrived. `acknowledged` and `arrived` are sha256 of pictures; the latter with how often."""

    kills: int
    acknowledged: set[str] = field(default_factory=set)
    unanswered: int = 0
    arrived: Counter[str] = field(default_factory=Counter)

    @property
    def lost(self) -> set[str]:
        """Acknowledged, and not in the Loop."""
        return self.acknowledged - set(self.arrived)

    @property
    def doubled(self) -> set[str]:
        """More than once in the Loop."""
        return {sha256 for sha256, count in self.arrived.items() if count > 1}

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {len(self.acknowledged)} pictures acknowledged, {self.unanswered} unanswered, "
            f"{len(self.arrived)} in the Loop, {len(self.lost)} lost, {len(self.doubled)} twice"
        )


class Senders:
    """Clients that upload pictures, each of which there is only once, and note which were acknowledged."""

    def __init__(self, url: str, outcome: Outcome, seed: int) -> None:
        self._url = url
        self._outcome = outcome
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._random = np.random.default_rng(seed)
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send no more; what is under way is waited for."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _picture(self) -> bytes:
        with self._lock:
            pixels = self._random.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        _, jpeg = cv2.imencode(".jpg", pixels)
        return jpeg.tobytes()

    def _send(self) -> None:
        with httpx.Client(base_url=self._url, timeout=10.0, trust_env=False) as client:
            while not self._stop.is_set():
                picture = self._picture()
                try:
                    answer = client.post("/upload", files={"files": picture}, params={"source": "killing"})
                except httpx.ConnectError:  # it is down: nothing was sent
                    time.sleep(0.05)
                    continue
                except httpx.HTTPError:
                    with self._lock:
                        self._outcome.unanswered += 1
                    continue
                if answer.status_code == httpx.codes.OK:
                    with self._lock:
                        self._outcome.acknowledged.add(hashlib.sha256(picture).hexdigest())
                else:
                    time.sleep(0.05)


def spoil_index(data: Path, chance: random.Random) -> None:
    """Delete the outbox's index, overwrite a part of it, or cut it off."""
    index = data / "outbox" / INDEX_FILE
    if not index.exists():
        return
    how = chance.choice(("delete", "overwrite", "cut"))
    if how == "delete":
        for path in index.parent.glob(f"{INDEX_FILE}*"):
            path.unlink()
    elif how == "overwrite":
        with index.open("r+b") as file:
            file.seek(chance.randrange(max(1, index.stat().st_size // 2)))
            file.write(chance.randbytes(4096))
    else:
        with index.open("r+b") as file:
            file.truncate(index.stat().st_size // 2)


def run(folder: Path, times: int, *, spoil: bool, seed: int = 0, say: Callable[[str], None] = print) -> Outcome:
    """Kill the box `times` times at moments by chance, let it send what is left, and compare."""
    chance, outcome = random.Random(seed), Outcome(times)
    loop = loop_process(folder / "loop")
    box: ServerProcess | None = None
    try:
        loop.start()
        loop.wait_until("/api/status")
        with httpx.Client(base_url=f"http://127.0.0.1:{loop.port}", timeout=60.0, trust_env=False) as operator:
            operator.post("/api/acme/projects", json={"project_name": "bolts", "categories": []}).raise_for_status()
            box = _box(folder, loop.port)
            senders = Senders(f"http://127.0.0.1:{box.port}", outcome, seed)
            for number in range(times):
                box.start()
                box.wait_until("/readyz")
                time.sleep(chance.uniform(0.0, LONGEST_LIFE))
                box.kill()
                say(f"kill {number + 1} of {times}: {len(outcome.acknowledged)} pictures acknowledged so far")
                if spoil:
                    spoil_index(folder / "box", chance)
            box.start()
            box.wait_until("/readyz")
            senders.stop()
            _wait_until_drained(box)
            box.stop()
            outcome.arrived = _in_the_loop(operator)
        loop.stop()
    finally:
        for process in (box, loop):
            if process is not None:
                process.kill()
    return outcome


def _box(folder: Path, loop_port: int) -> ServerProcess:
    environment = {
        "LOOP_HOST": f"127.0.0.1:{loop_port}",
        "LOOP_ORGANIZATION": "acme",
        "LOOP_PROJECT": "bolts",
        "RUNTIME": "onnx/cpu/1",  # the quickest start: nothing is measured
        "MAX_OUTBOX_SIZE": "1000000",
    }
    return appliance_process(folder / "box", environment=environment)


def _wait_until_drained(box: ServerProcess) -> None:
    deadline = time.monotonic() + DRAINED_WITHIN
    with httpx.Client(base_url=f"http://127.0.0.1:{box.port}", timeout=30.0, trust_env=False) as client:
        while client.get("/api/v1/outbox").json()["waiting"]:
            if time.monotonic() > deadline:
                raise AssertionError(f"The outbox did not empty: {client.get('/api/v1/outbox').text}")
            time.sleep(0.2)


def _in_the_loop(operator: httpx.Client) -> Counter[str]:
    """sha256 of every picture that the Loop has, with how many images have it."""
    project = "/api/acme/projects/bolts"
    found: Counter[str] = Counter()
    for image_id in operator.get(f"{project}/data").json()["image_ids"]:
        found[hashlib.sha256(operator.get(f"{project}/images/{image_id}/main").content).hexdigest()] += 1
    return found


def main() -> int:
    """Run it by command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200, help="how often to kill (200)")
    parser.add_argument("--spoil-index", action="store_true", help="delete or damage the index between kills")
    parser.add_argument("--seed", type=int, default=0, help="of everything that happens by chance (0)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), arguments.times, spoil=arguments.spoil_index, seed=arguments.seed)
    print(outcome)
    return 1 if outcome.lost or outcome.doubled else 0


if __name__ == "__main__":
    sys.exit(main())
