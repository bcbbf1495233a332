"""Gives the pictures that wait to the worker that serves, and each of them a second chance when it dies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from appliance.inference.channel import Payload
from appliance.inference.process import error_of
from appliance.inference.waiting import Picture, Request, Seen, WaitingRoom
from appliance.inference.watchdog import Watchdog, Watched
from models.bundle import Bundle
from models.errors import DetectionUnavailable, ModelFailed, NoModel, OutputsImplausible, WorkerLost

log = logging.getLogger(__name__)

LANES = 2
"""Pictures under way in a worker: one is decoded while the other is inferred."""

AHEAD = 1
"""Pictures sent beyond that, so that a free lane never waits for the server."""


class Worker(Watched, Protocol):
    """A loaded model in a process of its own; see `appliance.inference.process.WorkerProcess`."""

    choice: str
    load_ms: float
    warm_up_ms: float

    @property
    def accepting(self) -> bool: ...

    def ask(self, header: dict[str, Any], payload: Payload) -> asyncio.Future[dict[str, Any]]: ...

    async def idle(self) -> None: ...

    async def stop(self) -> None: ...

    def why_it_died(self) -> str: ...


@dataclass(frozen=True)
class _Post:
    """A worker on duty, or on its way out."""

    worker: Worker
    bundle: Bundle
    watchdog: Watchdog


class Dispatcher:
    """Belongs to one event loop. `note_answer` is told of every sign that a worker can live with its model."""

    def __init__(self, room: WaitingRoom, deadline: float, note_answer: Callable[[], None]) -> None:
        self.hangs = 0
        self.retries = 0
        self._room = room
        self.deadline = deadline
        self._note_answer = note_answer
        self._post: _Post | None = None
        self._closed = False

    @property
    def worker(self) -> Worker | None:
        """The worker that is given pictures now."""
        return self._post.worker if self._post is not None else None

    def work_with(self, worker: Worker, bundle: Bundle) -> None:
        """From now on give pictures to this worker, which runs that model; the one before answers what it has."""
        self._post = _Post(worker, bundle, Watchdog(worker, self.deadline, self._count_hang))
        self._dispatch()

    def work_with_nobody(self) -> None:
        """From now on keep pictures waiting."""
        self._post = None

    async def detect(self, picture: Picture, max_wait: float) -> Seen:
        """Have one picture looked at; refused if it cannot be begun within `max_wait` seconds.

        Raises `Overloaded` or `WorkerLost`, whatever the room tells those who waited in vain, and the worker's errors.
        """
        request = self._room.enter(picture, max_wait)
        self._dispatch()
        try:
            return await request.answer
        finally:
            self._room.leave(request)

    def close(self) -> None:
        """Refuse what waits, and what was under way when its worker is ended."""
        self._closed = True
        self._post = None
        self._room.refuse_all(_shutting_down)

    def _dispatch(self) -> None:
        post = self._post
        while post is not None and (request := self._room.first()) is not None:
            # Those that have seen a worker die are looked at one by one: the culprit takes no other of them along.
            room = 1 if request.tries else LANES + AHEAD
            if post.worker.busy >= room or not post.worker.accepting:
                return
            self._room.leave(request)
            if not request.answer.done():  # else whoever asked has just gone away
                self._give(request, post)

    def _give(self, request: Request, post: _Post) -> None:
        request.waited = 1e3 * (asyncio.get_running_loop().time() - request.entered)
        header = {} if request.picture.raw is None else {"raw": dict(request.picture.raw)}
        was_idle = post.worker.busy == 0
        try:
            answer = post.worker.ask(header, request.picture.payload)
        except WorkerLost:  # it died a moment ago, and was not even asked: its successor will be
            self._room.enter_again(request)
            return
        except DetectionUnavailable as error:
            request.settle(error)
            return
        if was_idle:
            post.watchdog.feed()
        answer.add_done_callback(partial(self._answered, request, post))

    def _answered(self, request: Request, post: _Post, answer: asyncio.Future[dict[str, Any]]) -> None:
        lost = answer.exception()
        if lost is not None:
            self._try_again(request, lost)
            return
        post.watchdog.feed()
        outcome = _outcome(answer.result(), request.waited, post.bundle)
        if isinstance(outcome, ModelFailed) and not isinstance(outcome, OutputsImplausible):
            # It was not the picture: an accelerator was pulled out, memory ran out. A fresh worker may do better.
            log.warning("the model failed on a picture, its worker is replaced: %s", outcome)
            post.worker.kill()
            self._try_again(request, outcome)
            return
        self._note_answer()
        request.settle(outcome)
        self._dispatch()

    def _try_again(self, request: Request, failure: BaseException) -> None:
        if self._closed:
            request.settle(_shutting_down())
        elif request.tries == 0:
            request.tries = 1
            self.retries += 1
            self._room.enter_again(request)
            self._dispatch()
        elif isinstance(failure, ModelFailed):
            request.settle(failure)
        else:
            request.settle(WorkerLost("The inference worker died on this picture, and so did the one that took over"))

    def _count_hang(self) -> None:
        self.hangs += 1


def _outcome(answer: dict[str, Any], waited: float, bundle: Bundle) -> Seen | Exception:
    if "failed" in answer:
        return error_of(answer)
    timings = dict(answer["timings"])
    timings["wait"] += waited
    return Seen(bundle, answer["detections"], answer["width"], answer["height"], timings)


def _shutting_down() -> NoModel:
    return NoModel("The appliance is shutting down")
