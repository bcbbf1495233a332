"""The latest picture of each camera, with what was found in it, and what the camera is called."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nicegui import ui

from models.errors import DetectorApplianceError
from ui.kit.ago import Ago
from ui.kit.fields import Field, Form
from ui.kit.following import follow
from ui.kit.picture import Picture, described
from ui.kit.snackbar import Snackbar
from ui.kit.states import empty
from ui.kit.words import Button, Words, link, paragraph
from ui.pages.places import Page
from ui.ports import Box, CameraRow, CameraSight, CamerasView
from ui.ports import Cameras as Names


@dataclass
class _Card:
    root: ui.element
    picture: Picture
    title: Title
    words: Words
    ago: Ago
    key: str = ""


class Cameras:
    """A grid of cards, one for each camera; `on_take` is given the key of a picture that the visitor wants to try."""

    def __init__(self, box: Box, around: Page, on_take: Callable[[str], Awaitable[None]] | None = None) -> None:
        self._seeing = box.seeing
        self._names = box.cameras
        self._snackbar = around.snackbar
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
        for camera in set(self._cards) - {sight.id for sight in sights}:
            self._cards.pop(camera).root.delete()
        changed = []
        for each in sights:
            card = self._cards.get(each.id)
            if card is None:
                card = self._cards[each.id] = self._card(each)
            renamed = card.title.show(each.camera)
            if card.key == each.sight.key and not renamed:
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
            if not renamed:
                changed.append(card.picture)
        if self._grid.client.has_socket_connection:
            await asyncio.gather(*(picture.arrived() for picture in changed))

    def _card(self, sight: CameraSight) -> _Card:
        camera = sight.id
        with self._grid, ui.element("article").classes("card tight") as root:
            picture = Picture()
            with ui.element("div").classes("stack").style("padding: 12px 14px"):
                title = Title(sight, self._names, self._snackbar)
                with title.beside:
                    ago = Ago()
                words = paragraph("", "small wrap")
                if self._on_take is not None:
                    Button("Look closer", lambda: self._take(camera), about=f"at the picture of camera {sight.camera}")
        return _Card(root, picture, title, words, ago)

    async def _take(self, camera: str) -> None:
        if self._on_take is not None and camera in self._cards:
            await self._on_take(self._cards[camera].key)


class Title:
    """What a camera is called, and where one calls it something else."""

    def __init__(self, sight: CameraSight, names: Names, snackbar: Snackbar) -> None:
        self._camera = sight.id
        self._names = names
        self._snackbar = snackbar
        with (
            ui.element("div").classes("row between") as self.beside,
            ui.element("div").classes("row").style("gap: 4px"),
        ):
            self._name = Words("h3", sight.camera, "wrap")
            if sight.id:
                self._rename = Button("Rename", self._begin, kind="quiet", about=f"camera {sight.id}")
        self._id = paragraph(sight.id, "small muted wrap")
        self._id.set_visibility(sight.camera != sight.id and bool(sight.id))
        if sight.id:
            self._form = Form(self._save)
            self._form.set_visibility(False)
            with self._form:
                self._field = Field(f"Name of camera {sight.id}", hint="Empty: as its robot calls it.")
                with ui.element("div").classes("actions"):
                    Button("Save", None, kind="primary")
                    Button("Cancel", self._end)

    def show(self, name: str) -> bool:
        """What it is called now; whether that is something else than before."""
        if name == self._name.text:
            return False
        self._name.text = name
        self._id.set_visibility(name != self._camera)
        return True

    def _begin(self) -> None:
        self._field.show("" if self._name.text == self._camera else self._name.text)
        self._field.wrong.say("")
        self._rename.set_visibility(False)
        self._form.set_visibility(True)
        self._field.focus()

    def _end(self) -> None:
        self._form.set_visibility(False)
        self._rename.set_visibility(True)

    async def _save(self) -> None:
        try:
            await rename(self._names, self._snackbar, self._camera, self._field.value)
        except DetectorApplianceError as error:
            self._field.wrong.say(str(error))
            return
        self._end()


async def rename(names: Names, snackbar: Snackbar, camera: str, name: str) -> None:
    """Call a camera so, and offer a way back. Raises `DetectorApplianceError`."""
    before = await names.rename(camera, name)
    said = (
        f"Camera {camera} is called {name.strip()} now." if name.strip() else f"Camera {camera} has no other name now."
    )

    async def undo() -> None:
        try:
            await names.rename(camera, before)
        except DetectorApplianceError as error:
            snackbar.say(str(error))

    snackbar.say(said, undo)


class CameraNames:
    """All cameras that have a name or could be given one, a field for each; build it inside a card."""

    def __init__(self, box: Box, around: Page) -> None:
        self._names = box.cameras
        self._snackbar = around.snackbar
        self._fields: dict[str, Field] = {}
        self._shown: dict[str, str] = {}
        self._locked: str | None = None
        self._none = paragraph("No camera has sent a picture with a camera id yet.", "muted")
        self._why = paragraph("", "small")
        self._list = ui.element("div").classes("grid").style("--least: 240px")

    async def build(self) -> None:
        """Show them, and follow."""
        await follow(self._names.feed, self._show)

    def _show(self, view: CamerasView) -> None:
        self._none.set_visibility(not view.rows)
        self._why.text = (
            view.locked or "On the pages a camera can be called something else; robots and the Loop keep its id."
        )
        ids = [row.id for row in view.rows]
        if ids != list(self._fields) or view.locked != self._locked:
            self._locked = view.locked
            self._build_fields(view)
        for row in view.rows:
            field = self._fields[row.id]
            if row.name != self._shown.get(row.id):
                field.show(row.name)
                self._shown[row.id] = row.name
            field.hint = row.heard[:1].upper() + row.heard[1:] + "."

    def _build_fields(self, view: CamerasView) -> None:
        written = {camera: field.value for camera, field in self._fields.items()}
        self._list.clear()
        self._fields = {}
        with self._list:
            for row in view.rows:
                self._fields[row.id] = self._field(row, written.get(row.id, row.name))

    def _field(self, row: CameraRow, value: str) -> Field:
        async def changed(name: str) -> None:
            await self._rename(row.id, name)

        return Field(row.id, value, hint=row.heard, locked=self._locked is not None, on_change=changed)

    async def _rename(self, camera: str, name: str) -> None:
        try:
            await rename(self._names, self._snackbar, camera, name)
        except DetectorApplianceError as error:
            self._fields[camera].wrong.say(str(error))
        else:
            self._fields[camera].wrong.say("")
