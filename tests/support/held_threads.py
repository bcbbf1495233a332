"""Threads that are held where they were met, so that something can happen meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, BinaryIO

from models.files import FileSystem

SOON = 30.0
"""Seconds; a test that has to wait so long has failed."""


class Held:
    """Holds the thread that comes `here`, until it is let go."""

    def __init__(self) -> None:
        self.met, self.go_on, self.gone = threading.Event(), threading.Event(), threading.Event()

    def here(self) -> None:
        """For the thread."""
        self.met.set()
        try:
            assert self.go_on.wait(SOON)
        finally:
            self.gone.set()

    async def is_met(self) -> None:
        """Return when a thread is held."""
        assert await asyncio.to_thread(self.met.wait, SOON)

    async def cancelled(self, work: Coroutine[Any, Any, object]) -> bool:
        """Cancel it as soon as a thread is held, and let that go only then; whether the work had ended before that.

        Raises `AssertionError` where it does not end cancelled.
        """
        task, met = asyncio.ensure_future(work), asyncio.ensure_future(self.is_met())
        await asyncio.wait({task, met}, return_when=asyncio.FIRST_COMPLETED)
        if not met.done():
            self.met.set()
            await met
            raise AssertionError(f"it ended without a thread that was held: {task!r}")
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0.05)
        self.go_on.set()
        await asyncio.wait([task])
        assert task.cancelled(), "the cancellation was lost"
        return bool(done)


class HeldFiles(FileSystem):
    """Holds the thread that comes to `step` for the file or folder `name`."""

    def __init__(self, held: Held, step: str, name: str) -> None:
        self._held, self._step, self._name = held, step, name

    def _meet(self, step: str, path: Path) -> None:
        if (step, path.name) == (self._step, self._name):
            self._held.here()

    def make_folders(self, folder: Path) -> None:
        self._meet("make folders", folder)
        super().make_folders(folder)

    def create_exclusive(self, path: Path) -> BinaryIO:
        self._meet("create", path)
        return super().create_exclusive(path)

    def write_file(self, path: Path, chunks: Iterable[bytes]) -> int:
        self._meet("write", path)
        return super().write_file(path, chunks)

    def remove_tree(self, path: Path) -> None:
        if path.exists():
            self._meet("remove", path)
        super().remove_tree(path)

    def write_atomically(self, path: Path, data: bytes) -> None:
        self._meet("remember", path)
        super().write_atomically(path, data)
