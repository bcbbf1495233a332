"""Stands for the supervisor where only models are of interest: what was loaded, what fails, and how it fares then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from models.bundle import Bundle
from models.errors import ModelUpdating


@dataclass
class InService:
    """See `appliance.versions.ports.Served`."""

    bundle: Bundle
    answers: int = 0
    deaths: int = 0
    failed_starts: int = 0


class ScriptedSupervisor:
    """See `appliance.versions.ports.Serves`."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        """Versions that came into service, in order."""
        self.tried: list[str] = []
        self.failing: dict[str, Exception] = {}
        """Version -> what is raised when it is loaded."""
        self.seconds = 0.0
        """What loading takes."""
        self.door = asyncio.Event()
        """Loads wait here."""
        self.door.set()
        self.waiting = asyncio.Event()
        self.at_last: Callable[[], None] = lambda: None
        """What happens right before a swap."""
        self.serving: InService | None = None

    async def load(self, bundle: Bundle, *, still_wanted: Callable[[], bool] = lambda: True) -> object:
        version = str(bundle.model.version)
        self.tried.append(version)
        self.waiting.set()
        if self.seconds:
            await asyncio.sleep(self.seconds)
        await self.door.wait()
        if version in self.failing:
            raise self.failing[version]
        self.at_last()
        if not still_wanted():
            raise ModelUpdating("It was called off")
        self.loaded.append(version)
        self.serving = InService(bundle)
        return bundle

    @property
    def version(self) -> str | None:
        """The version that serves."""
        return self.serving.bundle.model.version if self.serving is not None else None
