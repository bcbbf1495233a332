"""Worker processes as the supervisor sees them, without processes: they do what a picture's bytes say.

A worker looks at one picture after another, `seconds` each. Most pictures are found to hold what their bytes say; but
`poison` kills the worker, `hang` never ends, `nan` is implausible, `unreadable` no picture, and on `broken` the runtime fails
(on `faint` that of the first worker only). For `huge` there is no memory.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.inference.channel import Payload
from appliance.inference.choosing import Ways
from appliance.inference.planning import Chooses
from appliance.inference.supervisor import Seen
from appliance.inference.worker import WorkerOrder
from models.bundle import Bundle
from models.bundle_format import ModelJson
from models.errors import ModelFailed, Overloaded, WorkerLost
from models.runtimes.base import Choice

SECONDS = 0.05
"""For one picture, unless a test says otherwise."""

FIRST_PID = 1000

FAILURES = {
    "nan": ("OutputsImplausible", "Output 'scores' holds NaN"),
    "unreadable": ("ImageUnreadable", "These bytes are no picture"),
    "broken": ("ModelFailed", "The Edge TPU does not answer any more"),
}


class FakeWorker:
    """See `appliance.inference.dispatching.Worker`."""

    def __init__(self, pid: int, order: WorkerOrder, seconds: float) -> None:
        self.pid = pid
        self.order = order
        self.choice = order.choice
        self.load_ms, self.warm_up_ms = 800.0, 200.0
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.accepting = True
        self.asked: list[str] = []
        """What it was given, as text, in order."""
        self.looked_at: list[str] = []
        """What it has begun to look at."""
        self.seconds = seconds
        self._ids = itertools.count()
        self._given: dict[int, tuple[str, asyncio.Future[dict[str, Any]]]] = {}
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> int:
        return len(self._given)

    def ask(self, header: dict[str, Any], payload: Payload) -> asyncio.Future[dict[str, Any]]:
        if not self.accepting:
            raise WorkerLost("It takes no pictures")
        if bytes(payload) == b"huge":
            raise Overloaded("The box has no room in memory for this picture")
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        text = bytes(payload).decode()
        self.asked.append(text)
        self._given[next(self._ids)] = (text, answer)
        self._quiet.clear()
        if self._timer is None:
            self._look()
        return answer

    async def idle(self) -> None:
        await self._quiet.wait()

    def kill(self) -> None:
        self.die("It was ended by signal 9")

    def die(self, how: str = "It was ended by signal 11") -> None:
        """It takes no pictures at once; that it is gone is seen a moment later."""
        self.accepting = False
        asyncio.get_running_loop().call_soon(self._end, how)

    def hang_up(self) -> None:
        """The first sign of its death: it takes no pictures any more."""
        self.accepting = False

    def finish(self) -> None:
        """It has the answer to what it looks at, earlier than it would."""
        assert self._timer is not None
        self._timer.cancel()
        self._answer(min(self._given))

    def freeze(self) -> None:
        """It stands still from now on, but is not dead."""
        if self._timer is not None:
            self._timer.cancel()
        self.seconds = float(10**6)

    async def stop(self) -> None:
        self.die("It ended with exit status 0")
        await asyncio.wait({self.gone})

    def why_it_died(self) -> str:
        return f"{self.gone.result()}."

    @property
    def alive(self) -> bool:
        return not self.gone.done()

    def _look(self) -> None:
        """Begin with the next picture."""
        self._timer = None
        if not self._given or not self.accepting:
            return
        number = min(self._given)
        text, _ = self._given[number]
        self.looked_at.append(text)
        if text.startswith("poison"):
            self._timer = asyncio.get_running_loop().call_later(self.seconds, self.die, "It was ended by signal 6")
        elif not text.startswith("hang"):
            self._timer = asyncio.get_running_loop().call_later(self.seconds, self._answer, number)

    def _answer(self, number: int) -> None:
        text, answer = self._given.pop(number)
        if not self._given:
            self._quiet.set()
        word = text.split()[0]
        failure = FAILURES.get("broken" if word == "faint" and self.pid == FIRST_PID else word)
        if failure is not None:
            answer.set_result({"failed": failure[0], "message": failure[1]})
        else:
            timings = {"wait": 0.0, "decode": 1.0, "inference": 2.0, "postprocess": 0.5}
            found = {"in": text, "by": self.pid}
            answer.set_result({"detections": found, "width": 640, "height": 480, "timings": timings})
        self._look()

    def _end(self, how: str) -> None:
        if self.gone.done():
            return
        if self._timer is not None:
            self._timer.cancel()
        self.gone.set_result(how)
        for _, answer in self._given.values():
            answer.set_exception(WorkerLost("It died"))
        self._given.clear()
        self._quiet.set()


class Workshop:
    """Launches fake workers: see `appliance.inference.process.WorkerProcess.launch`."""

    def __init__(self, seconds: float = SECONDS, load_seconds: float = 1.0) -> None:
        self.workers: list[FakeWorker] = []
        self.orders: list[WorkerOrder] = []
        self.deadlines: list[float] = []
        self.times: list[float] = []
        """When each of them was ordered, on the loop's clock."""
        self.beside: list[int] = []
        """How many others were alive at that moment."""
        self.starting = 0
        """Workers that are loading their model now."""
        self.seconds = seconds
        self.load_seconds = load_seconds
        self.refuse: Callable[[WorkerOrder], Exception | None] = lambda order: None
        """Why a worker does not start, if it does not."""

    async def launch(self, order: WorkerOrder, deadline: float) -> FakeWorker:
        self.orders.append(order)
        self.deadlines.append(deadline)
        self.times.append(asyncio.get_running_loop().time())
        self.beside.append(len(self.alive))
        self.starting += 1
        try:
            await asyncio.sleep(self.load_seconds)
        finally:
            self.starting -= 1
        if (error := self.refuse(order)) is not None:
            raise error
        self.workers.append(FakeWorker(FIRST_PID + len(self.workers), order, self.seconds))
        return self.workers[-1]

    @property
    def alive(self) -> list[FakeWorker]:
        return [worker for worker in self.workers if worker.alive]

    @property
    def choices(self) -> list[str]:
        """As what the workers were ordered to run the model, in order."""
        return [order.choice for order in self.orders]


class FixedWays(Chooses):
    """A chooser that has measured already. `ways`: as text, best first."""

    def __init__(self, *ways: str, wanted: str = "auto", lost: str | None = None) -> None:
        self.wanted = wanted
        self.ways = ways
        self.lost = lost
        self.error: Exception | None = None

    async def choose(self, bundle: Bundle) -> Ways:
        if self.error is not None:
            raise self.error
        if not self.ways:
            raise ModelFailed("This box can run the model in no way")
        return Ways(tuple(map(Choice.parse, self.ways)), lost=Choice.parse(self.lost) if self.lost else None)


def a_bundle(version: str = "1.0", *weights: tuple[str, str]) -> Bundle:
    """A model in no folder. `weights`: runtime and accelerator of each; where there are none, LiteRT on a CPU."""
    entries = [
        {
            "runtime": runtime,
            "accelerator": accelerator,
            "file": f"{number}.bin",
            "input": {"width": 300, "height": 300},
        }
        for number, (runtime, accelerator) in enumerate(weights or [("litert", "cpu")])
    ]
    document = {"version": version, "inference": {"version": 1, "head": "yolo", "weights": entries}}
    return Bundle(Path(f"model-{version}"), ModelJson.model_validate(document))


def seen_in(seen: Seen) -> str:
    """What the picture said of itself."""
    return str(seen.detections["in"])
