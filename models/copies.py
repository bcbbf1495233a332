"""The loaded copies of one model, and who may use which of them now."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from models.runtimes.base import LoadedModel


class Copies:
    """`loaded`: at least one. `one_for_itself`: the first is for pictures that come alone, with all threads to itself."""

    def __init__(self, loaded: Sequence[LoadedModel], *, one_for_itself: bool = False) -> None:
        self.loaded = tuple(loaded)
        self._shared = self.loaded[0] if self.loaded[0].concurrency == "shared" else None
        self._alone = self.loaded[0] if one_for_itself else None
        self._busy = 0
        self._counting = threading.Lock()
        # Last in, first out: one robot that asks again and again gets the copy whose weights are in the cache.
        self._free: queue.LifoQueue[LoadedModel] = queue.LifoQueue()
        for model in self.loaded[1:] if one_for_itself else self.loaded:
            self._free.put(model)

    @contextmanager
    def borrowed(self) -> Iterator[LoadedModel]:
        """A copy to run one picture on; waits until one is free."""
        if self._shared is not None:
            yield self._shared
            return
        with self._counting:
            alone = self._alone if self._busy == 0 else None
            self._busy += 1
        model = alone
        try:
            if model is None:
                model = self._free.get()
            yield model
        finally:
            with self._counting:
                self._busy -= 1
            if model is not None and model is not alone:
                self._free.put(model)
