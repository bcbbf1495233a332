"""What one embedded loop consists of, handed to everything that offers it: REST and Socket.IO."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from appliance.access import Access
from appliance.api.bodies import Budget
from appliance.loop_server.blobs import Blobs
from appliance.loop_server.db import Database
from appliance.loop_server.settings import LoopServerSettings
from models.images import ImageLimits

log = logging.getLogger(__name__)


@dataclass
class LoopServices:
    """One of each; made by `appliance.loop_server.app`. `now` is the time of day, with its zone."""

    settings: LoopServerSettings
    database: Database
    blobs: Blobs
    access: Access
    budget: Budget
    image_limits: ImageLimits
    now: Callable[[], datetime]
    ready: bool = field(default=False, init=False)

    async def start(self) -> None:
        """Bring data folder and schema up to date; from then on requests are answered."""
        await asyncio.to_thread(self.blobs.start)
        await self.database.upgrade()
        self.ready = True

    async def close(self) -> None:
        """End what was begun."""
        self.ready = False
        await self.database.close()
