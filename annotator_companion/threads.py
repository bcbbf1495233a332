"""Threads for tools, which may be anybody's: one that never comes back keeps neither the others waiting nor the program alive.

The library's `ThreadPoolExecutor` waits for all of its threads when the program ends, and has no way to do without one.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeAlias, TypeVar

MOST_LOST = 32
"""Threads that were given up and are replaced; after that those that are left have to do."""

P = ParamSpec("P")
T = TypeVar("T")
_Work: TypeAlias = "tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]"


class Threads(Executor):
    """Runs `most` functions at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._begun = 0
        self._closed = False
        self.lost = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See `Executor`."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("these threads have been told to end")
            self._waiting.put((future, fn, args, kwargs))
            self._begin_one()
        return future

    def give_one_up(self) -> None:
        """Somebody waits no longer for a function that does not return: have another thread in its place."""
        with self._lock:
            self.lost += 1
            if self.lost <= MOST_LOST:
                self._most += 1
                self._begin_one()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor`. What runs is never waited for: it ends with the program at the latest."""
        del wait
        with self._lock:
            self._closed = True
            while cancel_futures:
                try:
                    work = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if work is not None:
                    work[0].cancel()
            for _ in range(self._begun):
                self._waiting.put(None)

    def _begin_one(self) -> None:
        if self._begun < self._most:
            self._begun += 1
            threading.Thread(target=self._run, name=f"tool {self._begun}", daemon=True).start()

    def _run(self) -> None:
        while (work := self._waiting.get()) is not None:
            future, function, args, kwargs = work
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = function(*args, **kwargs)
            except BaseException as error:  # as the library does: it belongs to whoever waits, also SystemExit
                future.set_exception(error)
            else:
                future.set_result(result)
            del work, future, function, args, kwargs  # or what was worked on stays in memory until the next one comes
