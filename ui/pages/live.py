"""`/live`: try a picture of one's own or of a camera, tell the Loop what the model missed, watch the cameras."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from models.errors import DetectorApplianceError
from ui.kit.file_drop import FileTaker
from ui.kit.picture import DrawnBox, FoundList, Picture, described
from ui.kit.slider import ConfidenceSlider
from ui.kit.states import Wrong
from ui.kit.words import Button, Words, heading, paragraph
from ui.pages.cameras import Cameras
from ui.pages.places import Page, page
from ui.ports import Box, Sight

MAX_PICTURE = 64 * 2**20
"""Bytes."""


async def build(box: Box) -> None:
    """Build the page for one visitor."""
    async with page(box, "/live") as around:
        await _Live(box, around).build()


class _Live:
    """The page for one visitor."""

    def __init__(self, box: Box, around: Page) -> None:
        self._dashboard = box
        self._seeing = box.seeing
        self._around = around
        self._sight: Sight | None = None
        self._box: DrawnBox | None = None
        self._name = ""

    async def build(self) -> None:
        with ui.element("section").classes("section"):
            heading("Try a picture")
            FileTaker(
                "Choose a picture",
                self._look,
                accept="image/jpeg,image/png,image/webp",
                camera="Take a picture",
                hint="JPEG, PNG or WebP. It stays on this box unless you send it.",
                most=MAX_PICTURE,
            )
            with ui.element("div").classes("actions") as self._sample:
                paragraph("No picture at hand?", "muted")
                Button("Try a photograph that comes along", self._look_at_sample, kind="quiet")
            self._wrong = Wrong()
            self._result = ui.element("div").classes("split")
            self._result.set_visibility(False)
            with self._result:
                self._build_result()
        with ui.element("section").classes("section"):
            heading("What the cameras see")
            await Cameras(self._dashboard, self._around, self._take).follow()

    def _build_result(self) -> None:
        with ui.element("div").classes("stack"):
            self._picture = Picture(self._drawn)
            self._summary = paragraph("", "small muted").props('role="status"')
        with ui.element("div").classes("stack"):
            with ui.element("div").classes("card"):
                heading("Found", 3)
                self._list = FoundList()
                self._nothing = paragraph("Nothing that the model knows.", "muted")
                self._slider = ConfidenceSlider("Show from a confidence of", 0.0, self._show_from)
            with ui.element("div").classes("card") as self._choices:
                heading("Teach it", 3)
                with ui.element("div").classes("actions"):
                    Button("Send to the Loop", self._send)
                    Button("The model missed something", self._begin_drawing)
            with ui.element("form").classes("card") as self._form:
                self._build_form()
            self._form.on("submit", self._send_missed, js_handler="(e) => { e.preventDefault(); emit() }")
            self._form.set_visibility(False)
            self._sending = Wrong()

    def _build_form(self) -> None:
        heading("What did it miss?", 3)
        paragraph("Draw a box around it with a finger or the mouse, or put one there and move it with the arrow keys.")
        with ui.element("div").classes("field"):
            Words("label", "What it is").props["for"] = "missed-name"
            self._input = ui.element("input").props(
                'type="text" id="missed-name" list="missed-names" autocomplete="off"'
            )
            self._input.on("input", self._named, js_handler="(e) => emit(e.target.value)")
            with ui.element("datalist").props('id="missed-names"'):
                for name in self._seeing.categories():
                    ui.element("option").props["value"] = name
        self._where = paragraph("No box yet.", "small muted number").props('role="status"')
        with ui.element("div").classes("actions"):
            Button("Put a box in the middle", self._put_box)
            Button("Cancel", self._end_drawing, kind="quiet")
            submit = ui.element("button").classes("button primary").props('type="submit"')
            with submit:
                Words("span", "Send it first")

    # ------------------------------------------------------------------ looking

    async def _look(self, picture: bytes) -> None:
        await self._show_outcome(self._seeing.look(picture))

    async def _look_at_sample(self) -> None:
        await self._show_outcome(self._seeing.look_at_sample())

    async def _take(self, key: str) -> None:
        await self._show_outcome(self._seeing.look_again(key))
        self._picture.into_view()

    async def _show_outcome(self, looking: Awaitable[Sight]) -> None:
        self._end_drawing()
        self._sending.say("")
        try:
            sight = await looking
        except DetectorApplianceError as error:
            self._wrong.say(str(error))
            self._result.set_visibility(False)
            return
        self._wrong.say("")
        self._sight = sight
        self._sample.set_visibility(False)
        self._result.set_visibility(True)
        self._picture.show(sight.source, sight.width, sight.height, sight.found, described(sight.found))
        stages = ", ".join(f"{name} {value:.0f} ms" for name, value in sight.timings if value >= 0.5)
        self._summary.text = (
            f"Found {len(sight.found)} in {sight.milliseconds:.0f} ms{f' ({stages})' if stages else ''}. "
            f"The picture has {sight.width} x {sight.height} pixels."
        )
        self._show_from(self._slider.value)

    def _show_from(self, least: float) -> None:
        if self._sight is None:
            return
        shown = sorted(
            (mark for mark in self._sight.found if (mark.confidence or 0.0) >= least),
            key=lambda mark: mark.confidence or 0.0,
            reverse=True,
        )
        self._picture.show_from(least)
        self._list.show(shown)
        self._nothing.set_visibility(not shown)
        self._nothing.text = "Nothing that sure." if self._sight.found else "Nothing that the model knows."

    # ------------------------------------------------------------------ teaching

    async def _send(self) -> None:
        if self._sight is not None:
            key = self._sight.key
            await self._tell(lambda: self._seeing.send(key), "The picture waits in the outbox.")

    def _begin_drawing(self) -> None:
        self._picture.draw(True)
        self._form.set_visibility(True)
        self._choices.set_visibility(False)
        self._picture.into_view()

    def _end_drawing(self) -> None:
        self._box = None
        self._picture.draw(False)
        self._where.text = "No box yet."
        self._form.set_visibility(False)
        self._choices.set_visibility(True)

    def _put_box(self) -> None:
        if self._sight is not None:
            width, height = self._sight.width, self._sight.height
            self._picture.put_box(DrawnBox(width * 3 // 8, height * 3 // 8, max(width // 4, 1), max(height // 4, 1)))

    def _drawn(self, box: DrawnBox | None) -> None:
        self._box = box
        self._where.text = (
            f"Box at {box.x}, {box.y}: {box.width} wide, {box.height} high." if box is not None else "No box yet."
        )

    def _named(self, event: object) -> None:
        self._name = str(getattr(event, "args", "") or "").strip()

    async def _send_missed(self) -> None:
        if self._sight is None:
            return
        if self._box is None or not self._name:
            self._sending.say("A box and a name are needed: draw the one, write the other.")
            return
        key, name, box = self._sight.key, self._name, self._box
        where = (box.x, box.y, box.width, box.height)
        if await self._tell(
            lambda: self._seeing.send_missed(key, name, where), f"The missed {name} will be sent first."
        ):
            self._end_drawing()

    async def _tell(self, doing: Callable[[], Awaitable[None]], done: str) -> bool:
        try:
            await doing()
        except DetectorApplianceError as error:
            self._sending.say(str(error))
            return False
        self._sending.say("")
        self._around.snackbar.say(done)
        return True
