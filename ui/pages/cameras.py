"""The latest picture of each camera, with what was found in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nicegui import ui

from ui.kit.ago import Ago
from ui.kit.following import follow
from ui.kit.picture import Picture, described
from ui.kit.states import empty
from ui.kit.words import Button, Words, link, paragraph
from ui.ports import CameraSight, Seeing


@dataclass
class _Card:
    root: ui.element
    picture: Picture
    words: Words
    ago: Ago
    key: str = ""


class Cameras:
    """A grid of cards, one for each camera; `on_take` is given the key of a picture that the visitor wants to try."""

    def __init__(self, seeing: Seeing, on_take: Callable[[str], Awaitable[None]] | None = None) -> None:
        self._seeing = seeing
        self._on_take = on_take
        self._cards: dict[str, _Card] = {}
        self._empty = ui.element("div")
        with (
            self._empty,
            empty("No camera has sent a picture yet", "Pictures appear here as robots send them.", "live"),
        ):
            if on_take is None:
                link("Try a picture of your own", "/live")
        self._grid = ui.element("div").classes("grid few").style("--least: 260px")

    async def follow(self) -> None:
        """Show what the cameras see, for as long as the visitor is there."""
        await follow(self._seeing.recent, self._show)

    async def _show(self, sights: tuple[CameraSight, ...]) -> None:
        """Return when the browser has the pictures: a slow one is sent fewer of them."""
        now = time.time()
        self._empty.set_visibility(not sights)
        self._grid.set_visibility(bool(sights))
        for camera in set(self._cards) - {sight.camera for sight in sights}:
            self._cards.pop(camera).root.delete()
        changed = []
        for each in sights:
            card = self._cards.get(each.camera)
            if card is None:
                card = self._cards[each.camera] = self._card(each.camera)
            if card.key == each.sight.key:
                continue
            card.key = each.sight.key
            sight = each.sight
            card.picture.show(
                sight.source,
                sight.width,
                sight.height,
                sight.found,
                described(sight.found, f"Latest picture of camera {each.camera}"),
            )
            card.words.text = ", ".join(mark.words for mark in sight.found[:6]) or "Nothing found"
            card.ago.show(now - each.when)
            changed.append(card.picture)
        if self._grid.client.has_socket_connection:
            await asyncio.gather(*(picture.arrived() for picture in changed))

    def _card(self, camera: str) -> _Card:
        with self._grid, ui.element("article").classes("card tight") as root:
            picture = Picture()
            with ui.element("div").classes("stack").style("padding: 12px 14px"):
                with ui.element("div").classes("row between"):
                    Words("h3", camera, "wrap")
                    ago = Ago()
                words = paragraph("", "small wrap")
                if self._on_take is not None:
                    Button("Look closer", lambda: self._take(camera), about=f"at the picture of camera {camera}")
        return _Card(root, picture, words, ago)

    async def _take(self, camera: str) -> None:
        if self._on_take is not None and camera in self._cards:
            await self._on_take(self._cards[camera].key)
