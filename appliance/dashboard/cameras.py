"""What people call the cameras, as pages show and change it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timezone

from appliance import overlay
from appliance.dashboard.words import minute
from appliance.recent import Recent
from appliance.services import Services
from models.errors import InvalidInput
from ui.kit.feed import Feed
from ui.ports import CameraRow, CamerasView

EVERY = 2.0
"""Seconds between two looks; memory alone is asked."""

WITHOUT_ID = "without a camera id"


class CamerasOfPage:
    """See `ui.ports.Cameras`. `on_renamed` is called with each new name."""

    def __init__(self, services: Services, recent: Recent) -> None:
        self.on_renamed: Callable[[], None] = _nothing
        self._services = services
        self._recent = recent
        self._naming = asyncio.Lock()
        self._feed: Feed[CamerasView] = Feed("names of cameras", self._look, EVERY)

    @property
    def feed(self) -> Feed[CamerasView]:
        return self._feed

    def name_of(self, camera: str | None) -> str:
        """What people call the camera of this id."""
        return self._services.settings.camera_names.get(camera, camera) if camera else WITHOUT_ID

    async def rename(self, camera: str, name: str) -> str:
        async with self._naming:  # the names are one setting: two visitors shall not undo each other's
            names = dict(self._services.settings.camera_names)
            before = names.pop(camera, "")
            if not camera:
                raise InvalidInput("A camera without an id cannot be named: its robot has to send a camera id.")
            if name.strip():
                names[camera] = name
            await self._services.change_settings({"camera_names": names})
        self.on_renamed()
        self._feed.poke()
        return before

    async def _look(self) -> CamerasView:
        settings, heard = self._services.settings, self._recent.heard
        names = settings.camera_names
        ids = sorted({*names, *heard}, key=lambda camera: (camera not in heard, camera))
        origin = overlay.locked_by(settings, "camera_names")
        return CamerasView(
            tuple(CameraRow(camera, names.get(camera, ""), _heard(heard.get(camera))) for camera in ids),
            f"The names are set by the {origin}, which has the last word." if origin is not None else None,
        )


def _heard(when: float | None) -> str:
    """To the minute, so that a page is not told anew with each picture."""
    return f"last picture {minute(datetime.fromtimestamp(when, tz=timezone.utc))}" if when else "no picture lately"


def _nothing() -> None:
    return None
