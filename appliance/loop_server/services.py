"""What one embedded loop consists of, handed to everything that offers it: REST and Socket.IO."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import socketio

from access import Access
from appliance.api.bodies import Budget
from appliance.loop_server.blobs import Blobs
from appliance.loop_server.db import Database
from appliance.loop_server.logins import Logins
from appliance.loop_server.nodes import Nodes
from appliance.loop_server.references import sweep
from appliance.loop_server.settings import LoopServerSettings
from appliance.loop_server.trainings import Trainings
from appliance.loop_server.users import FIRST, Users
from appliance.signing import secret_in
from appliance.throttle import Throttle
from models.files import FILE_SYSTEM, refusal
from models.images import ImageLimits

log = logging.getLogger(__name__)

SIGNING_KEY_FILE = "session.key"
"""Name inside the data folder."""

INCOMING = "incoming"
"""Folder in it of what is being received; emptied at the start."""


@dataclass
class LoopServices:
    """One of each; made by `appliance.loop_server.app`.

    `now` is the time of day, with its zone. `announce` tells the person who starts the loop something once.
    `open_requests` and `open_megabytes` bound what anybody may do without a login.
    """

    settings: LoopServerSettings
    database: Database
    blobs: Blobs
    users: Users
    logins: Logins
    access: Access
    open_requests: Throttle
    open_megabytes: Throttle
    budget: Budget
    image_limits: ImageLimits
    nodes: Nodes
    trainings: Trainings
    sockets: socketio.AsyncServer
    now: Callable[[], datetime]
    announce: Callable[[str], None]
    ready: bool = field(default=False, init=False)
    _sweeping: asyncio.Task[None] | None = field(default=None, init=False, repr=False)

    async def start(self) -> None:
        """Bring data folder and schema up to date; from then on requests are answered."""
        await asyncio.to_thread(_empty, self.settings.data_folder / INCOMING)
        await asyncio.to_thread(self.blobs.start)
        await self.database.start()
        self.logins.sign_with(
            await asyncio.to_thread(secret_in, self.settings.data_folder / SIGNING_KEY_FILE, FILE_SYSTEM)
        )
        made_up = await self.users.start(self.settings.username, self.settings.password)
        if made_up is not None:
            self.announce(f"User {FIRST!r} with password {made_up!r} has been made; this is said only once.")
        await self.nodes.start()
        self._sweeping = asyncio.create_task(self._sweep())
        self.ready = True

    async def close(self) -> None:
        """End what was begun."""
        self.ready = False
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
        await self.sockets.shutdown()
        await self.database.close()

    async def _sweep(self) -> None:
        """Beside everything else: a storage with a million pictures takes minutes to be looked through."""
        try:
            swept = await sweep(self.database, self.blobs)
        except Exception:
            # What is left over does no harm but take up room, and the next start looks for it again.
            log.exception("could not look for files that nothing refers to")
        else:
            if swept:
                log.info("removed %d files that nothing refers to", swept)


def _empty(folder: Path) -> None:
    try:
        FILE_SYSTEM.remove_tree(folder)
    except OSError as error:
        raise refusal(error, f"empty {folder}") from error
