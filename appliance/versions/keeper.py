"""Holds the state of the model versions, and writes down every change of it before it counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from appliance.versions import state as state_file
from appliance.versions.state import VersionState
from models.errors import StorageRefused
from models.files import FileSystem
from models.uninterrupted import in_thread

log = logging.getLogger(__name__)

Change = Callable[[VersionState], VersionState]


class StateKeeper:
    """The one owner of `DATA/versions.json`. Belongs to one event loop; what blocks is done in threads."""

    def __init__(self, path: Path, files: FileSystem) -> None:
        self._path = path
        self._files = files
        self._state = VersionState()
        self._changing = asyncio.Lock()

    @property
    def state(self) -> VersionState:
        """As it stands."""
        return self._state

    async def load(self) -> None:
        """Begin with what was saved. Raises `StorageRefused`."""
        self._state = await asyncio.to_thread(state_file.load, self._path, self._files)

    def begin_with(self, change: Change) -> None:
        """Change what was loaded, without writing it down: it comes from the settings, and will come again."""
        self._state = change(self._state)

    async def change(self, change: Change) -> None:
        """Write down what `change` makes of the state; one change at a time, each made of what the one before left.

        Who is cancelled while it is being written has changed it all the same. Raises `StorageRefused` where it cannot be
        written down; the old state then stands.
        """
        async with self._changing:
            new, is_written = change(self._state), False

            def write() -> None:
                nonlocal is_written
                state_file.save(self._path, new, self._files)
                is_written = True

            try:
                if new != self._state:
                    await in_thread(write)
            finally:
                if is_written:
                    self._state = new

    async def note(self, change: Change) -> None:
        """As `change`, for what has happened already: it counts even if it cannot be written down."""
        try:
            await self.change(change)
        except StorageRefused as error:
            log.error("what happened to the models is known until the next start only: %s", error)
            self._state = change(self._state)
