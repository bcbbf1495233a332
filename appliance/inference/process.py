"""One inference worker as the server sees it: a child process, a channel to it, and the requests it has not answered."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import sys
from collections import deque
from dataclasses import asdict
from typing import Any

from appliance.inference import channel
from appliance.inference.worker import WorkerOrder
from models import errors
from models.errors import DetectorApplianceError, ModelFailed, WorkerLost

log = logging.getLogger(__name__)

LAST_WORDS = 20
"""So many lines of what the worker wrote to stderr are kept: native libraries say there why they die."""


def error_of(answer: dict[str, Any]) -> DetectorApplianceError:
    """What a worker reports as failed, as the exception it was over there."""
    kind = getattr(errors, answer["failed"], ModelFailed)
    error: DetectorApplianceError = kind(answer["message"])
    return error


class WorkerProcess:
    """A running worker. Made by `launch`; `gone` is done as soon as it has died, for whatever reason."""

    def __init__(self, process: asyncio.subprocess.Process, ours: socket.socket, order: WorkerOrder) -> None:
        self.order = order
        self.pid = process.pid
        self.choice = order.choice
        self.load_ms = 0.0
        self.warm_up_ms = 0.0
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.last_words: deque[str] = deque(maxlen=LAST_WORDS)
        self._process = process
        self._channel = ours
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unanswered: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ids = itertools.count()
        self._idle = asyncio.Event()
        self._idle.set()
        self._watcher = asyncio.create_task(self._watch(), name=f"watch worker {self.pid}")
        asyncio.get_running_loop().add_reader(ours.fileno(), self._read)

    @staticmethod
    async def launch(order: WorkerOrder, deadline: float) -> WorkerProcess:
        """Start a worker and wait until it has loaded, warmed up and checked its model, for `deadline` seconds at most.

        Raises what the worker says is wrong (`ModelFailed`, `BundleError`), or `ModelFailed` if it dies or hangs.
        """
        ours, theirs = channel.pair()
        ours.setblocking(False)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "appliance.inference.worker",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                env=_environment(),
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        worker = WorkerProcess(process, ours, order)
        try:
            channel.send(ours, asdict(order))
            await asyncio.wait_for(worker._wait_until_ready(), deadline)
        except BaseException as error:
            await worker.stop()
            if isinstance(error, asyncio.TimeoutError):
                raise ModelFailed(f"The model did not load within {deadline:g} s") from error
            if isinstance(error, OSError):
                raise ModelFailed(f"The model's process died while it started. {worker.why_it_died()}") from error
            raise
        return worker

    async def _wait_until_ready(self) -> None:
        either: set[asyncio.Future[Any]] = {self._ready, self.gone}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._ready.done():
            return self._ready.result()
        raise ModelFailed(f"The model's process died while loading it. {self.why_it_died()}")

    @property
    def busy(self) -> int:
        """Requests sent and not yet answered."""
        return len(self._unanswered)

    def ask(self, header: dict[str, Any], payload: channel.Payload) -> asyncio.Future[dict[str, Any]]:
        """Send one picture. The future gets the worker's answer, or `WorkerLost` when the worker dies first."""
        number = next(self._ids)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        try:
            channel.send(self._channel, {"id": number, **header}, payload)
        except OSError as error:
            # Gone, or (its buffer being full of unread requests) as good as gone.
            self.kill()
            answer.set_exception(WorkerLost(f"The inference worker takes no pictures: {error}"))
            return answer
        self._unanswered[number] = answer
        self._idle.clear()
        return answer

    async def idle(self) -> None:
        """Return when everything is answered, or nothing ever will be."""
        await self._idle.wait()

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self, patience: float = 2.0) -> None:
        """Close the channel, upon which it ends by itself; kill it if it has not after `patience` seconds."""
        self._close_channel()
        try:
            await asyncio.wait_for(asyncio.shield(self.gone), patience)
        except asyncio.TimeoutError:
            self.kill()
            await self.gone
        await self._watcher

    def why_it_died(self) -> str:
        """For people: how it ended and what it wrote last."""
        how = self.gone.result() if self.gone.done() else "It still runs"
        words = " / ".join(self.last_words)
        return f"{how}.{f' Its last words: {words}' if words else ''}"

    def _read(self) -> None:
        while True:
            try:
                message = channel.receive(self._channel)
            except BlockingIOError:
                return
            except OSError:
                message = None
            if message is None:
                self._close_channel()
                return
            self._take(message[0])

    def _take(self, header: dict[str, Any]) -> None:
        if "id" in header:
            answer = self._unanswered.pop(header["id"], None)
            if not self._unanswered:
                self._idle.set()
            if answer is not None and not answer.done():
                answer.set_result(header)
        elif "ready" in header:
            ready = header["ready"]
            self.choice, self.load_ms, self.warm_up_ms = ready["choice"], ready["load_ms"], ready["warm_up_ms"]
            if not self._ready.done():
                self._ready.set_result(None)
        elif not self._ready.done():
            self._ready.set_exception(error_of(header))

    def _close_channel(self) -> None:
        if self._channel.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._channel.close()

    async def _watch(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            text = line.decode(errors="replace").rstrip()
            self.last_words.append(text)
            log.debug("worker %d: %s", self.pid, text)
        code = await self._process.wait()
        if self._channel.fileno() >= 0:
            self._read()  # answers that it sent before it died still count
        self._close_channel()
        how = f"It was ended by signal {-code}" if code < 0 else f"It ended with exit status {code}"
        self.gone.set_result(how)
        for answer in self._unanswered.values():
            if not answer.done():
                answer.set_exception(WorkerLost("The inference worker died"))
                answer.exception()  # whoever asked may have stopped waiting; that is no news for the log
        self._unanswered.clear()
        self._idle.set()


def _environment() -> dict[str, str]:
    """Ours, with OpenMP threads that sleep while they wait: spinning ones cost a core between two pictures."""
    return {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
