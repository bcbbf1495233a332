"""The box as the pages see it: the services behind the Protocols of `ui.ports`."""

from __future__ import annotations

import asyncio
import time

from appliance.detecting import Wish
from appliance.inference.supervisor import Picture
from appliance.services import Services
from models import images
from models.images import ImageLimits
from ui.ports import Condition, Found, Sight

LONGEST_SIDE = 1280
"""Pixels of a picture that is shown in a page."""


class Dashboard:
    """See `ui.ports.Box`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def condition(self) -> Condition:
        """How the box is."""
        services = self._services
        serving, waiting = services.supervisor.serving, services.outbox.stats().total.items
        if serving is None:
            return Condition("Not detecting", services.trouble())
        parts = [
            f"Detecting with model {serving.bundle.model.version} on {serving.choice}",
            f"{services.detecting.counters.pictures} pictures so far",
            f"outbox {waiting} waiting",
            "standalone" if services.settings.standalone else f"Loop {services.settings.loop_host}",
        ]
        return Condition(" · ".join(parts), services.trouble())

    async def look(self, picture: bytes) -> Sight:
        """Detect in a picture; nothing of it is kept."""
        started = time.perf_counter()
        detected = await self._services.detecting.detect(Picture(picture), Wish(autoupload="disabled"))
        milliseconds = 1e3 * (time.perf_counter() - started)
        found = [
            Found(each.category_name, each.confidence, (each.x, each.y, each.width, each.height))
            for each in detected.metadata.box_detections
        ]
        found += [
            Found(each.category_name, each.confidence, (each.x - 5, each.y - 5, 10, 10))
            for each in detected.metadata.point_detections
        ]
        found += [
            Found(each.category_name, each.confidence, None) for each in detected.metadata.classification_detections
        ]
        jpeg, width, height = await asyncio.to_thread(_preview, picture, self._services.image_limits)
        return Sight(jpeg, width, height, found, milliseconds)


def _preview(picture: bytes, limits: ImageLimits) -> tuple[bytes, int, int]:
    """A JPEG that a page can show, and the size of the original as displayed, pixels."""
    header = images.read_header(picture, limits)
    scale = min(1.0, LONGEST_SIDE / max(header.width, header.height))
    size = (max(1, round(header.width * scale)), max(1, round(header.height * scale)))
    small = images.prepare(picture, *size, "stretch", limits).pixels
    return images.encode_jpeg(small), header.width, header.height
