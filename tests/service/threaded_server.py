"""A server in this process: an event loop in a thread of its own, and a real port of loopback."""

from __future__ import annotations

import asyncio
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import httpx
import uvicorn

T = TypeVar("T")
S = TypeVar("S", bound="ThreadedServer")

START_SECONDS = 60.0


class ThreadedServer(ABC):
    """Use it as a context. `name` is what it is called when it does not start or end."""

    def __init__(self, name: str) -> None:
        self.port = 0
        self.http: httpx.Client
        self._name = name
        self._loop = asyncio.new_event_loop()
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    @abstractmethod
    def configure(self) -> uvicorn.Config:
        """What is served, and how. Called in the server's event loop, when `port` is known."""

    def __enter__(self: S) -> S:
        self._thread.start()
        self._started.result(START_SECONDS)
        self.http = httpx.Client(base_url=self.url, timeout=60.0, trust_env=False)
        return self

    def __exit__(self, *_how: object) -> None:
        self.http.close()
        self._loop.call_soon_threadsafe(setattr, self._server, "should_exit", True)
        self._thread.join(START_SECONDS)
        assert not self._thread.is_alive(), f"the {self._name} does not end"

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, as LOOP_HOST has it."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.host}"

    def run(self, story: Coroutine[Any, Any, T], timeout: float = 60.0) -> T:
        """Run a coroutine in the event loop of the server."""
        return asyncio.run_coroutine_threadsafe(story, self._loop).result(timeout)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)
        finally:
            self._loop.run_until_complete(_end_what_is_left())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _main(self) -> None:
        # asyncio sends answers at once only over sockets that say that they are TCP; else each waits 40 ms.
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.bind(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self._server = uvicorn.Server(self.configure())
        serving = asyncio.create_task(self._server.serve([listening]))
        while not self._server.started:
            if serving.done():
                await serving
                raise RuntimeError(f"the {self._name} did not start; its log says why")
            await asyncio.sleep(0.01)
        self._started.set_result(None)
        await serving


async def _end_what_is_left() -> None:
    """As `asyncio.run` does in the end."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
