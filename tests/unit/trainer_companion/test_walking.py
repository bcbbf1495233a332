"""Writing down how a training stands: one writer at a time, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from models.files import FILE_SYSTEM
from trainer_companion.run_state import Folders, Run, new_run
from trainer_companion.walking import Walk


class SlowStore:
    """Writes until it is told to come to an end, and counts how many write at once."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.writing = self.most = self.written = 0

    def write(self, run: Run) -> None:
        self.writing += 1
        self.most = max(self.most, self.writing)
        self.release.wait(20)
        self.writing -= 1
        self.written += 1


def test_a_save_that_is_cancelled_is_not_overtaken_by_the_next(tmp_path: Path) -> None:
    """Both would write the same temporary file, and one would take it away from the other."""
    details = {"categories": [], "hyperparameters": {}, "training_number": 1, "model_variant": "small"}
    run = new_run("acme", "cups", details, now=0.0)
    store = SlowStore()
    tools: Any = SimpleNamespace(store=store, folders=Folders(tmp_path), files=FILE_SYSTEM)

    async def finish(_run: Run) -> None:
        raise AssertionError("it does not end here")

    async def story() -> None:
        walk = Walk(run, "me", tools, SimpleNamespace(), finish)  # type: ignore[arg-type] # nobody asks the backdoor
        first = asyncio.create_task(walk.save())
        while not store.writing:
            await asyncio.sleep(0.01)
        first.cancel()
        second = asyncio.create_task(walk.save())
        await asyncio.sleep(0.2)
        assert store.most == 1
        store.release.set()
        await second
        assert first.cancelled()

    asyncio.run(story())
    assert (store.most, store.written) == (1, 2)
