"""One inference worker as the server sees it: a child process, and the requests that it has not answered."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import anyio

from appliance.inference.channel import Payload
from appliance.inference.child import Child, Start
from appliance.inference.region import Region
from appliance.inference.worker import WorkerOrder
from models import errors
from models.errors import DetectionUnavailable, DetectorApplianceError, ModelFailed, WorkerLost

SPARE_PLACES = 2
"""Pictures that may be sent ahead of the lanes and still find a place in the shared memory."""


def error_of(answer: dict[str, Any]) -> DetectorApplianceError:
    """What a worker reports as failed, as the exception it was over there."""
    kind = getattr(errors, answer["failed"], ModelFailed)
    error: DetectorApplianceError = kind(answer["message"])
    return error


class WorkerProcess:
    """A running worker. Made by `launch`; `gone` is done as soon as it has died, for whatever reason."""

    def __init__(self, child: Child, order: WorkerOrder, region: Region) -> None:
        self.order = order
        self.pid = child.pid
        self.choice = order.choice
        self.load_ms = 0.0
        self.warm_up_ms = 0.0
        self.gone = child.gone
        self._child = child
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unanswered: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._region = region
        self._places: dict[int, int] = {}
        self._ids = itertools.count()
        self._idle = asyncio.Event()
        self._idle.set()
        self.gone.add_done_callback(self._answer_no_more)
        child.listen(self._take)

    @staticmethod
    async def launch(order: WorkerOrder, deadline: float, start: Start = Child.start) -> WorkerProcess:
        """Start a worker and wait until it has loaded, warmed up and checked its model, for `deadline` seconds at most.

        Raises what the worker says is wrong (`ModelFailed`, `BundleError`), `ModelFailed` if it dies or hangs, and
        `DetectionUnavailable` where the box cannot start a process.
        """
        region = _region(order.lanes + SPARE_PLACES)
        try:
            child = await start("appliance.inference.worker")
        except BaseException:
            region.close()
            raise
        worker = WorkerProcess(child, order, region)
        try:
            # Not `asyncio.wait_for`: before Python 3.12 it loses a cancellation that comes together with the end.
            with anyio.fail_after(deadline):
                await worker._load()
        except BaseException as error:
            await worker.stop()
            if isinstance(error, TimeoutError):
                raise ModelFailed(f"The model did not load within {deadline:g} s") from error
            raise
        return worker

    async def _load(self) -> None:
        """Give the order, and wait for what comes of it."""
        with suppress(OSError):  # if it has died already, `gone` tells
            self._child.tell_with_file(asdict(self.order), self._region.file)
        either: set[asyncio.Future[Any]] = {self._ready, self.gone}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._ready.done():
            return self._ready.result()
        raise ModelFailed(f"The model's process died while loading it. {self.why_it_died()}")

    @property
    def busy(self) -> int:
        """Requests sent and not yet answered."""
        return len(self._unanswered)

    @property
    def accepting(self) -> bool:
        """Whether it can be given a picture; not any more once it has hung up or is being killed."""
        return self._child.listening

    def ask(self, header: dict[str, Any], payload: Payload) -> asyncio.Future[dict[str, Any]]:
        """Send one picture. The future gets the worker's answer, or `WorkerLost` when the worker dies first.

        Raises `WorkerLost` if it takes no pictures any more, and `Overloaded` where there is no memory for this one.
        """
        number = next(self._ids)
        try:
            # The clock is the machine's: the worker tells from it how long the picture waited in the channel.
            asked = {"id": number, "sent": time.perf_counter(), **header}
            place = self._region.write(payload)
            if place is None:
                self._child.tell(asked, payload)
            else:
                self._places[number] = place
                self._child.tell({**asked, "at": place, "size": memoryview(payload).nbytes})
        except OSError as error:
            raise WorkerLost(f"The inference worker takes no pictures: {error.strerror}") from error
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._unanswered[number] = answer
        self._idle.clear()
        return answer

    async def idle(self) -> None:
        """Return when everything is answered, or nothing ever will be."""
        await self._idle.wait()

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self._child.kill()

    async def stop(self) -> None:
        """Have it end, by force if it does not within moments; what it has not answered gets `WorkerLost`."""
        await self._child.stop()

    def why_it_died(self) -> str:
        """For people: how it ended and what it wrote last."""
        return self._child.why_it_died()

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            answer = self._unanswered.pop(message["id"], None)
            if (place := self._places.pop(message["id"], None)) is not None:
                self._region.free(place)
            if not self._unanswered:
                self._idle.set()
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif "ready" in message:
            ready = message["ready"]
            self.choice, self.load_ms, self.warm_up_ms = ready["choice"], ready["load_ms"], ready["warm_up_ms"]
            if not self._ready.done():
                self._ready.set_result(None)
        elif not self._ready.done():
            self._ready.set_exception(error_of(message))

    def _answer_no_more(self, _how: asyncio.Future[str]) -> None:
        for answer in self._unanswered.values():
            if not answer.done():
                answer.set_exception(WorkerLost("The inference worker died"))
                answer.exception()  # whoever asked may have stopped waiting; that is no news for the log
        self._unanswered.clear()
        self._region.close()
        self._idle.set()


def _region(places: int) -> Region:
    try:
        return Region(places)
    except OSError as error:
        raise DetectionUnavailable(f"The box has no memory for another model: {error.strerror}", 5.0) from error
