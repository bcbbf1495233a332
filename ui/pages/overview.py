"""`/`: how the box is, and a picture to try it with."""

from __future__ import annotations

from nicegui import events, ui

from models.errors import DetectorApplianceError
from ui.kit.frame import page_frame
from ui.kit.picture import picture_with_boxes
from ui.ports import Box, Sight

LOOK_AGAIN = 2.0
"""Seconds between two looks at the box's condition, for as long as somebody has the page open."""

MAX_PICTURE = 64 * 2**20
"""Bytes."""


def build(box: Box) -> None:
    """Build the page for one visitor."""
    with page_frame("Detector appliance"):
        sentence = ui.label().classes("text-h6").props('role="status" aria-live="polite"')
        trouble = ui.label().classes("text-negative")

        def refresh() -> None:
            condition = box.condition()
            sentence.text = condition.sentence
            trouble.text = condition.trouble or ""
            trouble.visible = condition.trouble is not None

        refresh()
        ui.timer(LOOK_AGAIN, refresh)

        ui.label("Try it: take or choose a picture").classes("text-subtitle1")

        async def look(event: events.UploadEventArguments) -> None:
            picture = await event.file.read()
            uploader.reset()
            result.clear()
            try:
                sight = await box.look(picture)
            except DetectorApplianceError as error:
                with result:
                    ui.label(str(error)).classes("text-negative").props('role="alert"')
                return
            with result:
                _show(sight)

        uploader = ui.upload(on_upload=look, auto_upload=True, max_file_size=MAX_PICTURE, label="JPEG, PNG or WebP")
        uploader.props('accept="image/*" flat bordered').classes("w-full")
        uploader.on_rejected(lambda: ui.notify("That file is no picture, or larger than 64 MiB", type="warning"))
        result = ui.column().classes("w-full gap-2")
        with ui.row().classes("gap-4"):
            ui.link("REST, with every route to try", "/docs")
            ui.link("Numbers for Prometheus", "/metrics")


def _show(sight: Sight) -> None:
    words = [f"{found.name} {found.confidence:.0%}" for found in sight.found]
    labels = [
        (found.name, word, found.box) for word, found in zip(words, sight.found, strict=True) if found.box is not None
    ]
    summary = ", ".join(words) or "nothing that the model knows"
    picture_with_boxes(sight.jpeg, sight.width, sight.height, labels, f"Picture with {summary}")
    ui.label(f"Found in {sight.milliseconds:.0f} ms: {summary}").props('role="status"')
