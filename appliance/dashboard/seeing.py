"""Looking at pictures: those of cameras, and one's own."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from appliance.dashboard.pictures import LONGEST_SIDE, MIB, THUMB_QUALITY, THUMB_SIDE, Maker, Shelf, marks
from appliance.detecting import Wish
from appliance.inference.waiting import Picture
from appliance.recent import Glimpse, Recent
from appliance.services import Services
from models.errors import DetectorApplianceError, InvalidInput
from models.wire.image_metadata import BoxAnnotation, ImageMetadata
from models.zoo import photograph
from ui.kit.colours import palette
from ui.kit.feed import Feed
from ui.ports import CameraSight, Sight

EVERY = 0.4
"""Seconds between two looks at what the cameras see: no camera is shown more often."""

AT_ONCE = 4
"""Pictures of cameras that are made small per look; the others follow with the next ones."""

SHARE = 0.04
"""Of one core, at most, goes into making pictures of cameras small: detecting comes first. Many cameras, or a slow box, are
shown less often.
"""

TRIES_KEPT = 8
BYTES_OF_TRIES = 96 * MIB
BYTES_SHOWN = 32 * MIB

SOURCE = "dashboard"
MISSED = "missed_by_model"
"""Tag of a picture in which a person saw what the model did not."""


@dataclass(frozen=True)
class Try:
    """A picture that somebody tries, and what was found in it."""

    picture: Picture
    found: ImageMetadata


class Seeing:
    """See `ui.ports.Seeing`. `name_of` a camera's id is what people call it."""

    def __init__(
        self,
        services: Services,
        recent: Recent,
        maker: Maker,
        name_of: Callable[[str | None], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services = services
        self._name_of = name_of
        self._recent = recent
        self._maker = maker
        self._clock = clock
        self._resting_until = 0.0
        self._shown: dict[str | None, CameraSight] = {}
        self._glimpses: dict[str, Glimpse] = {}
        self._shelf = Shelf(BYTES_SHOWN)
        self._tries: OrderedDict[str, Try] = OrderedDict()
        self._feed: Feed[tuple[CameraSight, ...]] = Feed(
            "cameras", self._look_at_cameras, EVERY, on_unwatched=self._forget_cameras
        )
        recent.watched = lambda: self._feed.watched

    @property
    def recent(self) -> Feed[tuple[CameraSight, ...]]:
        return self._feed

    def categories(self) -> tuple[str, ...]:
        serving = self._services.supervisor.serving
        return tuple(category.name for category in serving.bundle.model.categories) if serving is not None else ()

    def colours(self) -> Mapping[str, str]:
        """The colours of the serving model's categories, by their names."""
        serving = self._services.supervisor.serving
        return palette({each.name: each.color for each in serving.bundle.model.categories} if serving else {})

    async def jpeg(self, kind: str, key: str) -> bytes | None:
        return self._shelf.get(f"{kind}/{key}")

    # ------------------------------------------------------------------ cameras

    async def _look_at_cameras(self) -> tuple[CameraSight, ...]:
        latest = self._recent.latest()
        there = {glimpse.camera_id for glimpse in latest}
        for gone in set(self._shown) - there:
            del self._shown[gone]
        self._glimpses = {str(glimpse.number): glimpse for glimpse in latest} | {
            key: glimpse for key, glimpse in self._glimpses.items() if self._is_shown(key)
        }
        changed = [each for each in latest if self._is_new(each)]
        changed.sort(key=lambda each: self._shown[each.camera_id].when if each.camera_id in self._shown else 0.0)
        if changed and self._clock() >= self._resting_until:
            await self._show(changed[:AT_ONCE])
        return tuple(
            replace(self._shown[each.camera_id], camera=self._name_of(each.camera_id))
            for each in latest
            if each.camera_id in self._shown
        )

    async def _show(self, glimpses: list[Glimpse]) -> None:
        began, spent = self._clock(), self._maker.spent
        for glimpse in glimpses:
            try:
                self._shown[glimpse.camera_id] = await self._seen_by_camera(glimpse)
            except DetectorApplianceError:
                continue  # it was looked at, but cannot be shown
        self._resting_until = began + (self._maker.spent - spent) / SHARE

    def _forget_cameras(self) -> None:
        self._shown.clear()
        self._glimpses.clear()

    def _is_shown(self, key: str) -> bool:
        return any(shown.sight.key == key for shown in self._shown.values())

    def _is_new(self, glimpse: Glimpse) -> bool:
        shown = self._shown.get(glimpse.camera_id)
        return shown is None or shown.sight.key != str(glimpse.number)

    async def _seen_by_camera(self, glimpse: Glimpse) -> CameraSight:
        key = str(glimpse.number)
        jpeg, _, _ = await self._maker.small(glimpse.picture, THUMB_SIDE, THUMB_QUALITY)
        self._shelf.put(f"camera/{key}", jpeg)
        width, height = glimpse.size
        sight = Sight(
            key,
            f"/pictures/seen/camera/{key}",
            width,
            height,
            marks(glimpse.metadata, self.colours()),
            tuple(glimpse.timings.items()),
        )
        return CameraSight(self._name_of(glimpse.camera_id), sight, glimpse.when, glimpse.camera_id or "")

    # ------------------------------------------------------------------ one's own

    async def look(self, picture: bytes) -> Sight:
        found = Picture(picture)
        detected = await self._services.detecting.detect(found, Wish(autoupload="disabled", show=False))
        return await self._try(Try(found, detected.metadata), tuple(detected.timings.items()))

    async def look_at_sample(self) -> Sight:
        return await self.look(await asyncio.to_thread(photograph().read_bytes))

    async def look_again(self, key: str) -> Sight:
        glimpse = self._glimpses.get(key)
        if glimpse is None:
            raise InvalidInput(
                "That picture is not there any more: the camera has sent others since. Take a newer one."
            )
        return await self._try(Try(glimpse.picture, glimpse.metadata), tuple(glimpse.timings.items()))

    async def _try(self, one: Try, timings: tuple[tuple[str, float], ...]) -> Sight:
        jpeg, width, height = await self._maker.small(one.picture, LONGEST_SIDE)
        key = secrets.token_urlsafe(12)
        self._shelf.put(f"own/{key}", jpeg)
        self._tries[key] = one
        while len(self._tries) > TRIES_KEPT or (len(self._tries) > 1 and self._bytes_of_tries() > BYTES_OF_TRIES):
            self._tries.popitem(last=False)
        return Sight(key, f"/pictures/seen/own/{key}", width, height, marks(one.found, self.colours()), timings)

    def _bytes_of_tries(self) -> int:
        return sum(len(each.picture.payload) for each in self._tries.values())

    # ------------------------------------------------------------------ for the Loop

    async def send(self, key: str) -> None:
        one = self._tried(key)
        await self._services.detecting.upload([one.picture], self._said(one), priority=False)

    async def send_missed(self, key: str, name: str, box: tuple[int, int, int, int]) -> None:
        one, (x, y, width, height) = self._tried(key), box
        if width < 1 or height < 1 or not name.strip():
            raise InvalidInput("What was missed needs a name and a box of at least one pixel.")
        said = self._said(one)
        said.box_annotations.append(BoxAnnotation(category_name=name.strip(), x=x, y=y, width=width, height=height))
        said.tags.append(MISSED)
        await self._services.detecting.upload([one.picture], said, priority=True)

    def _tried(self, key: str) -> Try:
        one = self._tries.get(key)
        if one is None:
            raise InvalidInput("That picture is not kept any more: others were tried since. Choose it once more.")
        return one

    def _said(self, one: Try) -> ImageMetadata:
        said = one.found.model_copy(deep=True)
        said.source = said.source or SOURCE
        return said
