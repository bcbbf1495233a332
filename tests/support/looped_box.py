"""The model versions of a box whose Loop and supervisor are scripted, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from appliance.connection import LoopConnection
from appliance.versions.following import Pace
from appliance.versions.selection import Scope
from appliance.versions.service import Bounds, Versions
from models.files import FILE_SYSTEM, FileSystem
from models.store import ModelStore
from tests.support.scripted_loop import ORGANIZATION, PROJECT, ScriptedLoop
from tests.support.scripted_supervisor import ScriptedSupervisor
from tests.support.small_bundles import make_bundle

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)
SCOPE = Scope(ORGANIZATION, PROJECT, ("litert", "onnx"))
MIB = 2**20


def clock() -> float:
    """The event loop's clock."""
    return asyncio.get_running_loop().time()


class LoopedBox:
    """Use it as a context, in a coroutine. It may be entered again: that is a restart. `disk` holds DATA and the seed."""

    def __init__(self, disk: Path, loop: ScriptedLoop, *, files: FileSystem = FILE_SYSTEM, **settings: Any) -> None:
        self.disk = disk
        self.loop = loop
        self.files = files
        self.settings = settings
        self.now: Callable[[], datetime] = lambda: NOW
        self.supervisor = ScriptedSupervisor()
        self.versions: Versions
        self.connection: LoopConnection
        self.store = make_store(disk, files)

    async def __aenter__(self) -> LoopedBox:
        settings = {"appliance_version": "1", "bounds": Bounds(3, 100 * MIB, 0), **self.settings}
        self.connection = LoopConnection("loop.example", clock)
        self.supervisor = _succeeding(self.supervisor)
        self.versions = Versions(
            self.store,
            self.supervisor,
            settings.pop("scope", SCOPE),
            self.disk / "data" / "versions.json",
            self.files,
            loop=self.loop.project(clock=clock, files=self.files),
            connection=self.connection,
            now=lambda: self.now(),
            clock=clock,
            **settings,
        )
        await self.versions.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.versions.close()

    async def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> float:
        """Let time pass until it is so; how many seconds that were."""
        start = clock()
        while not condition():
            assert clock() - start < seconds, f"it did not come to that: {self.versions.update}, {self.versions.error}"
            await asyncio.sleep(max(0.05, seconds / 1200))
        return clock() - start

    async def serves(self, version: str, seconds: float = 60.0) -> float:
        """Return when that version serves, and that is written down; after how many seconds that was."""

        def so() -> bool:
            current = self.versions.current
            return self.supervisor.version == version and current is not None and current.version == version

        return await self.until(so, seconds)

    def unfit(self, because: str) -> None:
        """What serves turns out not to be fit for it."""
        assert self.supervisor.serving is not None
        self.versions.unfit(self.supervisor.serving.bundle, because)

    def look_seldom(self) -> None:
        """Ask the Loop for its target every ten minutes only, for stories of many hours."""
        assert self.versions.watch is not None
        self.versions.watch.pace = Pace(poll=600.0, away_cap=600.0)

    async def prove(self) -> None:
        """Have what serves answer often enough to be trusted, and return when it is."""
        assert self.supervisor.serving is not None
        self.supervisor.serving.answers = 1000
        await self.until(lambda: not self.versions.state.on_probation)

    @property
    def state(self) -> str:
        """Where the update stands, in a word."""
        return self.versions.update.state


def _succeeding(before: ScriptedSupervisor) -> ScriptedSupervisor:
    """The one of the next start of the program."""
    made = ScriptedSupervisor()
    made.failing, made.seconds = before.failing, before.seconds
    return made


def make_store(disk: Path, files: FileSystem) -> ModelStore:
    """The store of such a box; its seed model is made where it is missing."""
    seed = disk / "seed"
    if not seed.exists():
        make_bundle(seed, "0.0", organization="detector-appliance", project="everyday-objects", id="seed")
    return ModelStore(disk / "data" / "models", [seed], file_system=files, free_space_floor=0)
